"""Pure: the text that starts the worker in a rented box, and the address it reports to."""

import re

from magister.domain import callback_key
from magister.domain.observed import LARGEST_ID
from magister.onstart import heartbeat
from magister.settings.contemplant import EXPORTS
from magister.settings.model import Settings

LIMIT = 4048
"""The most characters Vast takes for onstart."""

SHORTEN = "shorten contemplant.ssh_authorized_keys or contemplant.onstart_template"
SILENCE = "contemplant.beat_secs = 0 silences this"

TEMPLATE = f"""su contemplant -c '
export HOME=/home/contemplant
export TMUX_TMPDIR=/home/contemplant/.tmux
{EXPORTS}
/usr/local/bin/contemplant-entrypoint.sh'"""


def render(settings: Settings, drop_url: str) -> str:
    """Return the onstart text for a box that reports to `drop_url`, with beats unless there is a doubt.

    What takes the place of {exports} holds no single quote, so it may stand in a template either bare
    or within single quotes, never within double quotes.
    """
    return _text(settings, drop_url, beats=beat_secs(settings) is not None)


def beat_secs(settings: Settings) -> int | None:
    """Return every how many seconds a box that is rented now beats; None = it does not."""
    return None if doubts(settings) else settings.contemplant.beat_secs or None


def _text(settings: Settings, drop_url: str, *, beats: bool) -> str:
    variables = {
        "MAGISTER_DROP_ENDPOINT": drop_url,
        "HIEROPHANT_WS_ADDRESS": settings.hierophant_ws_address,
        **settings.contemplant.exports(),
    }
    lines = "\n".join(f"export {name}={_quoted(value)}" for name, value in variables.items())
    text = _template(settings)
    if beats:
        secs = settings.contemplant.beat_secs
        text = heartbeat.before(text, _quoted(heartbeat.url(drop_url, secs)), secs)
    return text.replace(EXPORTS, lines)


def _template(settings: Settings) -> str:
    return settings.contemplant.onstart_template or TEMPLATE


def drop_url(settings: Settings, offer_id: int, key: str | None) -> str:
    """Return the callback URL of an instance, under which the coordinator drops it.

    The worker turns each "drop" in it into "verify". `key` is the callback key, None = it was rented without.
    """
    url = f"{settings.this_magister_addr}/drop/{offer_id}"
    return url if key is None else f"{url}?key={key}"


def longest(settings: Settings) -> int:
    """Return the length in characters of the longest onstart these settings can give."""
    return len(render(settings, _longest_url(settings)))


def problems(settings: Settings) -> tuple[str, ...]:
    """Return one line for each reason why Vast would refuse the onstart; empty = none."""
    length = len(_text(settings, _longest_url(settings), beats=False))
    if length <= LIMIT:
        return ()
    return (f"onstart would be {_excess(length)}: {SHORTEN}",)


def doubts(settings: Settings) -> tuple[str, ...]:
    """Return one line for each reason why boxes run without the beats that are asked for; empty = none."""
    if settings.contemplant.beat_secs == 0:
        return ()
    if not heartbeat.fits(_template(settings)):
        return (f"no beats: the first line of contemplant.onstart_template names no shell; {SILENCE}",)
    length = len(_text(settings, _longest_url(settings), beats=True))
    if length <= LIMIT:
        return ()
    return (f"no beats: with them onstart would be {_excess(length)}; {SHORTEN}, or {SILENCE}",)


def _longest_url(settings: Settings) -> str:
    return drop_url(settings, LARGEST_ID, "0" * callback_key.DIGITS)


def _excess(length: int) -> str:
    return f"{length} characters long, {length - LIMIT} more than the {LIMIT} Vast takes"


def _quoted(value: str) -> str:
    """Quote for a shell in double quotes, without any single quote, so that it can stand within those."""
    escaped = re.sub(r'(["$`\\])', r"\\\1", value)
    return '"' + escaped.replace("'", r'$(printf "\047")') + '"'
