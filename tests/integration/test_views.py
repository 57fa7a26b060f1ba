"""The views for people say the same on both engines, and the same as Python's arithmetic."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text
from sqlalchemy.orm import Session

from magister.domain import cost as rates
from magister.domain.cost import Interval, Line
from magister.domain.risk.reputation import NONE, reputation
from magister.states import BOOT_FAILURES, Failure, Reason, State, failure
from magister.store import cost_ledger, instances, rental_history
from magister.store.accounting import spending
from magister.store.accounting.spending import By
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance, Transition
from magister.store.db.models_accounting import DayCost, InstanceTotal, PoolHour, Rate
from tests.builders import NOW

DOCS = Path(__file__).parent.parent.parent / "docs" / "sql.md"
QUERIES: dict[str, str] = dict(
    re.findall(r"^## ([^\n]*)\n(?:(?!^## ).)*?```sql\n(.*?)```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
)
LONG_AGO = datetime(2026, 3, 1, 22, 30, 30, tzinfo=UTC)
"""Before any clock that these tests run under, so that what is open costs until the query."""


@dataclass(frozen=True)
class Life:
    """Hold what a test wants of one instance; its intervals are closed, so the moment does not matter."""

    state: State
    intervals: tuple[Interval, ...]
    verified: bool = False
    machine: int = 1
    reason: Reason = Reason.COORDINATOR
    template: str | None = None  # with one, each machine has a host of its own
    adopted: bool = False
    returns: int = 0  # how often a listing showed it again after it was proved gone


def lived(session: Session, number: int, life: Life) -> None:
    begun = min((interval.begins_at for interval in life.intervals), default=LONG_AGO)
    gone = life.state is State.DESTROYED
    end = max((interval.ends_at or begun for interval in life.intervals), default=begun)
    row = Instance(
        id=number,
        key=f"{number:032x}",
        state=State.DROPPING if gone else life.state,
        reason=life.reason,
        moved_at=end,
        requested_at=begun,
        created_at=begun,
        verified_at=begun + timedelta(seconds=100, microseconds=999_900) if life.verified else None,
        dropped_at=end if life.state in {State.DESTROYED, State.DROPPING} else None,
        offer_id=number,
        contract_id=9000 + number,
        mac_required=False,
        machine_id=life.machine,
        host_id=life.machine if life.template else life.machine // 2,
        gpu_name="RTX 4090",
        sends=0 if life.adopted else 1,
        template_hash=life.template,
        failure=failure(State.VERIFIED if life.verified else State.CREATED, life.reason),
    )
    session.add(row)
    session.flush()
    entries = [
        {"instance_id": number, "line": i.line.value, "micros": i.micros, "begins_at": i.begins_at,
         "ends_at": i.ends_at} for i in life.intervals
    ]  # fmt: skip
    if entries:
        session.execute(insert(Rate), entries)
    left = State.VERIFIED if life.verified else State.CREATED
    moved(session, number, left, State.DROPPING, life.reason, end)
    for again in range(1 + life.returns if gone else 0):
        held = instances.as_held(row)
        if again:
            cost_ledger.reopen(session, held)
        cost_ledger.settle(session, held, Reason.PROVED_GONE, end)
        moved(session, number, State.DROPPING, State.DESTROYED, Reason.PROVED_GONE, end)
    if gone:
        row.state, row.reason, row.destroyed_at = State.DESTROYED, Reason.PROVED_GONE, end
    session.flush()


def moved(session: Session, number: int, old: State, new: State, reason: Reason, at: datetime) -> None:
    session.add(
        Transition(
            instance_id=number, at=at, from_state=old, to_state=new, reason=reason, actor="test", detail=""
        )
    )
    session.flush()


def asked(sessions: Sessions, query: str) -> list[Mapping[str, object]]:
    with sessions.read() as session:
        return [dict(line._mapping) for line in session.execute(text(query))]


def write(sessions: Sessions, lives: Sequence[Life]) -> None:
    with sessions.write() as session:
        for table in (DayCost, InstanceTotal, PoolHour, Rate, Transition, Instance):
            session.execute(delete(table))
        for number, life in enumerate(lives, start=1):
            lived(session, number, life)


def an_interval(line: Line, micros: int, begin: int, secs: int) -> Interval:
    begins_at = LONG_AGO + timedelta(seconds=begin)
    return Interval(line, micros, begins_at, begins_at + timedelta(seconds=secs))


INTERVALS = st.lists(
    st.builds(an_interval, st.sampled_from(Line), st.integers(0, 90_000_000), st.integers(0, 200_000),
              st.integers(0, 200_000)),
    max_size=5,
).map(tuple)  # fmt: skip
LIVES = st.lists(
    st.builds(
        Life,
        state=st.sampled_from([State.CREATED, State.VERIFIED, State.DROPPING, State.DESTROYED]),
        intervals=INTERVALS,
        verified=st.booleans(),
        machine=st.integers(1, 4),
        reason=st.sampled_from([Reason.COORDINATOR, Reason.UNVERIFIED, Reason.EXITED]),
        returns=st.integers(0, 1),
    ),
    max_size=5,
)


def seconds(interval: Interval) -> int:
    return int(((interval.ends_at or NOW) - interval.begins_at).total_seconds())


@given(lives=LIVES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_views_agree_with_the_arithmetic_of_python(sessions: Sessions, lives: list[Life]) -> None:
    write(sessions, lives)
    days = Counter[tuple[str, int]]()
    hours: defaultdict[str, int] = defaultdict(int)
    paid, worked = set[tuple[str, int]](), set[tuple[str, int]]()
    for number, life in enumerate(lives, start=1):
        for day, micros in rates.by_day(life.intervals, NOW).items():
            days[str(day), number] += micros
        for interval in life.intervals:
            for hour, since, until in pieces(interval):
                hours[hour] += interval.micros * int((until - since).total_seconds())
                paid.add((hour, number))
                if interval.line is Line.GPU and at_work(life, since, until):
                    worked.add((hour, number))
    told = asked(sessions, "SELECT day, instance_id, micros FROM daily_cost")
    assert {(str(t["day"]), t["instance_id"]): t["micros"] for t in told} == dict(days)
    told = asked(
        sessions, "SELECT micros, paid_seconds, worked_seconds FROM instance_cost ORDER BY instance_id"
    )
    assert [tuple(t.values()) for t in told] == [came_to(life) for life in lives]
    told = asked(sessions, "SELECT machine_id, micros, idle_seconds, worked_seconds FROM machine_record")
    for machine, *sums in (t.values() for t in told):
        each = [came_to(life) for life in lives if life.machine == machine]
        cost, seconds, at = (sum(column) for column in zip(*each, strict=True))
        assert sums == [cost, seconds - at, at]
    told = asked(sessions, "SELECT hour, micros, instances, verified FROM pool_hourly")
    assert {str(t["hour"]): (t["micros"], t["instances"], t["verified"]) for t in told} == {
        hour: (fractions // 3600, *(sum(one == hour for one, _ in found) for found in (paid, worked)))
        for hour, fractions in hours.items()
    }


def pieces(interval: Interval) -> Iterator[tuple[str, datetime, datetime]]:
    """Cut an interval into the hours it lies in."""
    at, end = interval.begins_at, interval.ends_at or NOW
    while at < end:
        hour = at.replace(minute=0, second=0)
        until = min(hour + timedelta(hours=1), end)
        yield f"{hour:%Y-%m-%d %H:%M:%S}", at, until
        at = until


def spent(session: Session, now: datetime) -> int:
    return sum(one.micros for one in spending.report(session, By.DAY, date.min, date.max, now))


def at_work(life: Life, since: datetime, until: datetime) -> int:
    """Return for how many seconds a box was at work in some time; it verifies 100 s after it began."""
    if not life.verified:
        return 0
    begun = min(interval.begins_at for interval in life.intervals)
    end = max(interval.ends_at or begun for interval in life.intervals)
    left = end if life.state in {State.DROPPING, State.DESTROYED} else NOW
    return max(int((min(until, left) - max(since, begun + timedelta(seconds=100))).total_seconds()), 0)


def came_to(life: Life) -> tuple[int, int, int]:
    """Return what a life cost, and its seconds that were paid and that worked."""
    gpus = [i for i in life.intervals if i.line is Line.GPU]
    return (
        rates.cost(life.intervals, NOW),
        sum(seconds(i) for i in life.intervals if i.line is Line.DISK),
        sum(at_work(life, i.begins_at, i.ends_at or NOW) for i in gpus),
    )


def test_what_is_open_costs_until_the_query_in_python_and_sql(sessions: Sessions) -> None:
    open_one = Interval(Line.DISK, 36_000_000_000, LONG_AGO)  # ten dollars a second
    write(sessions, [Life(State.VERIFIED, (open_one,))])
    with sessions.read() as session:
        before = spent(session, datetime.now(UTC))
        views = [
            session.execute(text(f"SELECT SUM(micros) FROM {view}")).scalar_one()
            for view in ("daily_cost", "instance_cost", "pool_hourly", "machine_record")
        ]
        after = spent(session, datetime.now(UTC))
    assert all(before <= told <= after for told in views)


def test_daily_cost_and_the_reports_are_the_same(sessions: Sessions) -> None:
    intervals = (an_interval(Line.GPU, 480_000, 0, 180_000), an_interval(Line.DISK, 20_001, 0, 190_000))
    lives = [
        Life(state, intervals, machine=n) for n, state in enumerate([State.DESTROYED, State.DROPPING], 1)
    ]
    write(sessions, lives)
    first, last = LONG_AGO.date(), LONG_AGO.date() + timedelta(days=9)
    for by, column in ((By.MACHINE, "machine_id"), (By.STATE, "state"), (By.REASON, "reason")):
        with sessions.read() as session:
            report = spending.report(session, by, first, last, datetime.now(UTC))
        told = asked(
            sessions, f"SELECT {column} AS key, SUM(micros) AS micros FROM daily_cost GROUP BY {column}"
        )
        assert {t["key"]: t["micros"] for t in told} == {one.key: one.micros for one in report}


def test_a_machine_has_a_record(sessions: Sessions) -> None:
    hour = (an_interval(Line.DISK, 20_000, 0, 3600), an_interval(Line.GPU, 480_000, 600, 3000))
    short = (an_interval(Line.DISK, 20_000, 0, 1800),)
    write(
        sessions,
        [
            Life(State.DESTROYED, hour, verified=True, machine=7),
            Life(State.DESTROYED, short, machine=7, reason=Reason.UNVERIFIED),
            Life(State.DESTROYED, short, machine=7, reason=Reason.EXITED),
            Life(State.DESTROYED, hour, verified=True, machine=7, reason=Reason.EXITED),
            Life(State.DESTROYED, (), machine=8, reason=Reason.UNVERIFIED),
        ],
    )
    with sessions.write() as session:
        session.execute(text("UPDATE instances SET excused = true WHERE machine_id = 8"))
    seven, eight = asked(sessions, "SELECT * FROM machine_record ORDER BY machine_id")
    assert (seven["host_id"], seven["rentals"], seven["verified"]) == (3, 4, 2)
    assert seven["mean_seconds_to_verify"] == 100
    assert {kind: seven[kind] for kind in Failure} == {
        Failure.NEVER_BOOTED: 1,
        Failure.NEVER_VERIFIED: 1,
        Failure.DIED: 1,
        Failure.SILENT: 0,
        Failure.OFFLINE: 0,
        Failure.GIVEN_UP: 1,
        Failure.IMAGE_PULL: 0,
        Failure.DRIVER_OCI: 0,
        Failure.DISK_FULL: 0,
    }
    assert (seven["worked_seconds"], seven["idle_seconds"]) == (6000, 1200 + 3600)
    assert seven["micros"] == 2 * (20_000 + 400_000) + 2 * 10_000
    assert (eight["rentals"], eight["never_verified"], eight["mean_seconds_to_verify"]) == (1, 0, None)
    assert (seven["excused"], eight["excused"]) == (0, 1)


@pytest.mark.parametrize("state", [State.DROPPING, State.DESTROYED])
def test_a_record_tells_apart_how_boxes_ended_that_had_verified(sessions: Sessions, state: State) -> None:
    reasons = (
        Reason.EXITED,
        Reason.SILENT,
        Reason.OFFLINE,
        Reason.COORDINATOR,
        Reason.FORGOTTEN,
        Reason.VANISHED,
        Reason.OPERATOR,
        Reason.SURPLUS,
        Reason.BUDGET,
    )
    write(sessions, [Life(state, (), verified=True, reason=reason) for reason in reasons])
    (told,) = asked(sessions, "SELECT * FROM machine_record")
    names = (*Failure, "vanished", "dropped_by_operator", "dropped_for_cost", "excused")
    assert {name: told[name] for name in names if told[name]} == {
        "died": 1,
        "silent": 1,
        "offline": 1,
        "given_up": 2,
        "vanished": 1,
        "dropped_by_operator": 1,
        "dropped_for_cost": 2,
    }


def test_an_adopted_box_is_no_rental_and_nobody_saw_it_boot(sessions: Sessions) -> None:
    lives = [Life(State.DESTROYED, (), verified=True, adopted=True, reason=Reason.EXITED)] * 2
    write(sessions, [*lives, Life(State.VERIFIED, (), verified=True, adopted=True, reason=Reason.CALLED)])
    (told,) = asked(sessions, "SELECT * FROM machine_record")
    assert (told["rentals"], told["adopted"], told["verified"]) == (0, 3, 0)
    assert (told["died"], told["mean_seconds_to_verify"]) == (2, None)


def test_the_record_and_the_reputation_hold_the_same_against_machines(sessions: Sessions) -> None:
    bad = [Life(State.DESTROYED, (), machine=m, reason=Reason.UNVERIFIED, template="bad") for m in (1, 2, 3)]
    good = [
        Life(State.DESTROYED, (), verified=True, machine=1, reason=Reason.SILENT, template="good"),
        Life(State.VERIFIED, (), verified=True, machine=2, reason=Reason.CALLED, template="good"),
    ]
    good += [
        Life(State.DESTROYED, (), machine=m, reason=Reason.UNVERIFIED, template="good") for m in (1, 2, 3, 3)
    ]
    rare = [Life(State.DESTROYED, (), machine=m, reason=Reason.EXITED, template="rare") for m in (1, 2, 2)]
    write(sessions, [*bad, *good, *rare, Life(State.DESTROYED, (), reason=Reason.EXITED)])
    with sessions.write() as session:
        session.execute(text("UPDATE instances SET excused = true WHERE failure = 'silent'"))
    assert held_against(sessions, excused={1: 2, 2: 1, 3: 1}) == {
        1: {"never_verified": 1, "never_booted": 2},
        2: {"never_verified": 1, "never_booted": 2},
        3: {"never_verified": 2},
    }
    write(sessions, [*bad, replace(good[1], template="bad")])
    assert held_against(sessions, excused={1: 0, 2: 0, 3: 0}) == {m: {"never_verified": 1} for m in (1, 2, 3)}


def held_against(sessions: Sessions, excused: Mapping[int, int]) -> dict[int, dict[str, int]]:
    """Return the failures of each machine as the view tells them, when the loop counts the same."""
    names = ("machine_id", "verified", "excused", *Failure)
    with sessions.read() as session:
        rentals = rental_history.rentals(session, LONG_AGO)
        told = session.execute(text(f"SELECT {', '.join(names)} FROM machine_record")).all()
    known = reputation(rentals, LONG_AGO)
    found: dict[int, dict[str, int]] = {}
    for machine, verified, held_against_nobody, *counts in told:
        record = {kind: count for kind, count in zip(Failure, counts, strict=True) if count}
        mine = [rental.failure for rental in rentals if rental.machine_id == machine]
        assert record == Counter(kind for kind in mine if kind is not None)
        assert held_against_nobody == excused[machine]
        tally, unverified = known.machines.get(machine, NONE), sum(record.get(k, 0) for k in BOOT_FAILURES)
        assert (tally.verified, tally.tried) == (verified, verified + unverified)
        found[machine] = {kind.value: count for kind, count in record.items()}
    return found


def test_an_hour_of_the_pool_counts_the_paid_and_those_at_work(sessions: Sessions) -> None:
    whole = (an_interval(Line.DISK, 36_000, 0, 7200), an_interval(Line.GPU, 360_000, 0, 3600))
    write(sessions, [Life(State.DESTROYED, whole, verified=True), Life(State.CREATED, whole)])
    told = asked(sessions, "SELECT hour, instances, verified, micros FROM pool_hourly ORDER BY hour")
    assert [(str(t["hour"]), t["instances"], t["verified"], t["micros"]) for t in told] == [
        ("2026-03-01 22:00:00", 2, 1, 2 * (17_700 + 177_000)),
        ("2026-03-01 23:00:00", 2, 1, 2 * (36_000 + 183_000)),
        ("2026-03-02 00:00:00", 2, 0, 2 * 18_300),
    ]


def test_there_are_queries_to_learn_from() -> None:
    assert list(QUERIES) == list(ANSWERS)


HOUR = Interval(Line.DISK, 20_000, LONG_AGO, LONG_AGO + timedelta(hours=1))
ANSWERS: dict[str, list[dict[str, object]]] = {
    "This month, by GPU": [{"gpu_name": "RTX 4090", "instances": 1, "usd": 0.5}],
    "The ten worst machines": [
        {"machine_id": 2, "verified": 0, "never_verified": 2, "idle_hours": 2.0, "usd": 0.04},
        {"machine_id": 1, "verified": 1, "never_verified": 0, "idle_hours": 0.0, "usd": 0.5},
    ],
    "What boxes cost that never verified": [{"reason": "unverified", "instances": 2, "usd": 0.04}],
    "The cost of a verified hour, by host": [
        {"host_id": 0, "verified_hours": 1.0, "usd_per_verified_hour": 0.5144},
        {"host_id": 1, "verified_hours": 0.0, "usd_per_verified_hour": None},
    ],
    "This month's traffic, by host": [{"host_id": 0, "usd": 0.5, "traffic_usd": 0.0}],
    "The last day, hour by hour": [{"instances": 1, "verified": 1}],
}
"""What the first lines say, as far as a test can know: by the query."""


@pytest.mark.parametrize("what", ANSWERS)
def test_the_queries_of_the_manual_answer_rightly(sessions: Sessions, what: str) -> None:
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    begun = max(this_hour.replace(day=1, hour=0), this_hour - timedelta(hours=1))
    both = tuple(
        Interval(line, micros, begun, begun + timedelta(hours=1))
        for line, micros in ((Line.GPU, 480_000), (Line.DISK, 20_000))
    )
    failed = Life(State.DESTROYED, (HOUR,), machine=2, reason=Reason.UNVERIFIED)
    write(sessions, [Life(State.DROPPING, both, verified=True), failed, failed])
    told = asked(sessions, QUERIES[what])
    expected = ANSWERS[what]
    assert len(told) >= len(expected)
    for line, wanted in zip(told, expected, strict=False):
        known = {name: line[name] if line[name] is None else number(line[name]) for name in wanted}
        assert known == pytest.approx(wanted, abs=0.001)


def number(value: object) -> object:
    """Return a number as Python compares it: PostgreSQL answers with exact decimals."""
    return float(value) if isinstance(value, Decimal) else value
