"""Pure: whether the budget has room for one more instance, and which ones go before a cap is passed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from magister.actions import Move
from magister.facts import Offer
from magister.fleet import Fleet, View
from magister.held import Held
from magister.money import Outlay, cost, traffic, usd
from magister.states import Reason, State

EXIT = timedelta(minutes=15)
"""Within this time an instance is surely destroyed, unless Vast cannot be reached."""

WORTH = timedelta(hours=1)
"""How long the whole pool has to fit under a cap after a rental: less is not worth the start."""

STUCK = timedelta(minutes=1)
"""How long an instance is thought to last that should have been gone by now."""


@dataclass(frozen=True, slots=True)
class Cap:
    """Hold one cap over a time and what was spent of it, in micro-dollars."""

    name: str
    limit: int
    spent: int


def objection(
    fleet: Fleet, held: Iterable[Held], view: View, offers: Sequence[Offer], now: datetime
) -> str | None:
    """Say why `offers` may not be rented, all of them, as far as money goes; None = they may.

    Under each cap there has to be room for what was spent, what the pool costs for WORTH and until it is
    gone, and the worst that the new boxes can cost: that they never verify, with a reserve for traffic.
    """
    if view.too_dear_at is not None and now < view.too_dear_at + WORTH:
        return (
            f"an instance was given up for the budget at {view.too_dear_at:%H:%M} UTC, less than an hour ago"
        )
    rows = [row for row in held if row.live]
    new = sum(offer.price for offer in offers)
    rate, budget = _rate(rows) + new, fleet.budget
    if budget.per_hour is not None and rate > budget.per_hour:
        return f"{usd(rate)} USD per hour would be more than budget.usd_per_hour = {usd(budget.per_hour)}"
    if budget.runway is not None and view.credit is not None and view.credit < cost(rate, budget.runway):
        lasts = f"the credit of {usd(view.credit)} USD would last {view.credit / max(rate, 1):.1f} h"
        return f"{lasts}, less than budget.min_runway_hours"
    worst = cost(new, fleet.verify_within + fleet.provisioning_grace + EXIT)
    worst += sum(traffic(budget.traffic_gb, offer.inet_down_cost) for offer in offers)
    needed = _until_gone(rows, now) + cost(rate, WORTH) + worst
    for cap in caps(fleet, view.spent):
        if cap.spent + needed > cap.limit:
            left = f"{usd(cap.spent)} USD of {cap.name} = {usd(cap.limit)} are spent"
            return f"{left}, and with one box more it might come to {usd(cap.spent + needed)}"
    return None


def over_budget(
    fleet: Fleet, held: tuple[Held, ...], free: Iterable[Held], view: View, now: datetime
) -> Iterator[Move]:
    """Give up what would pass a cap: the dearest unverified first, then the dearest verified.

    What stays must fit with what is spent, with what all cost until they are gone, and with what they
    themselves cost for as long as that takes. So a pool shrinks step by step as a cap comes near. `free`
    are the rows of `held` that nothing else is done about.
    """
    leaving = _until_gone((row for row in held if row.live), now)
    wanted = sorted((row for row in free if row.wanted), key=_keeps_longest)
    staying = _rate(wanted)
    for row in wanted:
        why = _excess(fleet, view.spent, leaving=leaving, staying=staying)
        if why is None:
            return
        staying -= row.price or 0
        unsent = row.state is State.REQUESTED and row.sends == 0
        yield Move(row, State.DESTROYED if unsent else State.DROPPING, Reason.BUDGET, why)


def _excess(fleet: Fleet, spent: Outlay, *, leaving: int, staying: int) -> str | None:
    """Say which cap instances that cost `staying` an hour would pass; None = none."""
    hourly = fleet.budget.per_hour
    if hourly is not None and staying > hourly:
        return f"{usd(staying)} USD per hour are more than budget.usd_per_hour = {usd(hourly)}"
    for cap in caps(fleet, spent):
        if cap.spent + leaving + cost(staying, EXIT) > cap.limit:
            return f"{usd(cap.spent)} USD of {cap.name} = {usd(cap.limit)} are spent"
    return None


def caps(fleet: Fleet, spent: Outlay) -> tuple[Cap, ...]:
    """Return the caps over a time that are set."""
    budget = fleet.budget
    known = (
        ("budget.usd_per_day", budget.per_day, spent.day),
        ("budget.usd_per_month", budget.per_month, spent.month),
        ("budget.usd_total", budget.total, spent.total),
    )
    return tuple(Cap(name, limit, used) for name, limit, used in known if limit is not None)


def _until_gone(rows: Iterable[Held], now: datetime) -> int:
    """Return what rows cost until they are gone: EXIT from now, or from when they were told to go."""
    return sum(cost(row.price or 0, _left(row, now)) for row in rows)


def _left(row: Held, now: datetime) -> timedelta:
    if row.wanted:
        return EXIT
    return min(max(EXIT - (now - row.moved_at), STUCK), EXIT)


def _rate(rows: Iterable[Held]) -> int:
    return sum(row.price or 0 for row in rows)


def _keeps_longest(row: Held) -> tuple[bool, int, int]:
    return row.state is State.VERIFIED, -(row.price or 0), -row.id
