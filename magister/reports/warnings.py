"""Pure: what makes an instance suspicious before anything is done about it, in words."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from magister.domain.instance import Held
from magister.domain.risk.quarantine import Quarantines
from magister.domain.sentences import counted, lasting
from magister.domain.spec import Fleet
from magister.states import State

SLOW_EXIT = timedelta(minutes=5)
"""A box that is still there so long after it was to go is worth a look."""


def doubts(
    row: Held, fleet: Fleet, quarantines: Quarantines, now: datetime, *, heard_from: datetime | None
) -> tuple[str, ...]:
    """Say what speaks against one instance, the gravest first; empty = nothing does.

    `heard_from` is since when workers could be heard without a gap; None = they cannot be heard now.
    """
    match row.state:
        case State.REQUESTED:
            return tuple(_asked(row))
        case State.CREATED:
            return (*_late(row, now), *_held_against(row, quarantines))
        case State.VERIFIED:
            return (
                *_ill(row, now),
                *_silent(row, fleet, now, heard_from),
                *_mute(row, fleet, now, heard_from),
                *_held_against(row, quarantines),
            )
        case State.DROPPING:
            return tuple(_slow(row, now))
        case State.DESTROYED:
            return ("it was proved gone, and a listing shows it again",)


def _asked(row: Held) -> Iterator[str]:
    if row.unanswered and row.doubted_at is not None:
        yield "Vast was asked for it and did not answer clearly: listings decide whether it exists"


def _late(row: Held, now: datetime) -> Iterator[str]:
    if row.absences:
        yield "the last listing lacks it"
    if row.verify_by is not None and now > row.verify_by:
        yield f"its worker has been overdue for {_since(row.verify_by, now)}"


def _ill(row: Held, now: datetime) -> Iterator[str]:
    if row.declared_dead_at is not None:
        yield "Hierophant declared its worker dead"
    if row.absences:
        yield "the last listing lacks it"
    if row.sick_since is not None and _seen_since_verified(row):
        said = row.actual_status or "nothing"
        heard = ", though it was heard since" if (row.beaten_at or row.sick_since) > row.sick_since else ""
        yield f"Vast has called it {said} and not running for {_since(row.sick_since, now)}{heard}"
    if row.off_roster_since is not None:
        yield f"Hierophant has not listed its worker for {_since(row.off_roster_since, now)}"


def _silent(row: Held, fleet: Fleet, now: datetime, heard_from: datetime | None) -> Iterator[str]:
    if row.silent_since is None or heard_from is None:
        return
    if now - max(row.silent_since, heard_from) > fleet.silence(row) / 2:
        yield f"its worker has not been heard for {_since(row.silent_since, now)}"


def _mute(row: Held, fleet: Fleet, now: datetime, heard_from: datetime | None) -> Iterator[str]:
    """Tell of an instance that should send heartbeats, and that nobody ever heard."""
    if row.beat_secs is None or row.silent_since is not None or heard_from is None:
        return
    if row.verified_at is not None and now - max(row.verified_at, heard_from) > fleet.heartbeat_lasts(row):
        yield "it cannot send heartbeats: none came, so nobody would notice if its worker ended in silence"


def _slow(row: Held, now: datetime) -> Iterator[str]:
    if now - row.moved_at > SLOW_EXIT:
        asked = f"Vast was asked {counted(row.destroys, 'time')}" if row.destroys else "Vast is not asked yet"
        yield f"on its way out for {_since(row.moved_at, now)}, {asked}, and it may still cost"


def _held_against(row: Held, quarantines: Quarantines) -> Iterator[str]:
    found = quarantines.of(row.machine_id, row.host_id)
    if found is not None:
        yield f"its machine or host is in quarantine: {found.why}"


def _seen_since_verified(row: Held) -> bool:
    """Say whether a listing showed it since: what one said of a box that booted speaks against nobody."""
    if row.last_seen_at is None or row.verified_at is None:
        return False
    return row.last_seen_at > row.verified_at


def _since(moment: datetime, now: datetime) -> str:
    return lasting(max((now - moment).total_seconds(), 0))
