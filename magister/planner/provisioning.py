"""Pure: how many instances are short, how many of them may be rented now, and on which offers."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from magister.domain.actions import Action, Rent, Search, Send
from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.domain.spec import Fleet, View
from magister.planner.budget import EXIT, objection
from magister.planner.ranking import candidates
from magister.states import State

FURTHER, FURTHEST = 16, 192
"""So many machines more are looked for with each failure in a row, and in all: a first page may be all bad.

Vast counts the rows that it returns in a day, so there is a bound.
"""


def shortage(fleet: Fleet, held: Iterable[Held]) -> int:
    """Count the instances to rent: short of the target, and not beyond target and surge in all."""
    rows = [row for row in held if row.live]
    return max(min(fleet.target - sum(row.wanted for row in rows), fleet.target + fleet.surge - len(rows)), 0)


def rent_from(fleet: Fleet, view: View) -> datetime | None:
    """Return when renting may go on after refusals and failures; None = now."""
    holds = (view.rent_not_before, view.outlook.rent_from(fleet.caution))
    return max((hold for hold in holds if hold is not None), default=None)


def allowed(fleet: Fleet, held: Iterable[Held], view: View, now: datetime, *, tripped: bool = False) -> int:
    """Count the instances that may be rented now: fewer than are short while rentals fail.

    After short lives a worker that verified is still waited for, as it may end soon as well. `tripped` = too
    many verified ones are lost at once, so that one canary at a time is tried.
    """
    rows = list(held)
    short, bound = shortage(fleet, rows), view.outlook.unverified_at_once(fleet.target, fleet.caution, now)
    if tripped:
        bound = 1
    if bound is None:
        return short
    unverified = sum(row.state in {State.REQUESTED, State.CREATED} for row in rows)
    return min(short, max(bound - unverified - view.outlook.waiting(fleet.caution), 0))


def stalled(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> bool:
    """Say whether the pool is short, and no instance that is rented can tell whether what looks lost is lost.

    That is so under a cap or in a thin market. Then one that looks lost has to make room for the canary. One
    goes at a time: while a new one waits for its worker, or an old one is on its way out, that is awaited.
    Where nothing takes the place of the one that went, the next follows when a loss is no longer recent. For
    one that works nothing is worth nothing, yet a trouble that passes shall not cost the whole pool.
    """
    rows = [row for row in held if row.live]
    if sum(row.wanted for row in rows) >= fleet.target:
        return False
    if any(_decides_soon(row, now) for row in rows):
        return False
    if any(loss.at > now - fleet.caution.recent for loss in view.lost):
        return False
    return not _can_rent(fleet, held, view, now)


def _decides_soon(row: Held, now: datetime) -> bool:
    """Say whether a worker is waited for, or a place whose instance Vast does not refuse to destroy."""
    refused = row.destroys > 1 and now - row.moved_at >= EXIT
    return row.state in {State.REQUESTED, State.CREATED} or (row.state is State.DROPPING and not refused)


def _can_rent(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> bool:
    """Say whether an empty place can be filled, now or after a wait for failures; unknown counts as yes."""
    if shortage(fleet, held) == 0:  # instances that Vast does not destroy take the places
        return False
    if view.searched_at is None or view.search_failing:
        return True
    failed_until = view.outlook.rent_from(fleet.caution)
    if failed_until is not None and now < failed_until:
        return True
    if view.rent_not_before is not None and now < view.rent_not_before:
        return False
    return any(objection(fleet, held, view, (o,), now) is None for o in offered(fleet, held, view))


def fill(
    fleet: Fleet,
    held: tuple[Held, ...],
    rest: tuple[Held, ...],
    view: View,
    now: datetime,
    *,
    tripped: bool,
) -> Iterator[Action]:
    """Send what stands unsent, then rent what is short from the best offers, if workers can be heard."""
    if view.hearing_since is None:
        return
    held_until = rent_from(fleet, view)
    if held_until is not None and now < held_until:
        return
    wanted = sum(row.wanted for row in rest)
    why = f"{wanted} of {fleet.target} instances"
    for row in _to_send(fleet, held, rest, now):
        yield Send(row, f"its intent stands unsent: {why}")
    short = allowed(fleet, held, view, now, tripped=tripped)
    if short == 0:
        return
    fresh = view.searched_at is not None and now < view.searched_at + fleet.search_every
    offers = offered(fleet, held, view) if fresh else ()
    affordable = tuple(offer for offer in offers if objection(fleet, held, view, (offer,), now) is None)
    taken: list[Offer] = []
    for offer in _chosen(affordable, short, held, view):
        taken.append(offer)
        if objection(fleet, held, view, taken, now) is not None:
            break
        yield Rent(offer, _praise(offer, view, why))
    if not fresh:
        further = min(FURTHER * view.outlook.failures, FURTHEST)
        taken_by_us = len({row.machine_id for row in held if row.live})
        yield Search(taken_by_us + short + further, why, view.quarantines)


def _to_send(fleet: Fleet, held: tuple[Held, ...], rest: tuple[Held, ...], now: datetime) -> tuple[Held, ...]:
    """Return the unsent rows to send: not those for which a box that came back leaves no room."""
    unsent = [row for row in rest if row.unsent]
    beyond = sum(row.live for row in held) - fleet.target - fleet.surge
    room = len(unsent) - max(beyond, 0)
    due = [row for row in unsent if row.due_at is None or row.due_at <= now]
    return tuple(due[: max(room, 0)])


def offered(fleet: Fleet, held: tuple[Held, ...], view: View) -> tuple[Offer, ...]:
    """Return the offers of the last search that may be rented, the best first."""
    return candidates(view.offers, held=held, view=view, fleet=fleet)


def _chosen(offers: tuple[Offer, ...], short: int, held: tuple[Held, ...], view: View) -> tuple[Offer, ...]:
    """Take what is short from machines that are in no quarantine; only for lack of these try one that is."""
    tried_last = view.quarantines.of
    clean = tuple(offer for offer in offers if tried_last(offer.machine_id, offer.host_id) is None)[:short]
    trying = any(
        row.state in {State.REQUESTED, State.CREATED} and tried_last(row.machine_id, row.host_id)
        for row in held
    )
    if len(clean) == short or trying:
        return clean
    return clean + tuple(offer for offer in offers if tried_last(offer.machine_id, offer.host_id))[:1]


def _praise(offer: Offer, view: View, why: str) -> str:
    """Say why it is this offer."""
    quarantine = view.quarantines.of(offer.machine_id, offer.host_id)
    bad = "" if quarantine is None else f", tried although {quarantine.why}, for nothing better is offered"
    return f"{why}; machine {offer.machine_id} at {offer.price / 1e6:.4f} USD/h{bad}"
