"""Pure: whether the budget has room for one more instance, and which ones go before a cap is passed."""

from bisect import bisect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from magister.domain.actions import Move
from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.domain.spec import Fleet, View
from magister.domain.times import next_day, next_month, said
from magister.money import Budget, Outlay, Overrun, at_least, cost, traffic, usd
from magister.states import Reason, State

EXIT = timedelta(minutes=15)
"""Within this time an instance is surely destroyed, unless Vast cannot be reached."""

LISTED = timedelta(seconds=30)
"""Within this time a listing that was begun is read, and acted on."""

RISE = 2
"""By this factor the price of what stays may rise, and no cap is passed."""

WORTH = timedelta(hours=1)
"""How long the whole pool has to fit under a cap after a rental: less is not worth the start."""

PER_HOUR = "budget.usd_per_hour"
PER_DAY = "budget.usd_per_day"
PER_MONTH = "budget.usd_per_month"
TOTAL = "budget.usd_total"

BEYOND = 10**9
"""No box costs so much, in micro-dollars per hour."""

STUCK = timedelta(minutes=1)
"""How long an instance is thought to last that should have been gone by now."""


@dataclass(frozen=True, slots=True)
class Cap:
    """Hold one cap over a time with what was spent of it and what is reserved beside, in micro-dollars.

    Reserved is what the boxes there are cost until they are surely gone. `ends` is when another day or month
    begins with nothing spent; None = never.
    """

    name: str
    limit: int
    spent: int
    reserved: int
    ends: datetime | None = None

    @property
    def room(self) -> int:
        """Return what is left of it; 0 = nothing, or less."""
        return max(self.limit - self.spent - self.reserved, 0)

    @property
    def period(self) -> str:
        """Name the time it is over."""
        return self.name.rpartition("_")[2]


@dataclass(frozen=True, slots=True)
class Objection:
    """Say why nothing may be rented as far as money goes, and what would help.

    `cap` is the cap that leaves no room, and `limit` what it is, in micro-dollars; None = it is no cap.
    """

    why: str
    cure: str
    cap: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Excess:
    """Say why an instance is given up for the budget, and for which cap, as `Objection` says it."""

    why: str
    cap: str | None
    limit: int | None


def objection(
    fleet: Fleet, held: Iterable[Held], view: View, offers: Sequence[Offer], now: datetime
) -> Objection | None:
    """Say why `offers` may not be rented, all of them, as far as money goes; None = they may.

    Under each cap there has to be room for what was spent, what the pool costs for WORTH (longer if
    listings are seldom) and until it is gone, and the worst that the new boxes can cost: that they never
    verify, with a reserve for traffic.
    """
    reserve = sum(traffic(fleet.budget.traffic_gb, offer.inet_down_cost) for offer in offers)
    price = sum(offer.price for offer in offers)
    return _objection(fleet, held, view, price=price, reserve=reserve, now=now)


def unaffordable(
    fleet: Fleet, held: Iterable[Held], view: View, row: Held, now: datetime
) -> Objection | None:
    """Say why the intent of `row` may not be sent any more: caps may be lower than when it was written.

    Its traffic is set aside already.
    """
    others = [other for other in held if other.id != row.id]
    return _objection(fleet, others, view, price=row.price or 0, reserve=0, now=now)


def _objection(
    fleet: Fleet, held: Iterable[Held], view: View, *, price: int, reserve: int, now: datetime
) -> Objection | None:
    if view.overrun is not None and in_force(view.overrun, fleet.budget, now):
        return _held(view.overrun, now)
    rows = [row for row in held if row.live]
    rate = _rate(rows) + price
    worst = cost(price, fleet.verify_within + fleet.provisioning_grace + EXIT) + reserve
    needed = cost(rate, max(WORTH, _margin(fleet))) + worst
    return (
        _too_dear_an_hour(fleet, rate)
        or _too_short_a_runway(fleet, view.credit, rate)
        or next(_no_room(caps(fleet, view.spent, reserved(rows, now), now), needed, now), None)
    )


def in_force(overrun: Overrun, budget: Budget, now: datetime) -> bool:
    """Say whether renting still waits because an instance was given up.

    It waits for WORTH, or until the period of the cap ends, or the cap is raised or unset.
    """
    limit = _limits(budget).get(overrun.cap)
    return limit is not None and limit <= overrun.limit and now < _ends(overrun)


def waited_for(overruns: Iterable[Overrun], budget: Budget, now: datetime) -> Overrun | None:
    """Return the one of `overruns` that renting waits for longest; None = it waits for none."""
    return max((one for one in overruns if in_force(one, budget, now)), key=_ends, default=None)


def _ends(overrun: Overrun) -> datetime:
    """Return when the wait ends by itself."""
    until = overrun.at + WORTH
    if overrun.cap == PER_DAY:
        return min(until, next_day(overrun.at))
    if overrun.cap == PER_MONTH:
        return min(until, next_month(overrun.at))
    return until


def _held(overrun: Overrun, now: datetime) -> Objection:
    cap = f"{overrun.cap} = {usd(overrun.limit)}"
    return Objection(
        f"an instance was given up for {cap} at {said(overrun.at, now)}, less than an hour ago",
        f"it ends by itself at {said(_ends(overrun), now)}, or raise {overrun.cap} and reload",
        overrun.cap,
        overrun.limit,
    )


def _limits(budget: Budget) -> Mapping[str, int | None]:
    """Return the caps by the names of their settings; None = no such cap."""
    return {
        PER_HOUR: budget.per_hour,
        PER_DAY: budget.per_day,
        PER_MONTH: budget.per_month,
        TOTAL: budget.total,
    }


def _too_dear_an_hour(fleet: Fleet, rate: int) -> Objection | None:
    most = fleet.budget.per_hour
    if most is None or rate <= most:
        return None
    return Objection(
        f"{at_least(rate)} USD per hour would be more than budget.usd_per_hour = {usd(most)}",
        f"set budget.usd_per_hour to {at_least(rate)} or more and reload; a cheaper offer, or a box that "
        "goes, ends it as well",
        PER_HOUR,
        most,
    )


def _too_short_a_runway(fleet: Fleet, credit: int | None, rate: int) -> Objection | None:
    runway = fleet.budget.runway
    if runway is None or credit is None or credit >= cost(rate, runway):
        return None
    hours = max(credit, 0) * 10 // max(rate, 1) / 10
    return Objection(
        f"the credit of {usd(credit)} USD would last {hours:.1f} h, less than "
        f"budget.min_runway_hours = {runway / timedelta(hours=1):g}",
        f"add {at_least(cost(rate, runway) - credit)} USD or more at console.vast.ai, which is noticed "
        f"within {fleet.account_every.total_seconds():g} s; or set budget.min_runway_hours to {hours:.1f} or "
        "less and reload",
    )


def _no_room(caps: Iterable[Cap], needed: int, now: datetime) -> Iterator[Objection]:
    """Say under which caps there is no room for what is `needed` beside what is spent and reserved."""
    for cap in caps:
        fresh = needed + cap.reserved
        whole = cap.spent + fresh
        if whole <= cap.limit:
            continue
        spent = f"{usd(cap.spent)} USD of {cap.name} = {usd(cap.limit)} are spent"
        cure = f"set {cap.name} to {at_least(whole)} or more and reload"
        if cap.ends is None:
            cure += "; it does not end by itself"
        elif fresh > cap.limit:
            cure += f", or lower vast_query.cost_per_hour: not even a new {cap.period} has room for it"
        else:
            cure += f"; it ends by itself at {said(cap.ends, now)}, with the {cap.period}"
        why = f"{spent}, and with one box more it might come to {at_least(whole)}"
        yield Objection(why, cure, cap.name, cap.limit)


def over_budget(
    fleet: Fleet,
    held: tuple[Held, ...],
    free: Iterable[Held],
    view: View,
    now: datetime,
    *,
    doubtful: Collection[int] = (),
) -> Iterator[Move]:
    """Give up what would pass a cap: the dearest unverified first, then the dearest verified.

    Before them go those that look lost and are kept for the doubt alone; `doubtful` are their numbers.

    What stays must fit with what is spent, with what all cost until they are gone, and with what they
    themselves cost should their price rise meanwhile. So a pool shrinks step by step as a cap comes near.
    `free` are the rows of `held` that nothing else is done about.
    """
    limits = caps(fleet, view.spent, reserved(held, now), now)
    wanted = sorted(
        (row for row in free if row.wanted), key=lambda row: (row.id not in doubtful, *_keeps_longest(row))
    )
    staying = _rate(wanted)
    for row in wanted:
        found = _excess(fleet, limits, staying=staying) or _not_to_be_sent(fleet, held, view, row, now)
        if found is None:
            continue
        staying -= row.price or 0
        unsent = row.state is State.REQUESTED and row.sends == 0
        to = State.DESTROYED if unsent else State.DROPPING
        yield Move(row, to, Reason.BUDGET, found.why, over_cap=found.cap, over_limit=found.limit)


def _excess(fleet: Fleet, limits: Iterable[Cap], *, staying: int) -> Excess | None:
    """Say which cap instances that cost `staying` an hour would pass; None = none."""
    hourly = fleet.budget.per_hour
    if hourly is not None and staying > hourly:
        why = f"{usd(staying)} USD per hour are more than {PER_HOUR} = {usd(hourly)}"
        return Excess(why, PER_HOUR, hourly)
    for cap in limits:
        if cap.spent + cap.reserved + cost(staying, _margin(fleet)) > cap.limit:
            why = f"{usd(cap.spent)} USD of {cap.name} = {usd(cap.limit)} are spent"
            return Excess(why, cap.name, cap.limit)
    return None


def _margin(fleet: Fleet) -> timedelta:
    """Return for how long what stays has to fit under a cap beyond EXIT, at the price that is known.

    A price may be RISE times as high since the last listing. The next one shows it; until then, and for
    EXIT after it, the instance costs the higher price, and EXIT is reserved at the lower one.
    """
    return RISE * (fleet.listing_every + LISTED + EXIT) - EXIT


def _not_to_be_sent(
    fleet: Fleet, held: tuple[Held, ...], view: View, row: Held, now: datetime
) -> Excess | None:
    """Say why an intent that stands unsent is not to be sent; None = it is, or it was."""
    found = unaffordable(fleet, held, view, row, now) if row.unsent and fleet.budget.any else None
    return None if found is None else Excess(found.why, found.cap, found.limit)


def caps(fleet: Fleet, spent: Outlay, reserved: int, now: datetime) -> tuple[Cap, ...]:
    """Return the caps over a time that are set; of each, `reserved` micro-dollars are spoken for."""
    budget = fleet.budget
    known = (
        (PER_DAY, budget.per_day, spent.day, next_day(now)),
        (PER_MONTH, budget.per_month, spent.month, next_month(now)),
        (TOTAL, budget.total, spent.total, None),
    )
    return tuple(
        Cap(name, limit, used, reserved, ends) for name, limit, used, ends in known if limit is not None
    )


def dearest(fleet: Fleet, held: Iterable[Held], view: View, now: datetime) -> int | Objection | None:
    """Return the highest price at which one box more has room, in micro-dollars per hour; None = any.

    An Objection says why not even the cheapest has. Traffic is left out, for it depends on the offer.
    """
    rows = tuple(held)

    def objected(price: int) -> Objection | None:
        return _objection(fleet, rows, view, price=price, reserve=0, now=now)

    if (found := objected(1)) is not None:
        return found
    too_dear = bisect(range(BEYOND), 0, key=lambda price: objected(price) is not None)
    return None if too_dear == BEYOND else too_dear - 1


def reserved(held: Iterable[Held], now: datetime) -> int:
    """Return what the boxes there are cost until they are surely gone, in micro-dollars."""
    return sum(cost(row.price or 0, _left(row, now)) for row in held if row.live)


def _left(row: Held, now: datetime) -> timedelta:
    """Return how long it may take until a row is gone: EXIT from now, or from when it was told to go."""
    if row.wanted:
        return EXIT
    return min(max(EXIT - (now - row.moved_at), STUCK), EXIT)


def _rate(rows: Iterable[Held]) -> int:
    return sum(row.price or 0 for row in rows)


def _keeps_longest(row: Held) -> tuple[bool, int, int]:
    return row.state is State.VERIFIED, -(row.price or 0), -row.id
