"""Pure: what Hierophant's lists of workers change in what is known of the instances, and what follows."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from magister.domain.actions import Move
from magister.domain.instance import Held, Learned
from magister.domain.observed import Roster
from magister.domain.spec import Fleet, View
from magister.onstart import callback_url
from magister.onstart.callback_url import Endpoint
from magister.states import Reason, State


def living(roster: Roster) -> frozenset[Endpoint]:
    """Return the endpoints of the workers that are among the living."""
    return frozenset(found for address in roster.living if (found := callback_url.read(address)) is not None)


def dead(roster: Roster) -> Mapping[Endpoint, int]:
    """Return how many entries of the dead there are for each endpoint."""
    counts: dict[Endpoint, int] = {}
    for address, times in roster.dead.items():
        found = callback_url.read(address)
        if found is not None:
            counts[found] = counts.get(found, 0) + times
    return counts


def called_out(row: Held, *, living: bool, deaths: int, begun_at: datetime) -> Learned:
    """Return what is learned of `row` from a roster that was asked for at `begun_at`.

    Entries of the dead that were there before the worker verified are not of it. To be among the living
    proves a worker that never called only if an earlier roster lacked it: an entry may be a dead one's.
    """
    learned = Learned()
    if living:
        learned |= Learned(off_roster_since=None, declared_dead_at=None, roster_deaths=deaths)
        if row.state is State.VERIFIED or row.off_roster_since is not None or row.on_roster_at is not None:
            learned["on_roster_at"] = begun_at
        return learned
    if row.off_roster_since is None:
        learned["off_roster_since"] = begun_at
    if row.state is not State.VERIFIED or row.roster_deaths is None:
        learned["roster_deaths"] = deaths
    elif deaths > row.roster_deaths and row.declared_dead_at is None:
        learned["declared_dead_at"] = begun_at
    return learned


def by_roster(row: Held) -> Move | None:
    """Let a worker go that Hierophant declared dead, though its DELETE was not heard."""
    if row.declared_dead_at is None:
        return None
    since = f"{row.declared_dead_at:%H:%M:%S} UTC"
    why = f"Hierophant lists its worker as dead since {since}; its DELETE was not heard"
    return Move(row, State.DROPPING, Reason.COORDINATOR, why)


def enrolled(row: Held) -> Move | None:
    """Believe that a worker runs which Hierophant lists, though its one call was not heard."""
    if row.on_roster_at is None or row.off_roster_since is not None:
        return None
    why = f"Hierophant lists its worker since {row.on_roster_at:%H:%M:%S} UTC; its call was not heard"
    return Move(row, State.VERIFIED, Reason.ENROLLED, why)


def forgotten(
    fleet: Fleet, held: Sequence[Held], free: Sequence[Held], view: View, *, swap: bool
) -> Iterator[Move]:
    """Give up those verified of `free` whose workers Hierophant has not listed for the grace.

    If it lists others of ours, these are lost. If it lists none of ours, it has restarted, or this is
    the wrong list: one instance is replaced to see, and only what becomes of the new one tells. `free`
    are the rows of `held` that nothing else is done about and that no fresh heartbeat speaks for.
    `swap` = the pool cannot be filled, so that one goes to make room for the canary: the dearest, which
    leaves most.
    """
    missing = [row for row in free if _missing(row, fleet, view)]
    if not missing:
        return
    wanted = [row for row in held if row.wanted]
    since = min(row.off_roster_since for row in missing if row.off_roster_since is not None)
    if any(row.on_roster_at == view.roster_at for row in wanted):
        for row in missing:
            yield _forgotten(row, "and lists others of ours")
    elif (swap or len(wanted) >= fleet.target) and all(row.requested_at <= since for row in wanted):
        why = "nor any other of ours; one is replaced to see whether a new one appears"
        yield _forgotten(max(missing, key=lambda row: row.price or 0) if swap else missing[0], why)


def _missing(row: Held, fleet: Fleet, view: View) -> bool:
    """Say whether the last roster, too, lacks a verified worker that has been missing for the grace."""
    if row.state is not State.VERIFIED or row.off_roster_since is None or view.roster_at is None:
        return False
    return view.roster_at >= max(row.off_roster_since, row.verified_at or view.roster_at) + fleet.roster_grace


def _forgotten(row: Held, besides: str) -> Move:
    why = f"Hierophant has not listed its worker since {row.off_roster_since:%H:%M:%S} UTC {besides}"
    return Move(row, State.DROPPING, Reason.FORGOTTEN, why)


def roll_due(fleet: Fleet, view: View, now: datetime) -> datetime | None:
    """Return when Hierophant is to be asked next; None = never."""
    if fleet.roster_every is None:
        return None
    return now if view.roster_tried_at is None else view.roster_tried_at + fleet.roster_every
