"""Measure the reports on money over a long past: 100,000 instances on SQLite."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from sqlalchemy import insert

from magister import rates, spending
from magister.database import Sessions, open_database
from magister.models import Instance
from magister.models_money import DayCost, Rate
from magister.rates import Interval, Line
from magister.schema import migrate
from magister.spending import By
from magister.states import Reason, State
from tests.bench.figures import Figure, below

PAST = 100_000
DAYS = 365
AT_ONCE = 5_000
SAMPLES = 5
AIM_MS = 50.0
END = datetime(2026, 11, 24, 12, tzinfo=UTC)


def reporting(folder: Path) -> list[Figure]:
    """Fill a database with a year of instances that are gone, and ask what they cost."""
    folder.mkdir()
    sessions = open_database(f"sqlite:///{folder / 'past.db'}", busy_timeout=5)
    try:
        migrate(sessions)
        _fill(sessions)
        worst = {by: _slowest(sessions, by) for by in By}
        return [
            *(
                below(f"cost of a year by {by}, {PAST:,} past instances", slowest, AIM_MS, "ms", 1)
                for by, slowest in worst.items()
            ),
            below("cost of all time, as budgets ask", _slowest(sessions, None), AIM_MS, "ms", 1),
        ]
    finally:
        sessions.engine.dispose()


def _slowest(sessions: Sessions, by: By | None) -> float:
    """Return the slowest of some reports in milliseconds, after one that nobody counts."""
    took: list[float] = []
    for _ in range(SAMPLES + 1):
        begun = time.perf_counter()
        with sessions.read() as session:
            if by is None:
                spending.outlay(session, END)
            else:
                spending.report(session, by, END.date() - timedelta(days=DAYS), END.date(), END)
        took.append(1000 * (time.perf_counter() - begun))
    return max(took[1:])


def _fill(sessions: Sessions) -> None:
    random = Random(1)
    for first in range(1, PAST, AT_ONCE):
        lives = [_a_life(number, random) for number in range(first, first + AT_ONCE)]
        with sessions.write() as session:
            session.execute(insert(Instance), [row for row, _ in lives])
            session.execute(insert(Rate), [_rate(row, each) for row, found in lives for each in found])
            session.execute(insert(DayCost), [day for row, found in lives for day in _days(row, found)])


def _a_life(number: int, random: Random) -> tuple[dict[str, object], tuple[Interval, ...]]:
    begins = END - timedelta(seconds=random.randrange(86_400, DAYS * 86_400))
    ends = begins + timedelta(seconds=random.randrange(300, 80_000))
    machine = random.randrange(1, 2000)
    row = {
        "id": number,
        "key": f"{number:032x}",
        "state": State.DESTROYED,
        "reason": Reason.PROVED_GONE,
        "moved_at": ends,
        "requested_at": begins,
        "created_at": begins,
        "verified_at": begins,
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


def _days(row: dict[str, object], found: tuple[Interval, ...]) -> Iterator[dict[str, object]]:
    for day, micros in rates.by_day(found, END).items():
        known = {name: row[name] for name in ("machine_id", "host_id", "gpu_name")}
        yield {"instance_id": row["id"], "day": day, "micros": micros, "reason": "coordinator", **known}
