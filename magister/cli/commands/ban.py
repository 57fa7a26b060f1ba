"""Ban machines and hosts by the word of the operator, and show who is banned."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from magister.errors import BadUsage
from magister.service import wiring
from magister.settings.model import Settings, load
from magister.store import bans
from magister.store.bans import Kind
from magister.store.db.migrations import existing
from magister.store.requests import legible

ALL_WELL, NOT_DONE = 0, 1
"""Exit codes."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Show one ban; `at` is ISO 8601, None = it stands in the settings."""

    kind: str
    id: int
    at: str | None
    why: str


def ban(config: Path | None, kind: Kind, banned_id: int, why: str) -> str:
    """Ban a machine or a host, and say so. Raises Unusable, also if `why` says nothing."""
    said = legible(why)
    if not said:
        raise BadUsage("--why must say something")
    with _writing(load(config).settings) as session:
        bans.ban(session, kind, banned_id, why=said, at=wiring.now())
    return f"{kind} {banned_id} is banned: {said}"


def unban(config: Path | None, kind: Kind, banned_id: int) -> tuple[str, int]:
    """Take a ban back; return what to say and the exit code. Raises Unusable."""
    settings = load(config).settings
    with _writing(settings) as session:
        gone = bans.unban(session, kind, banned_id)
    if banned_id in _in_settings(settings, kind):
        first = "its ban is taken back, but it" if gone else "it"
        return f"{kind} {banned_id}: {first} stands in bad_{kind}s; take it out there and reload", NOT_DONE
    if not gone:
        return f"{kind} {banned_id} was not banned", NOT_DONE
    return f"{kind} {banned_id} may be rented again", ALL_WELL


def listed(config: Path | None, *, as_json: bool) -> str:
    """Return the bans, those of the settings first, a line each or as JSON. Raises Unusable."""
    settings = load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.read() as session:
        found = bans.read(session)
    shown = [
        Shown(kind, number, None, f"it stands in bad_{kind}s")
        for kind in KINDS
        for number in sorted(_in_settings(settings, kind))
    ]
    shown += [Shown(one.kind, one.id, one.at.isoformat(timespec="seconds"), one.why) for one in found]
    if as_json:
        return json.dumps([asdict(one) for one in shown], ensure_ascii=False, indent=2)
    return "\n".join(_line(one) for one in shown) or "nothing is banned"


KINDS: tuple[Kind, ...] = ("machine", "host")


def _line(one: Shown) -> str:
    since = "" if one.at is None else f" since {one.at[:16].replace('T', ' ')} UTC"
    return f"{one.kind} {one.id}{since}: {one.why}"


def _in_settings(settings: Settings, kind: Kind) -> frozenset[int]:
    return settings.bad_machines if kind == "machine" else settings.bad_hosts


@contextmanager
def _writing(settings: Settings) -> Iterator[Session]:
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.write() as session:
        yield session
