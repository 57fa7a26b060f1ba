const EVERY = 10_000; // milliseconds
const stale = document.getElementById("stale");

async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(EVERY),
    });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) replace(part, fresh.getElementById(part.id));
    document.title = fresh.title;
    stale.hidden = true;
  } catch {
    stale.hidden = false; // what is shown is old, and says of when it is
  }
}

// Only what changed is put in, so that the reader keeps the place, and the keyboard its focus.
function replace(part, fresh) {
  if (!fresh || fresh.innerHTML === part.innerHTML) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.replaceChildren(...fresh.childNodes);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

setInterval(renew, EVERY);
document.addEventListener("visibilitychange", renew);
