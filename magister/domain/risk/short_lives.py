"""Pure: how long the workers of earlier rentals lived after they verified."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from magister.domain.risk.launch_breaker import Event
from magister.states import FAULTS, PROOFS, Reason, State


@dataclass(frozen=True, slots=True)
class Milestone:
    """Hold one move of an instance that verified, failed or ended, and what is known of it by now."""

    at: datetime
    old: State | None
    new: State
    reason: Reason
    id: int
    requested_at: datetime
    excused: bool = False
    announced_at: datetime | None = None
    beaten_at: datetime | None = None
    sick_since: datetime | None = None
    absent_since: datetime | None = None
    on_roster_at: datetime | None = None
    off_roster_since: datetime | None = None
    end_date: datetime | None = None  # when its contract ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """Say since when heartbeats can be heard, when Hierophant's last list came, and whether it lists ours."""

    hearing_since: datetime | None = None
    roster_at: datetime | None = None
    lists_ours: bool = False


def events(
    moves: Sequence[Milestone], senses: Senses, short_life: timedelta, now: datetime
) -> Iterator[Event]:
    """Yield what the `moves` show of rentals, in the same order; adopted instances show nothing."""
    verified = {move.id: move for move in moves if move.new is State.VERIFIED}
    ends = {move.id: move for move in moves if move.old is State.VERIFIED}
    for move in moves:
        birth = verified.get(move.id)
        if move.new is State.VERIFIED:
            if move.reason in PROOFS:
                yield _verified(move, ends.get(move.id), senses, short_life, now)
        elif move.old is not State.VERIFIED:
            yield Event(instance=move.id, at=move.at, rented_at=_rented_at(move, now))
        elif birth is not None and _at_fault(move):
            lived = _alive_until(move, birth.at, senses, move.at) - birth.at
            if lived < short_life:
                yield Event(
                    instance=move.id,
                    at=move.at,
                    rented_at=_rented_at(move, now),
                    ended_soon=True,
                    excused=move.excused,
                )


def _verified(
    move: Milestone, end: Milestone | None, senses: Senses, short_life: timedelta, now: datetime
) -> Event:
    """Say that a worker verified, and whether it is known to have lived for longer than a short life.

    One that looks lost may be given up only later. It is on trial for twice the threshold at most: otherwise
    an instance that looks lost, and is kept all the same, would keep the next one from being tried.
    """
    last = _last_sign(move, senses, now) if end is None else _alive_until(end, move.at, senses, end.at)
    outlived_at = move.at + short_life
    outlived = outlived_at <= last
    return Event(
        instance=move.id,
        at=move.at,
        rented_at=_rented_at(move, now),
        verified=True,
        outlived_at=outlived_at if outlived else None,
        on_trial=end is None and not outlived and now < outlived_at + short_life,
    )


def _at_fault(end: Milestone) -> bool:
    """Say whether an end makes its rental a failed one: nobody asked for it, and its contract ran on.

    One that vanished speaks against no machine, for a person may have deleted it. Yet it was paid for
    without use, and where each one vanishes the next shall not be rented at once.
    """
    by_itself = end.reason in FAULTS or end.reason is Reason.VANISHED
    return by_itself and (end.end_date is None or end.at < end.end_date)


def _alive_until(end: Milestone, verified_at: datetime, senses: Senses, at: datetime) -> datetime:
    """Return until when the worker of an instance that ended may have lived: it is given up only later.

    It may have sent heartbeats while nobody could hear them.
    """
    match end.reason:
        case Reason.SILENT:
            deaf_until = senses.hearing_since
            heard = (end.beaten_at, deaf_until if deaf_until is not None and deaf_until < at else None)
            last = max((moment for moment in heard if moment is not None), default=verified_at)
        case Reason.FORGOTTEN:
            last = end.off_roster_since or at
        case Reason.VANISHED:
            last = end.absent_since or at
        case Reason.EXITED | Reason.OFFLINE:
            last = max(end.sick_since or at, end.beaten_at or verified_at)
        case _:
            last = at
    return max(verified_at, min(last, at))


def _last_sign(move: Milestone, senses: Senses, now: datetime) -> datetime:
    """Return until when the worker of an instance that is kept is known to live.

    That Hierophant does not list a worker counts only if it listed the worker before, or lists others of
    ours: otherwise it may be another Hierophant.
    """
    signs = [now]
    if move.beaten_at is not None or move.announced_at is not None:
        signs.append(move.beaten_at or move.at)
    if move.sick_since is not None:
        signs.append(max(move.sick_since, move.beaten_at or move.sick_since))
    if move.absent_since is not None:
        signs.append(move.absent_since)
    asked = senses.roster_at is not None and senses.roster_at > move.at
    if move.off_roster_since is not None and asked and (senses.lists_ours or move.on_roster_at is not None):
        signs.append(move.off_roster_since)
    return max(move.at, min(signs))


def _rented_at(move: Milestone, now: datetime) -> datetime:
    return move.requested_at if move.requested_at <= now else now - timedelta(days=1)
