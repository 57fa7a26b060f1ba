"""What instances cost as the ledger hears of it: through moves and sightings, into days, and back."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from magister.domain import cost as rates
from magister.domain.actions import Adopt
from magister.domain.instance import Held, Learned
from magister.domain.observed import Adoptable, Listing, Sighting
from magister.states import Reason, State
from magister.store import cost_ledger, instances, observations, transitions
from magister.store.accounting import spending
from magister.store.accounting.spending import By, Spent
from magister.store.db.engine import Sessions
from magister.store.db.models_accounting import DayCost, PoolHour
from tests.builders import NOW, a_fleet, a_row, a_sighting, an_offer

FLEET = a_fleet()
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
GPU, DISK = 480_000, 20_000


def after(**span: float) -> datetime:
    return NOW + timedelta(**span)


def listed(sessions: Sessions, at: datetime, *boxes: Sighting) -> None:
    with sessions.write() as session:
        observations.note_listing(session, Listing(at, boxes), fleet=FLEET)


def moved(sessions: Sessions, number: int, to: State, reason: Reason, at: datetime) -> None:
    with sessions.write() as session:
        row = found(session, number)
        transitions.move(session, row, to, reason, actor="test", why="a test", at=at)


def found(session: Session, number: int) -> Held:
    row = instances.one(session, number)
    assert row is not None
    return row


def rented(sessions: Sessions, at: datetime = NOW, **offer: object) -> Held:
    """Write a row that Vast has answered with a contract, and that no listing has shown yet."""
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, offer=an_offer(**offer), at=at)
        transitions.learn(session, row, **Learned(contract_id=9000 + row.id, unanswered=0, created_at=at))
        transitions.move(
            session, found(session, row.id), State.CREATED, Reason.RENTED, actor="test", why="x", at=at
        )
        return found(session, row.id)


def running(row: Held, status: str = "running", price: int = 500_000) -> Sighting:
    return a_sighting(row.contract_id or 0, actual_status=status, price=price, disk_price=DISK)


def cost(sessions: Sessions, row: Held, now: datetime) -> int:
    with sessions.read() as session:
        return spending.costs_of(session, (row.id,), now)[row.id]


def spent(sessions: Sessions, begin: datetime | None, now: datetime) -> int:
    first = date.min if begin is None else rates.day_of(begin)
    with sessions.read() as session:
        told = spending.report(session, By.DAY, first, date.max, now)
    return sum(one.micros for one in told)


def test_an_intent_costs_nothing(sessions: Sessions) -> None:
    with sessions.write() as session:
        a_row(session, state=State.REQUESTED)
    assert spent(sessions, None, after(hours=1)) == 0


def test_a_rented_box_costs_its_disk_before_any_listing_shows_it(sessions: Sessions) -> None:
    row = rented(sessions)
    assert cost(sessions, row, after(hours=1)) == DISK


def test_a_running_box_costs_gpu_and_disk_to_this_moment(sessions: Sessions) -> None:
    row = rented(sessions)
    listed(sessions, after(minutes=1), running(row, "loading"))
    listed(sessions, after(minutes=2), running(row))
    assert cost(sessions, row, after(hours=1, minutes=1)) == GPU + (DISK * 61) // 60


def test_a_price_change_counts_from_the_listing_that_shows_it(sessions: Sessions) -> None:
    row = rented(sessions)
    listed(sessions, after(seconds=30), running(row))
    listed(sessions, after(hours=1), running(row, price=980_000))
    assert cost(sessions, row, after(hours=2)) == 500_000 + 980_000


def test_an_offline_host_costs_nothing_meanwhile(sessions: Sessions) -> None:
    row = rented(sessions)
    listed(sessions, after(hours=1), running(row))
    listed(sessions, after(hours=2), running(row, "offline"))
    listed(sessions, after(hours=5), running(row, "offline"))
    listed(sessions, after(hours=6), running(row))
    assert cost(sessions, row, after(hours=7)) == 4 * 500_000


def test_a_stopped_box_costs_its_disk(sessions: Sessions) -> None:
    row = rented(sessions)
    listed(sessions, after(seconds=30), running(row))
    listed(sessions, after(hours=1), running(row, "exited"))
    assert cost(sessions, row, after(hours=3)) == 500_000 + 2 * DISK


def ended(sessions: Sessions, row: Held, at: datetime, *, lacking: datetime) -> None:
    """Drop a row and prove it gone."""
    moved(sessions, row.id, State.DROPPING, Reason.COORDINATOR, at)
    with sessions.write() as session:
        transitions.learn(session, found(session, row.id), absent_since=lacking, absences=2)
    moved(sessions, row.id, State.DESTROYED, Reason.PROVED_GONE, at + timedelta(minutes=5))


def test_a_gone_box_is_settled_by_the_day_under_the_reason_it_left_the_pool_for(sessions: Sessions) -> None:
    row = rented(sessions, machine_id=4, host_id=5, gpu_name="RTX 5090")
    listed(sessions, after(seconds=30), running(row))
    ended(sessions, row, after(hours=12, minutes=59), lacking=after(hours=13))
    with sessions.read() as session:
        days = [
            (d.day, d.micros, d.machine_id, d.host_id, d.gpu_name, d.reason)
            for d in session.scalars(select(DayCost).order_by(DayCost.day))
        ]
    known = (4, 5, "RTX 5090", "coordinator")
    assert days == [(date(2026, 11, 24), 6_000_000, *known), (date(2026, 11, 25), 500_000, *known)]
    assert cost(sessions, row, after(days=3)) == 6_500_000


def test_a_box_that_reappears_is_not_done_costing(sessions: Sessions) -> None:
    row = rented(sessions)
    listed(sessions, after(seconds=30), running(row))
    ended(sessions, row, after(minutes=59), lacking=after(hours=1))
    listed(sessions, after(hours=2), running(row))
    moved(sessions, row.id, State.DROPPING, Reason.REAPPEARED, after(hours=2))
    with sessions.read() as session:
        assert session.scalars(select(DayCost)).all() == []
    assert cost(sessions, row, after(hours=3)) == spent(sessions, None, after(hours=3)) == 3 * 500_000


def test_a_row_that_reappears_is_settled_anew(sessions: Sessions) -> None:
    row = rented(sessions)
    ended(sessions, row, after(minutes=59), lacking=after(hours=1))
    listed(sessions, after(hours=2), running(row, "exited"))
    moved(sessions, row.id, State.DROPPING, Reason.REAPPEARED, after(hours=2))
    with sessions.write() as session:
        transitions.learn(session, found(session, row.id), absent_since=after(hours=4), absences=2)
    moved(sessions, row.id, State.DESTROYED, Reason.PROVED_GONE, after(hours=5))
    assert spent(sessions, None, after(days=1)) == 4 * DISK


def test_a_contract_named_while_a_listing_found_it_opens_its_account_once(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED)
        box = a_sighting(77, label=f"magister:{row.key}", price=500_000, disk_price=DISK)
        observations.note_listing(session, Listing(after(seconds=1), (box,)), fleet=FLEET)
        transitions.learn(session, row, **Learned(contract_id=77, created_at=after(seconds=2)))
        assert len(cost_ledger.intervals(session, [row.id])[row.id]) == 2


def test_an_adopted_box_costs_from_the_day_it_was_made(sessions: Sessions) -> None:
    box = a_sighting(77, price=500_000, disk_price=DISK, start_date=MIDNIGHT)
    adopt = Adopt(Adoptable(box, 5, None), State.VERIFIED, Reason.ADOPTED, "ours")
    with sessions.write() as session:
        row = transitions.adopt(session, adopt, fleet=FLEET, at=NOW)
    assert row is not None
    assert cost(sessions, row, after(hours=1)) == 13 * 500_000


def test_a_clock_set_back_leaves_no_interval_in_the_future(sessions: Sessions) -> None:
    row = rented(sessions)
    listed(sessions, after(hours=5), running(row))
    listed(sessions, after(hours=6), running(row, "exited"))
    with sessions.write() as session:
        transitions.turn_back(session, to=after(hours=1), fleet=FLEET)
    assert cost(sessions, row, after(hours=1)) == 500_000


@pytest.fixture
def past(sessions: Sessions) -> Sessions:
    """Keep two boxes that are gone, one on its way out and one at work; at after(hours=13)."""
    first = rented(sessions, machine_id=1, host_id=8, gpu_name="RTX 4090")
    second = rented(sessions, machine_id=2, host_id=8, gpu_name="RTX 5090")
    third = rented(sessions, machine_id=1, host_id=8, gpu_name="RTX 4090")
    fourth = rented(sessions, machine_id=3, host_id=9, gpu_name="RTX 4090")
    boxes = [running(row) for row in (first, second, third, fourth)]
    listed(sessions, after(seconds=30), *boxes)
    ended(sessions, first, after(minutes=59), lacking=after(hours=1))
    moved(sessions, second.id, State.DROPPING, Reason.UNVERIFIED, after(hours=1))
    with sessions.write() as session:
        transitions.learn(session, found(session, second.id), absent_since=after(hours=2), absences=2)
    moved(sessions, second.id, State.DESTROYED, Reason.PROVED_GONE, after(hours=2))
    moved(sessions, third.id, State.DROPPING, Reason.OPERATOR, after(hours=3))
    return sessions


@pytest.mark.parametrize(
    ("by", "sums"),
    [
        (By.DAY, [(date(2026, 11, 24), 13_500_000), (date(2026, 11, 25), 1_000_000)]),
        (By.MACHINE, [(1, 7_000_000), (3, 6_500_000), (2, 1_000_000)]),
        (By.HOST, [(8, 8_000_000), (9, 6_500_000)]),
        (By.GPU, [("RTX 4090", 13_500_000), ("RTX 5090", 1_000_000)]),
        (By.REASON, [(None, 6_500_000), ("operator", 6_500_000), ("unverified", 1_000_000),
                     ("coordinator", 500_000)]),
        (By.STATE, [("created", 6_500_000), ("dropping", 6_500_000), ("destroyed", 1_500_000)]),
    ],
)  # fmt: skip
def test_spending_is_told_apart(past: Sessions, by: By, sums: list[tuple[spending.Key, int]]) -> None:
    with past.read() as session:
        told = spending.report(session, by, date(2026, 11, 24), date(2026, 11, 25), after(hours=13))
    assert list(told) == [Spent(key, micros) for key, micros in sums]


def test_days_outside_the_range_are_left_out(past: Sessions) -> None:
    day = date(2026, 11, 25)
    with past.read() as session:
        told = spending.report(session, By.MACHINE, day, day, after(hours=13))
    assert told == (Spent(1, 500_000), Spent(3, 500_000))


def test_what_was_spent_counts_from_the_beginning_of_the_day(past: Sessions) -> None:
    now = after(hours=13)
    assert spent(past, None, now) == spent(past, MIDNIGHT, now) == spent(past, NOW, now) == 14_500_000
    assert spent(past, MIDNIGHT + timedelta(days=1), now) == 1_000_000
    assert spent(past, MIDNIGHT + timedelta(days=2), now) == 0


def test_the_hours_of_a_row_that_reappears_are_taken_back_as_they_were_written(sessions: Sessions) -> None:
    """Two listings show it, and its GPUs stop, before the move is made: what they add was never written."""
    row = rented(sessions)
    moved(sessions, row.id, State.VERIFIED, Reason.CALLED, after(minutes=5))
    for minutes in (10, 100):
        listed(sessions, after(minutes=minutes), running(row))
    listed(sessions, after(minutes=130))
    moved(sessions, row.id, State.DESTROYED, Reason.VANISHED, after(minutes=190))
    written = hours(sessions)
    assert len(written) == 3, "or this would prove nothing"
    listed(sessions, after(minutes=200), running(row))
    listed(sessions, after(minutes=201), running(row, status="exited"))
    assert hours(sessions) == written
    moved(sessions, row.id, State.DROPPING, Reason.REAPPEARED, after(minutes=202))
    assert hours(sessions) == {}
    listed(sessions, after(minutes=203))
    moved(sessions, row.id, State.DESTROYED, Reason.PROVED_GONE, after(minutes=204))
    assert sum(fractions for _, fractions in hours(sessions).values()) // 3600 == cost(
        sessions, row, after(days=1)
    )


def hours(sessions: Sessions) -> dict[int, tuple[int, int]]:
    """Return how many settled instances were paid in each hour of the pool, and for what."""
    with sessions.read() as session:
        stored = session.scalars(select(PoolHour))
        found = {one.hour: (one.instances, one.fractions) for one in stored}
    return {hour: sums for hour, sums in found.items() if sums != (0, 0)}
