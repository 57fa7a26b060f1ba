"""Keep the books of instances: their rates and traffic, and once they are gone what they came to.

Only the ledger and the findings write here, each in the transaction of what it notes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime

from sqlalchemy import Date, Select, UpdateBase, bindparam, case, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from magister.domain import cost, traffic
from magister.domain.cost import Changes, Hour, Interval, Line, Work
from magister.domain.instance import Held
from magister.domain.observed import Sighting
from magister.domain.traffic import Traffic
from magister.states import Reason, State
from magister.store import instances
from magister.store.db.models import Instance
from magister.store.db.models_accounting import DayCost, DayTraffic, InstanceTotal, Rate


def intervals(
    session: Session, ids: Collection[int] | Select[int], *, last_rate: int | None = None
) -> dict[int, list[Interval]]:
    """Return what instances cost, oldest first on each line; one that never cost anything is left out.

    `last_rate` leaves out what was written after it; None = nothing.
    """
    query = select(Rate).where(Rate.instance_id.in_(ids)).order_by(Rate.id)
    if last_rate is not None:
        query = query.where(Rate.id <= last_rate)
    found: dict[int, list[Interval]] = {}
    for rate in session.scalars(query, execution_options=instances.FRESH):
        found.setdefault(rate.instance_id, []).append(_interval(rate))
    return found


def last_intervals(session: Session, ids: Collection[int]) -> dict[int, dict[Line, Interval]]:
    """Return the last interval of each line of instances; one that never cost anything is left out."""
    last = select(func.max(Rate.id)).where(Rate.instance_id.in_(ids)).group_by(Rate.instance_id, Rate.line)
    found: dict[int, dict[Line, Interval]] = {}
    for rate in session.scalars(select(Rate).where(Rate.id.in_(last)), execution_options=instances.FRESH):
        interval = _interval(rate)
        found.setdefault(rate.instance_id, {})[interval.line] = interval
    return found


def _interval(rate: Rate) -> Interval:
    return Interval(Line(rate.line), rate.micros, rate.begins_at, rate.ends_at)


def open_account(session: Session, instance_id: int, disk_price: int | None, at: datetime) -> None:
    """Let an instance cost its disk from its creation on, unless a listing has seen to it meanwhile."""
    if instance_id not in last_intervals(session, [instance_id]):
        _write(session, instance_id, cost.born(disk_price, at))


def note(session: Session, seen: Iterable[tuple[Held, Sighting]], at: datetime) -> None:
    """Write what sightings at `at` change, each beside its row as it was before."""
    pairs = tuple(seen)
    last = last_intervals(session, [row.id for row, _ in pairs])
    for row, box in pairs:
        _write(session, row.id, cost.noticed(row, box, at, last.get(row.id, {})))
    _note_traffic(session, [pair for pair in pairs if traffic.shown(pair[1])], at)


def moved(session: Session, ids: Collection[int] | Select[int]) -> dict[int, dict[date, Traffic]]:
    """Return what instances moved on each UTC day; one that moved nothing that was seen is left out."""
    found: dict[int, dict[date, Traffic]] = {}
    query = select(DayTraffic).where(DayTraffic.instance_id.in_(ids)).order_by(DayTraffic.day)
    for one in session.scalars(query, execution_options=instances.FRESH):
        found.setdefault(one.instance_id, {})[one.day] = Traffic(one.down_kb, one.up_kb, one.fractions)
    return found


def settle(session: Session, row: Held, reason: Reason, at: datetime) -> None:
    """Close what an instance costs at the proof that it is gone, and write its days, its total and its hours.

    `reason` is that of its end; what is written bears the one for which it left the pool.
    """
    last = last_intervals(session, [row.id]).get(row.id, {})
    _write(session, row.id, cost.gone(row, at, last))
    kept = intervals(session, [row.id]).get(row.id, ())
    known = session.execute(
        select(Instance.machine_id, Instance.host_id, Instance.gpu_name, Instance.dropped_at).where(
            Instance.id == row.id
        )
    ).one()
    left = row.reason if row.state is State.DROPPING else reason
    shared: dict[str, object] = {
        "instance_id": row.id,
        "reason": left.value,
        "machine_id": known.machine_id,
        "host_id": known.host_id,
        "gpu_name": known.gpu_name,
    }
    days, beside = cost.by_day(kept, at), traffic.by_day(moved(session, [row.id]).get(row.id, {}))
    entries = [
        {"day": day, "micros": days.get(day, 0), "traffic_micros": beside.get(day, 0), **shared}
        for day in sorted(days.keys() | beside.keys())
    ]
    if entries:
        session.execute(insert(DayCost), entries)
    if row.contract_id is not None or row.verified_at is not None:  # else there never was a box
        work = Work(row.verified_at, known.dropped_at or at)
        session.execute(
            insert(InstanceTotal).values(
                **shared, **_total(row, kept, work, at), last_rate=_last_rate(session, row.id)
            )
        )
        _add_hours(session, cost.by_hour(kept, work), 1)


def reopen(session: Session, row: Held) -> None:
    """Take back what was written of an instance that has reappeared: it is not done costing."""
    _execute(session, delete(DayCost).where(DayCost.instance_id == row.id))
    taken = delete(InstanceTotal).where(InstanceTotal.instance_id == row.id)
    sums = taken.returning(InstanceTotal.works_from, InstanceTotal.works_until, InstanceTotal.last_rate)
    found = session.execute(sums).first()
    if found is None:
        return
    since, until, last_rate = found
    # the listing that shows it again has begun new rates already, which were never added
    added = intervals(session, [row.id], last_rate=last_rate).get(row.id, ())
    _add_hours(session, cost.by_hour(added, Work(since, until)), -1)


def _total(row: Held, intervals: Iterable[Interval], work: Work, at: datetime) -> Mapping[str, object]:
    """Return what a box came to; how long an adopted one took to boot nobody saw."""
    adopted, boot = row.sends == 0, None
    if row.verified_at is not None and not adopted:
        boot = max(int((row.verified_at - (row.created_at or row.requested_at)).total_seconds()), 0)
    sums = cost.total(intervals, work, at)
    return {
        "adopted": adopted,
        "boot_seconds": boot,
        "works_from": work.since,
        "works_until": work.until,
        "paid_seconds": sums.paid,
        "worked_seconds": sums.worked,
        "gpu_micros": sums.gpu,
        "micros": sums.micros,
    }


_HOURS = text(
    """
    INSERT INTO pool_hours (hour, instances, verified, fractions)
    VALUES (:hour, :instances, :verified, :fractions)
    ON CONFLICT (hour) DO UPDATE SET
        instances = pool_hours.instances + excluded.instances,
        verified = pool_hours.verified + excluded.verified,
        fractions = pool_hours.fractions + excluded.fractions
    """
)


def _add_hours(session: Session, hours: Mapping[int, Hour], sign: int) -> None:
    """Add what an instance came to to the hours of the pool, or take it back.

    Always in the order of the hours, so that two who do so wait for one another and never in a circle.
    """
    entries = [
        {
            "hour": number,
            "instances": sign,
            "verified": sign * hour.worked,
            "fractions": sign * hour.fractions,
        }
        for number, hour in sorted(hours.items())
    ]
    if entries:
        session.execute(_HOURS, entries)


def _last_rate(session: Session, instance_id: int) -> int:
    """Return the number of the newest rate of an instance; 0 = it never cost anything."""
    return session.scalar(select(func.max(Rate.id)).where(Rate.instance_id == instance_id)) or 0


def turn_back(session: Session, to: datetime) -> None:
    """Bring what begins or ends in the future back to `to`, after the clock was set back."""
    to = cost.whole(to)
    live = Rate.instance_id.in_(instances.live_ids())
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
    """Write what boxes moved beyond what is noted: on the day it was seen, the first on all their days."""
    ids = [row.id for row, _ in seen]
    noted = moved(session, ids) if seen else {}
    reserves = _reserves(session, set(ids) - noted.keys())
    for row, box in seen:
        before = noted.get(row.id, {})
        more = traffic.grown(row, box, at, traffic.total(before.values()))
        if more is None:
            continue
        reserve = reserves.get(row.id, 0)
        days = {cost.day_of(at): more} if before else traffic.spread(row, more, at, reserve=reserve)
        for day, part in days.items():
            session.execute(_MORE, {"instance_id": row.id, "day": day, **asdict(part)})
        _use_reserve(session, row.id, more.micros)


def _reserves(session: Session, ids: Collection[int]) -> dict[int, int]:
    """Return what is set aside for the traffic of instances, in micro-dollars."""
    if not ids:
        return {}
    query = select(Instance.id, Instance.traffic_reserve).where(Instance.id.in_(ids))
    return {row.id: row.traffic_reserve for row in session.execute(query)}


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
