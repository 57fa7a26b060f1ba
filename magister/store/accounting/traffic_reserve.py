"""What stays set aside for the traffic of boxes that are gone, once the bill says what it really was.

The larger of what listings counted and what was billed counts then. A bill is believed when the last day of a
box was read for the last time and shows the box; until that, and where no bill can be read, all stays set
aside, for listings may count nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from magister.domain import cost
from magister.states import State
from magister.store.db.models import Instance
from magister.store.db.models_accounting import ESTIMATED, Bill, DayCost

SOUGHT = timedelta(days=31)
"""For so long after its end a box is looked for on the bill; one that never was on it keeps its reserve."""


@dataclass(slots=True)
class Traffic:
    """Hold what was billed for the traffic of one box by the day, and what counts without the bill."""

    billed: Counter[date] = field(default_factory=Counter)  # micro-dollars; a day that was billed is a key
    counted: Counter[date] = field(default_factory=Counter)  # micro-dollars
    costing: set[date] = field(default_factory=set)  # days on which its GPUs or its disk cost


def settle(session: Session, days: Sequence[date], *, reread: int) -> None:
    """Release what boxes that are gone did not use of what is set aside for them, and count what is above.

    `days` were just read, and each is read `reread` times.
    """
    begun = session.scalar(select(func.min(Bill.day)))
    if begun is None or not days:
        return
    gone = _gone(begun, max(days) + timedelta(days=1 - reread), days)
    moved = _traffic(session, gone)
    query = select(
        Instance.id,
        Instance.destroyed_at,
        Instance.traffic_reserve,
        func.coalesce(Instance.last_seen_at, Instance.created_at, Instance.destroyed_at).label("seen_at"),
    )
    for row in session.execute(query.where(gone)).all():
        box = moved[row.id]
        if not _is_covered(box, cost.day_of(row.seen_at)):
            continue
        left = still(row.traffic_reserve, box.billed, box.counted, cost.day_of(row.destroyed_at))
        if left == row.traffic_reserve:
            continue
        unmoved = Instance.id == row.id, Instance.state == State.DESTROYED
        changed = update(Instance).where(*unmoved).values(traffic_reserve=left)
        session.execute(changed.execution_options(synchronize_session=False))


def still(reserve: int, billed: Mapping[date, int], counted: Mapping[date, int], ended: date) -> int:
    """Return what of a `reserve` still counts, in micro-dollars: what was billed beyond what was counted.

    It counts in every period in which the box was there. So what was billed above the reserve counts only as
    far as it was in the month in which the box `ended`, or a month would pay for those before it.
    """
    beyond = sum(billed.values()) - sum(counted.values())
    month = sum(
        billed.get(day, 0) - counted.get(day, 0) for day in {*billed, *counted} if _same_month(day, ended)
    )
    return max(min(reserve, beyond), month, 0)


def _gone(begun: date, last: date, days: Sequence[date]) -> ColumnElement[bool]:
    """Tell the boxes whose bill is whole: they came since it was `begun`, and were gone by the end of `last`.

    Of those for which nothing is set aside, only what `days` show of traffic is looked at.
    """
    moved = select(Bill.contract_id).where(
        Bill.day.between(min(days), max(days)), Bill.line.not_in(ESTIMATED), Bill.micros > 0
    )
    return (
        (Instance.state == State.DESTROYED)
        & Instance.contract_id.is_not(None)
        & (Instance.requested_at >= _midnight(begun))
        & (Instance.destroyed_at >= _midnight(min(days) - SOUGHT))
        & (Instance.destroyed_at < _midnight(last + timedelta(days=1)))
        & or_(Instance.traffic_reserve > 0, Instance.contract_id.in_(moved))
    )


def _traffic(session: Session, gone: ColumnElement[bool]) -> defaultdict[int, Traffic]:
    found: defaultdict[int, Traffic] = defaultdict(Traffic)
    lines = select(Instance.id, Bill.day, Bill.line, Bill.micros).join(
        Bill, Bill.contract_id == Instance.contract_id
    )
    for number, day, line, micros in session.execute(lines.where(gone)):
        found[number].billed[day] += 0 if line in ESTIMATED else micros
    costs = select(DayCost.instance_id, DayCost.day, DayCost.micros, DayCost.traffic_micros)
    for number, day, micros, traffic in session.execute(
        costs.join(Instance, Instance.id == DayCost.instance_id).where(gone)
    ):
        found[number].counted[day] += traffic
        if micros:
            found[number].costing.add(day)
    return found


def _is_covered(box: Traffic, seen: date) -> bool:
    """Say whether the bill shows the last day on which a box cost and was surely there."""
    last = max((day for day in box.costing if day <= seen), default=seen)
    return any(day >= last for day in box.billed)


def _same_month(day: date, other: date) -> bool:
    return (day.year, day.month) == (other.year, other.month)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
