"""Measure the reports on money and machines over a long past: 100,000 instances on SQLite."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from magister.control.cache import Memory
from magister.control.observer import observe
from magister.domain import cost
from magister.domain.cost import Hour, Interval, Line, Work
from magister.domain.spec import Fleet
from magister.domain.traffic import KB_PER_GB
from magister.reports.dashboard import dashboard
from magister.states import Failure, Reason, State
from magister.store import machines, pool
from magister.store.accounting import invoice, spending
from magister.store.accounting.spending import By
from magister.store.db.engine import Sessions, open_database
from magister.store.db.migrations import migrate
from magister.store.db.models import Instance, Transition
from magister.store.db.models_accounting import Bill, DayCost, DayTraffic, InstanceTotal, PoolHour, Rate
from tests.bench.figures import Figure, below

PAST = 100_000
MACHINES = 1000
DAYS = 365
AT_ONCE = 5_000
SAMPLES = 5
AIM_MS = 50.0
MACHINES_AIM_MS = 200.0
WEEK_AIM_MS = 200.0
WHOLE_AIM_MS = 2000.0
PLAN_AIM_MS = 20.0
REPUTATION_AIM_MS = 200.0
PAGE_AIM_MS = 500.0
BILL_AIMS_MS = {30: 500.0, DAYS: 5000.0}
REFUSED = 2000
END = datetime(2026, 11, 24, 12, tzinfo=UTC)
FLEET = Fleet(target=10, drop_prefix="http://127.0.0.1/drop/", label_tag="bench", template_hash="template 1")

VIEWS = {
    "pool_hourly, the last week": (
        f"SELECT * FROM pool_hourly WHERE hour >= '{END - timedelta(days=7):%Y-%m-%d}'",
        WEEK_AIM_MS,
    ),
    "pool_hourly, the whole year": ("SELECT * FROM pool_hourly", WHOLE_AIM_MS),
    "machine_record, all": ("SELECT * FROM machine_record", MACHINES_AIM_MS),
    "instance_cost, the sum of all": ("SELECT SUM(micros) FROM instance_cost", WHOLE_AIM_MS),
    "daily_cost, the sum of all": ("SELECT SUM(micros) FROM daily_cost", WHOLE_AIM_MS),
}
"""What is asked of the views, and the aim in milliseconds."""


def reporting(folder: Path) -> list[Figure]:
    """Fill a database with a year of instances that are gone, and ask what they cost and showed."""
    folder.mkdir()
    sessions = open_database(f"sqlite:///{folder / 'past.db'}", busy_timeout=5)
    try:
        migrate(sessions)
        _fill(sessions)
        return [*_costs(sessions), *_bill(sessions), *_views(sessions), *_memory(sessions)]
    finally:
        sessions.engine.dispose()


def _costs(sessions: Sessions) -> Iterator[Figure]:
    first, last = END.date() - timedelta(days=DAYS), END.date()
    for by in By:
        took = _slowest(sessions, partial(spending.report, by=by, first=first, last=last, now=END))
        yield below(f"cost of a year by {by}, {PAST:,} past instances", took, AIM_MS, "ms", 1)
    took = _slowest(sessions, lambda session: spending.outlay(session, END))
    yield below("cost of all time, as budgets ask", took, AIM_MS, "ms", 1)


def _bill(sessions: Sessions) -> Iterator[Figure]:
    last = END.date()
    for what, days in {"a month": 30, "a year": DAYS}.items():
        asked = partial(invoice.reconcile, first=last - timedelta(days=days), last=last, now=END)
        yield below(
            f"the bill of {what} against its estimate", _slowest(sessions, asked), BILL_AIMS_MS[days], "ms", 1
        )
    took = _slowest(sessions, lambda session: invoice.unknown(session, END))
    yield below("charges of a week that nobody knows, as the loop asks", took, AIM_MS, "ms", 1)


def _views(sessions: Sessions) -> Iterator[Figure]:
    took = _slowest(sessions, lambda session: machines.machines(session, 50))
    yield below(f"magister machines, {MACHINES:,} machines", took, MACHINES_AIM_MS, "ms", 1)
    stale_after = timedelta(seconds=60)
    took = _slowest(sessions, lambda session: dashboard(session, FLEET, END, stale_after, last=20, lost=10))
    yield below("what the page and `magister status` show", took, PAGE_AIM_MS, "ms", 1)
    for what, (query, aim) in VIEWS.items():
        took = _slowest(sessions, partial(_answer, query))
        yield below(what, took, aim, "ms", 1)


def _answer(query: str, session: Session) -> None:
    session.execute(text(query)).all()


def _memory(sessions: Sessions) -> Iterator[Figure]:
    """Measure what the loop reads before each plan while instances are short."""
    memory = Memory()

    def observed(session: Session) -> None:
        observe(session, memory, pool.read(session), FLEET, END, offer_reuse=timedelta(days=1))

    def afresh(session: Session) -> None:
        memory.judged_at = memory.tried_until = None
        observed(session)

    took = _slowest(sessions, observed)
    yield below("before a plan: what is read while instances are short", took, PLAN_AIM_MS, "ms", 1)
    took = _slowest(sessions, afresh)
    yield below("once a minute: the reputation of all machines", took, REPUTATION_AIM_MS, "ms", 1)


def _slowest(sessions: Sessions, asked: Callable[[Session], object]) -> float:
    """Return the slowest of some answers in milliseconds, after one that nobody counts."""
    took: list[float] = []
    for _ in range(SAMPLES + 1):
        begun = time.perf_counter()
        with sessions.read() as session:
            asked(session)
        took.append(1000 * (time.perf_counter() - begun))
    return max(took[1:])


def _fill(sessions: Sessions) -> None:
    random = Random(1)
    hours: dict[int, list[Hour]] = {}
    for first in range(1, PAST, AT_ONCE):
        lives = [_a_life(number, random) for number in range(first, first + AT_ONCE)]
        with sessions.write() as session:
            session.execute(insert(Instance), [row for row, _ in lives])
            session.execute(insert(Rate), [_rate(row, each) for row, found in lives for each in found])
            session.execute(insert(DayCost), [day for row, found in lives for day in _days(row, found)])
            session.execute(insert(DayTraffic), [_moved(row) for row, _ in lives])
            session.execute(insert(Bill), [line for row, found in lives for line in _charges(row, found)])
            session.execute(insert(InstanceTotal), [_total(row, found) for row, found in lives])
            session.execute(insert(Transition), [move for row, _ in lives for move in _moves(row)])
        for row, found in lives:
            for number, hour in cost.by_hour(found, _work(row)).items():
                hours.setdefault(number, []).append(hour)
    with sessions.write() as session:
        session.execute(insert(PoolHour), [_hour(number, found) for number, found in hours.items()])
        session.execute(insert(Instance), [_refused(number) for number in range(REFUSED)])
        pool.note_bills(session, END)


def _a_life(number: int, random: Random) -> tuple[dict[str, object], tuple[Interval, ...]]:
    """Return one instance that is gone: of ten, one never verified and two died."""
    begins = END - timedelta(seconds=random.randrange(86_400, DAYS * 86_400))
    ends = begins + timedelta(seconds=random.randrange(300, 80_000))
    machine = random.randrange(1, MACHINES + 1)
    failure = random.choices([None, Failure.DIED, Failure.NEVER_VERIFIED], [7, 2, 1])[0]
    verified = None if failure is Failure.NEVER_VERIFIED else begins + timedelta(seconds=120)
    row = {
        "id": number,
        "key": f"{number:032x}",
        "state": State.DESTROYED,
        "reason": Reason.PROVED_GONE,
        "moved_at": ends,
        "requested_at": begins,
        "created_at": begins,
        "verified_at": verified,
        "dropped_at": ends,
        "destroyed_at": ends,
        "offer_id": number,
        "contract_id": number,
        "mac_required": False,
        "machine_id": machine,
        "host_id": machine // 4,
        "gpu_name": f"RTX {machine % 7}",
        "price": 500_000,
        "offer": "{" + " " * 2000 + "}",
        "sends": 1,
        "traffic_reserve": 0 if number % 10 else 50_000,  # of one in ten, listings counted nothing
        "failure": failure,
        "template_hash": f"template {number % 20}",
    }
    return row, (Interval(Line.GPU, 480_000, begins, ends), Interval(Line.DISK, 20_000, begins, ends))


def _rate(row: dict[str, object], interval: Interval) -> dict[str, object]:
    return {
        "instance_id": row["id"],
        "line": interval.line.value,
        "micros": interval.micros,
        "begins_at": interval.begins_at,
        "ends_at": interval.ends_at,
    }


def _moved(row: dict[str, object]) -> dict[str, object]:
    """Return the image that a box loaded on its first day, at a cent per GB."""
    begun, down = row["requested_at"], 6 * KB_PER_GB
    assert isinstance(begun, datetime)
    return {
        "instance_id": row["id"],
        "day": begun.date(),
        "down_kb": down,
        "up_kb": 0,
        "fractions": down * 10_000,
    }


def _charges(row: dict[str, object], found: tuple[Interval, ...]) -> Iterator[dict[str, object]]:
    """Return what Vast charged for a box: a line each for its GPU, its disk and its traffic, a day."""
    shared = {"contract_id": row["contract_id"], "label": f"magister:{row['key']}", "read_at": END}
    for day, micros in cost.by_day(found, END).items():
        for line, part in (("gpu", 0.96), ("disk", 0.04), ("bandwidth", 0.1)):
            yield {"day": day, "line": line, "micros": round(micros * part), **shared}


def _refused(number: int) -> dict[str, object]:
    """Return a row whose offer Vast refused, so that it never had a contract."""
    row, _ = _a_life(PAST + 1 + number, Random(number))
    return row | {"reason": Reason.REFUSED, "created_at": None, "verified_at": None, "contract_id": None}


def _shared(row: dict[str, object]) -> dict[str, object]:
    known = {name: row[name] for name in ("machine_id", "host_id", "gpu_name")}
    return {"instance_id": row["id"], "reason": "coordinator", **known}


def _days(row: dict[str, object], found: tuple[Interval, ...]) -> Iterator[dict[str, object]]:
    moved = _moved(row)
    for day, micros in cost.by_day(found, END).items():
        traffic = 60_000 if day == moved["day"] else 0
        yield {"day": day, "micros": micros, "traffic_micros": traffic, **_shared(row)}


def _work(row: dict[str, object]) -> Work:
    verified, dropped = row["verified_at"], row["dropped_at"]
    assert isinstance(dropped, datetime)
    return Work(verified if isinstance(verified, datetime) else None, dropped)


def _total(row: dict[str, object], found: tuple[Interval, ...]) -> dict[str, object]:
    work = _work(row)
    sums = cost.total(found, work, END)
    return {
        "adopted": False,
        "boot_seconds": None if work.since is None else 120,
        "works_from": work.since,
        "works_until": work.until,
        "last_rate": 0,
        "paid_seconds": sums.paid,
        "worked_seconds": sums.worked,
        "gpu_micros": sums.gpu,
        "micros": sums.micros,
        **_shared(row),
    }


def _hour(number: int, found: list[Hour]) -> dict[str, object]:
    return {
        "hour": number,
        "instances": len(found),
        "verified": sum(hour.worked for hour in found),
        "fractions": sum(hour.fractions for hour in found),
    }


def _moves(row: dict[str, object]) -> Iterator[dict[str, object]]:
    """Yield the moves that are read again: to verified, and to its end."""
    moves = [(State.VERIFIED, State.DROPPING, Reason.COORDINATOR, row["dropped_at"])]
    if row["verified_at"] is None:
        moves = [(State.CREATED, State.DROPPING, Reason.UNVERIFIED, row["dropped_at"])]
    else:
        moves.insert(0, (State.CREATED, State.VERIFIED, Reason.CALLED, row["verified_at"]))
    for old, new, reason, at in moves:
        yield {
            "instance_id": row["id"],
            "at": at,
            "from_state": old,
            "to_state": new,
            "reason": reason,
            "actor": "loop",
            "detail": "",
        }
