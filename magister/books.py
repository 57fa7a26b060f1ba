"""Keep the books of instances: the intervals of their rates, their traffic, and their days once they ended.

Only the ledger and the findings write here, each in the transaction of what it notes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime

from sqlalchemy import Date, Select, UpdateBase, bindparam, case, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from magister import rates, rows, traffic
from magister.facts import Sighting
from magister.held import Held
from magister.models import Instance
from magister.models_money import DayCost, DayTraffic, Rate
from magister.rates import Changes, Interval, Line
from magister.states import Reason, State
from magister.traffic import Traffic


def intervals(session: Session, ids: Collection[int] | Select[int]) -> dict[int, list[Interval]]:
    """Return what instances cost, oldest first on each line; one that never cost anything is left out."""
    query = select(Rate).where(Rate.instance_id.in_(ids)).order_by(Rate.id)
    found: dict[int, list[Interval]] = {}
    for rate in session.scalars(query, execution_options=rows.FRESH):
        found.setdefault(rate.instance_id, []).append(_interval(rate))
    return found


def last_intervals(session: Session, ids: Collection[int]) -> dict[int, dict[Line, Interval]]:
    """Return the last interval of each line of instances; one that never cost anything is left out."""
    last = select(func.max(Rate.id)).where(Rate.instance_id.in_(ids)).group_by(Rate.instance_id, Rate.line)
    found: dict[int, dict[Line, Interval]] = {}
    for rate in session.scalars(select(Rate).where(Rate.id.in_(last)), execution_options=rows.FRESH):
        interval = _interval(rate)
        found.setdefault(rate.instance_id, {})[interval.line] = interval
    return found


def _interval(rate: Rate) -> Interval:
    return Interval(Line(rate.line), rate.micros, rate.begins_at, rate.ends_at)


def open_account(session: Session, instance_id: int, disk_price: int | None, at: datetime) -> None:
    """Let an instance cost its disk from its creation on, unless a listing has seen to it meanwhile."""
    if instance_id not in last_intervals(session, [instance_id]):
        _write(session, instance_id, rates.born(disk_price, at))


def note(session: Session, seen: Iterable[tuple[Held, Sighting]], at: datetime) -> None:
    """Write what sightings at `at` change, each beside its row as it was before."""
    pairs = tuple(seen)
    last = last_intervals(session, [row.id for row, _ in pairs])
    for row, box in pairs:
        _write(session, row.id, rates.noticed(row, box, at, last.get(row.id, {})))
    _note_traffic(session, [pair for pair in pairs if traffic.shown(pair[1])], at)


def moved(session: Session, ids: Collection[int] | Select[int]) -> dict[int, dict[date, Traffic]]:
    """Return what instances moved on each UTC day; one that moved nothing that was seen is left out."""
    found: dict[int, dict[date, Traffic]] = {}
    query = select(DayTraffic).where(DayTraffic.instance_id.in_(ids)).order_by(DayTraffic.day)
    for one in session.scalars(query, execution_options=rows.FRESH):
        found.setdefault(one.instance_id, {})[one.day] = Traffic(one.down_kb, one.up_kb, one.fractions)
    return found


def settle(session: Session, row: Held, reason: Reason, at: datetime) -> None:
    """Close what an instance costs at the proof that it is gone, and write its days.

    `reason` is that of its end; the days bear the one for which it left the pool.
    """
    last = last_intervals(session, [row.id]).get(row.id, {})
    _write(session, row.id, rates.gone(row, at, last))
    days = rates.by_day(intervals(session, [row.id]).get(row.id, ()), at)
    known = session.execute(
        select(Instance.machine_id, Instance.host_id, Instance.gpu_name).where(Instance.id == row.id)
    ).one()
    left = row.reason if row.state is State.DROPPING else reason
    shared = {"instance_id": row.id, "reason": left.value, **known._mapping}
    beside = traffic.by_day(moved(session, [row.id]).get(row.id, {}))
    entries = [
        {
            "day": day,
            "micros": days.get(day, 0),
            "traffic_micros": beside.get(day, 0),
            **shared,
        }
        for day in sorted(days.keys() | beside.keys())
    ]
    if entries:
        session.execute(insert(DayCost), entries)


def reopen(session: Session, row: Held) -> None:
    """Take back the days of an instance that has reappeared: it is not done costing."""
    _execute(session, delete(DayCost).where(DayCost.instance_id == row.id))


def turn_back(session: Session, to: datetime) -> None:
    """Bring what begins or ends in the future back to `to`, after the clock was set back."""
    to = rates.whole(to)
    live = Rate.instance_id.in_(rows.live_ids())
    _execute(session, update(Rate).where(live, Rate.begins_at > to).values(begins_at=to))
    _execute(session, update(Rate).where(live, Rate.ends_at > to).values(ends_at=to))


_MORE = text(
    """
    INSERT INTO day_traffic (instance_id, day, down_kb, up_kb, fractions)
    VALUES (:instance_id, :day, :down_kb, :up_kb, :fractions)
    ON CONFLICT (instance_id, day) DO UPDATE SET
        down_kb = day_traffic.down_kb + excluded.down_kb,
        up_kb = day_traffic.up_kb + excluded.up_kb,
        fractions = day_traffic.fractions + excluded.fractions
    """
).bindparams(bindparam("day", type_=Date))


def _note_traffic(session: Session, seen: Collection[tuple[Held, Sighting]], at: datetime) -> None:
    """Write what boxes moved beyond what is noted, on the day of the sighting."""
    noted = moved(session, [row.id for row, _ in seen]) if seen else {}
    for row, box in seen:
        more = traffic.grown(row, box, at, traffic.total(noted.get(row.id, {}).values()))
        if more is not None:
            session.execute(_MORE, {"instance_id": row.id, "day": rates.day_of(at), **asdict(more)})
            _use_reserve(session, row.id, more.micros)


def _use_reserve(session: Session, instance_id: int, micros: int) -> None:
    """Take what has come to be known of a box's traffic from what is set aside for it."""
    kept = Instance.traffic_reserve
    left = case((kept > micros, kept - micros), else_=0)
    _execute(
        session, update(Instance).where(Instance.id == instance_id, kept > 0).values(traffic_reserve=left)
    )


def _execute(session: Session, statement: UpdateBase) -> None:
    session.execute(statement.execution_options(synchronize_session=False))


def _write(session: Session, instance_id: int, changes: Changes) -> None:
    for line, ends_at in changes.ended.items():
        running = update(Rate).where(
            Rate.instance_id == instance_id, Rate.line == line.value, Rate.ends_at.is_(None)
        )
        _execute(session, running.values(ends_at=ends_at))
    if changes.begun:
        session.execute(insert(Rate), [_entry(instance_id, interval) for interval in changes.begun])


def _entry(instance_id: int, interval: Interval) -> Mapping[str, object]:
    return {
        "instance_id": instance_id,
        "line": interval.line.value,
        "micros": interval.micros,
        "begins_at": interval.begins_at,
        "ends_at": interval.ends_at,
    }
