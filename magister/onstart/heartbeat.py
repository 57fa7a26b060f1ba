"""Pure: the loop that is left in a rented box beside its worker, and repeats the worker's call to /verify.

A worker calls /verify once and says nothing when it ends. The loop says that it lives: after each interval,
if a process named exactly `contemplant` is there. It ends for good once Magister answers 404 or 410. Before
the worker starts, and after each interval without one, it announces itself by a call that verifies nothing:
so a worker that ends before its first heartbeat is missed as well.

It must not touch the worker's start, whatever shell reads the onstart and however that was set. So it is a
shell of its own, nobody's job (a bare `wait` does not wait for it), in a session of its own where there is
`setsid`, and holds neither input nor output. Without `curl`, `wget` and `python3` it calls nobody.
"""

import re

# /proc/<pid>/stat has the name in parentheses, and tells a process that lives from one nobody reaped (Z).
# curl and wget show the status as "HTTP/1.1 404", python3 complains of "HTTP Error 404". `timeout` bounds all
# of them alike: the wget of Debian's busybox crashes when it is given a timeout of its own.
LOOP = """# beats: repeat /verify while the worker lives
($(command -v setsid) sh -c '
trap "" HUP
url={url}
if command -v curl; then set -- curl -gs -D- -o/dev/null
elif command -v wget; then set -- wget -qSt1 -O/dev/null
else set -- python3 -c "import sys, urllib.request as r; r.urlopen(sys.argv[1])"; fi
set -- timeout 10 "$@"
on=${{url%%[?]*}}/started?${{url#*[?]}}
"$@" "$on"
while sleep {secs}; do
grep -q "^[0-9]* (contemplant) [^XZ]" /proc/[0-9]*/stat || {{ "$@" "$on"; continue; }}
"$@" "$url" 2>&1 | grep -qE "HTTP(/[0-9.]+| Error) 4(04|10)" && exit
done' </dev/null >/dev/null 2>&1 &)
"""

SHEBANG = re.compile(r"#!.*")
OF_A_SHELL = re.compile(r"#! *(/\S*/)?(env +(-S +)?)?(ba|da|a|k)?sh( [\w -]*)?")


def url(drop_url: str, secs: int) -> str:
    """Return the address that a beat calls: the worker's own for /verify, and every how many seconds."""
    verify_url = drop_url.replace("drop", "verify")
    return f"{verify_url}{'&' if '?' in verify_url else '?'}beat={secs}"


def secs_in(text: str) -> int | None:
    """Return every how many seconds the loop in a start text beats; None = there is none in it."""
    found = re.search(r"[?&]beat=([0-9]{1,6})\b", text)
    return None if found is None else int(found[1])


def fits(template: str) -> bool:
    """Say whether a shell reads the text, by its first line: no other program would understand the loop."""
    first = SHEBANG.match(template)
    return first is None or OF_A_SHELL.fullmatch(first[0]) is not None


def before(template: str, quoted_url: str, secs: int) -> str:
    """Return the text with the loop put in front, after a first line that names the shell.

    `quoted_url` is one word to a shell and holds no single quote; `secs` is the time between two beats.
    """
    first = SHEBANG.match(template)
    head = "" if first is None else f"{first[0]}\n"
    return head + LOOP.format(url=quoted_url, secs=secs) + template[len(head) :]
