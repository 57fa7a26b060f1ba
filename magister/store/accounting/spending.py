"""What was spent: the stored days of instances that are gone, and the rates of those that are not.

Money is exact, in micro-dollars, and days are UTC. The estimate is conservative where `rates` says so. Boxes
that were gone before their rates were kept count nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum

from sqlalchemy import ScalarSelect, Select, func, or_, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from magister.domain import cost as rates
from magister.domain import traffic
from magister.domain.traffic import Traffic
from magister.money import Outlay
from magister.states import WANTED, State
from magister.store import cost_ledger, instances
from magister.store.db.models import Instance
from magister.store.db.models_accounting import DayCost


class By(StrEnum):
    """Name what the spending can be told apart by."""

    DAY = "day"
    MACHINE = "machine"
    HOST = "host"
    GPU = "gpu"
    REASON = "reason"  # why it left the pool; None = it has not
    STATE = "state"


Key = date | int | str | None
"""What a sum is for, by the kind of sum; None = not known, or still in the pool."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Hold what was spent for one key, in micro-dollars: on GPUs and disk, and beside them on traffic."""

    key: Key
    micros: int
    traffic: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """Hold what an instance that is not proved gone has cost so far, day by day in micro-dollars.

    `days` are of its GPUs and disk, `traffic` stands beside them.
    """

    id: int
    contract_id: int | None
    machine_id: int | None
    host_id: int | None
    gpu_name: str | None
    state: State
    reason: str | None  # None = it is still wanted
    days: Mapping[date, int]
    traffic: Mapping[date, int]

    @property
    def cost(self) -> int:
        """Return what it has cost so far, with traffic."""
        return sum(self.days.values()) + sum(self.traffic.values())

    def within(self, first: date, last: date) -> Iterator[tuple[date, int, int]]:
        """Yield each day from `first` to `last` with what it cost, and what its traffic cost beside that."""
        for day in self.days.keys() | self.traffic.keys():
            if first <= day <= last:
                yield day, self.days.get(day, 0), self.traffic.get(day, 0)


def outlay(session: Session, now: datetime) -> Outlay:
    """Return what all instances cost since the UTC day and the month began, and ever.

    What a box may have cost that no sighting has shown yet counts as well, and so does what is still set
    aside for the traffic of every box that was there at any time of a period.
    """
    return _added_up(session, now, _at_worst(session, now), _settled, _set_aside)


def spent(session: Session, lives: Iterable[Living], now: datetime) -> Outlay:
    """Return what all instances are known to have cost, with traffic, as `report` tells of the same days.

    `lives` is what `living` has returned at `now`.
    """
    known = (costs for one in lives for costs in (one.days, one.traffic))
    return _added_up(session, now, known, _settled)


def _added_up(
    session: Session,
    now: datetime,
    living: Iterable[Mapping[date, int]],
    *stored: Callable[[date], ScalarSelect[int]],
) -> Outlay:
    """Add what is stored to what the living cost, since the UTC day and the month began, and ever."""
    today = rates.day_of(now)
    since = (today, today.replace(day=1), date.min)
    # the living first: one that is settled between the two readings counts twice rather than never
    days: Counter[date] = Counter()
    for costs in living:
        days.update(costs)
    found = session.execute(select(*(asked(first) for asked in stored for first in since))).one()
    return Outlay(
        *(
            sum(int(micros) for micros in found[n :: len(since)])
            + sum(micros for day, micros in days.items() if day >= first)
            for n, first in enumerate(since)
        )
    )


def _settled(since: date) -> ScalarSelect[int]:
    """Ask what boxes that are gone cost since a day."""
    both = func.sum(DayCost.micros + DayCost.traffic_micros)
    return select(func.coalesce(both, 0)).where(DayCost.day >= since).scalar_subquery()


def _set_aside(since: date) -> ScalarSelect[int]:
    """Ask what is set aside for the traffic of the boxes that were there at any time since a day."""
    begin = datetime.combine(since, time(), UTC)
    there = or_(Instance.destroyed_at.is_(None), Instance.destroyed_at >= begin)
    kept = text("traffic_reserve > 0")  # as its index says it
    total = func.coalesce(func.sum(Instance.traffic_reserve), 0)
    return select(total).where(kept, there).scalar_subquery()


def _at_worst(session: Session, now: datetime) -> Iterator[Mapping[date, int]]:
    """Yield what each instance not proved gone may have cost until `now` by the day, then its traffic."""
    found = [row for row in instances.held(session) if row.live]
    ids = [row.id for row in found]
    known, moved = cost_ledger.intervals(session, ids), cost_ledger.moved(session, ids)
    for row in found:
        costs = known.get(row.id, [])
        unseen = rates.unseen(row, costs)
        yield rates.by_day(costs if unseen is None else [*costs, unseen], now)
        yield traffic.by_day(moved.get(row.id, {}))


def living(session: Session, now: datetime) -> tuple[Living, ...]:
    """Return what each instance that is not proved gone has cost until `now`, oldest first."""
    query = select(Instance).where(Instance.id.in_(instances.live_ids())).order_by(Instance.id)
    found = session.scalars(query, execution_options=instances.FRESH).all()
    ids = [row.id for row in found]
    costs, moved = cost_ledger.intervals(session, ids), cost_ledger.moved(session, ids)
    return tuple(
        Living(
            id=row.id,
            contract_id=row.contract_id,
            machine_id=row.machine_id,
            host_id=row.host_id,
            gpu_name=row.gpu_name,
            state=row.state,
            reason=None if row.state in WANTED else row.reason.value,
            days=rates.by_day(costs.get(row.id, ()), now),
            traffic=traffic.by_day(moved.get(row.id, {})),
        )
        for row in found
    )


def costs_of(session: Session, ids: tuple[int, ...], now: datetime) -> dict[int, int]:
    """Return what instances cost until `now`, without traffic, by the id of their row; 0 = nothing known."""
    found = cost_ledger.intervals(session, ids)
    return {number: rates.cost(found.get(number, ()), now) for number in ids}


def traffic_of(session: Session, instance_id: int) -> Traffic:
    """Return what one instance is known to have moved, and what that costs."""
    return traffic.total(cost_ledger.moved(session, [instance_id]).get(instance_id, {}).values())


def report(session: Session, by: By, first: date, last: date, now: datetime) -> tuple[Spent, ...]:
    """Return what was spent on the UTC days from `first` to `last`, by key; the dearest first, days in order.

    Keys that cost nothing are left out.
    """
    sums: Counter[Key] = Counter()
    moved: Counter[Key] = Counter()
    for one in living(session, now):
        for day, micros, more in one.within(first, last):
            sums[_key(one, day, by)] += micros
            moved[_key(one, day, by)] += more
    for key, micros, more in _stored(session, by, first, last):
        sums[key] += micros
        moved[key] += more
    found = [Spent(key, sums[key], moved[key]) for key in sums if sums[key] or moved[key]]
    if by is By.DAY:
        return tuple(sorted(found, key=lambda one: str(one.key)))
    return tuple(sorted(found, key=lambda one: (-one.micros - one.traffic, str(one.key))))


_COLUMNS: Mapping[By, InstrumentedAttribute[Key]] = {
    By.DAY: DayCost.day,
    By.MACHINE: DayCost.machine_id,
    By.HOST: DayCost.host_id,
    By.GPU: DayCost.gpu_name,
    By.REASON: DayCost.reason,
}


def _stored(session: Session, by: By, first: date, last: date) -> Iterator[tuple[Key, int, int]]:
    within = DayCost.day.between(first, last)
    micros, more = func.sum(DayCost.micros), func.sum(DayCost.traffic_micros)
    if by is By.STATE:  # only what is proved gone is settled
        total = session.execute(select(micros, more).where(within)).one()
        yield State.DESTROYED.value, int(total[0] or 0), int(total[1] or 0)
        return
    column = _COLUMNS[by]
    if by is not By.DAY:
        # not a plain column, or SQLite would look up each row by its day instead of reading one index through
        within = func.coalesce(DayCost.day, DayCost.day).between(first, last)
    query: Select[Key, int, int] = select(column, micros, more).where(within).group_by(column)
    for key, cost, moved in session.execute(query):
        yield key, int(cost), int(moved)


def _key(one: Living, day: date, by: By) -> Key:
    match by:
        case By.DAY:
            return day
        case By.MACHINE:
            return one.machine_id
        case By.HOST:
            return one.host_id
        case By.GPU:
            return one.gpu_name
        case By.REASON:
            return one.reason
        case By.STATE:
            return one.state.value
