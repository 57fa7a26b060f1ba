"""What a budget reckons with: what was spent, what nobody has seen yet, and what is still to come."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from sqlalchemy.orm import Session

from magister.domain.actions import Adopt, Rent, Send
from magister.domain.instance import Held
from magister.domain.observed import Adoptable, Listing, Order
from magister.errors import NotSent, Stale
from magister.money import Budget, Outlay, cost
from magister.planner.decision_record import Decision
from magister.states import Reason, State
from magister.store import instances, observations, pool, transitions
from magister.store.accounting import spending
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder
from tests.builders import NOW, a_fleet, a_row, a_sighting, a_view, an_offer
from tests.controller import Controller

USD = 1_000_000
PRICE, DISK = 500_000, 20_000


def after(**span: float) -> datetime:
    return NOW + timedelta(**span)


def outlay(sessions: Sessions, now: datetime) -> Outlay:
    with sessions.read() as session:
        return spending.outlay(session, now)


def listed(sessions: Sessions, at: datetime, row: Held, status: str | None) -> None:
    box = a_sighting(row.contract_id or 0, actual_status=status, price=PRICE, disk_price=DISK)
    with sessions.write() as session:
        observations.note_listing(session, Listing(at, (box,)), fleet=a_fleet())


def conditions(sessions: Sessions) -> list[tuple[str, str]]:
    with sessions.read() as session:
        return [(one.what, one.cure) for one in pool.read(session).conditions if one.kind == "budget"]


def test_of_two_that_reserve_at_once_with_room_for_one_exactly_one_rents(sessions: Sessions) -> None:
    fleet = a_fleet(target=2, budget=Budget(per_hour=PRICE))
    loops = [Controller(sessions, fleet=fleet).worker._executor.renter for _ in range(2)]
    offers = [an_offer(price=PRICE) for _ in loops]
    view = a_view(offers=tuple(offers))
    rivals = [threading.Event(), threading.Event()]

    def reserve(number: int) -> Send | None:
        """Reserve; before the intent is written, wait until the rival is done or must wait for us."""
        try:
            return loops[number].intend(Rent(offers[number], "short"), Decision(fleet, (), view, NOW))
        except Stale:
            return None
        finally:
            rivals[number].set()

    open_row, first = transitions.open_row, threading.Lock()

    def in_no_hurry(*args: object, **words: object) -> Held:
        if first.acquire(
            blocking=False
        ):  # the one that gets here first gives the other all the time it needs
            any(rival.wait(0.5) for rival in rivals)
        return open_row(*args, **words)  # type: ignore[arg-type] # as it was called

    with (
        patch.object(LeaseHolder, "require", lambda *args: 1),  # the lease does not keep them apart
        patch("magister.control.launcher.transitions.open_row", in_no_hurry),
        ThreadPoolExecutor(2) as threads,
    ):
        sent = [one for one in threads.map(reserve, range(2)) if one is not None]
    assert len(sent) == len(Controller(sessions).rows()) == 1


def test_an_intent_is_not_sent_any_more_once_lower_caps_leave_no_room_for_it(sessions: Sessions) -> None:
    loop = Controller(sessions, fleet=a_fleet(target=1))
    loop.vast.stock([an_offer(price=USD)])
    loop.vast.before("create", NotSent())
    loop.step()
    assert loop.row(1).unsent
    loop.restart(budget=Budget(per_hour=USD - 1))
    loop.run(30)
    assert len(loop.vast.named("create")) == 1
    assert loop.story(1)[1] == (State.DROPPING, Reason.BUDGET)


def test_an_intent_that_was_given_up_unsent_keeps_nothing_else_from_being_rented(sessions: Sessions) -> None:
    loop = Controller(sessions, fleet=a_fleet(target=1, budget=Budget(per_hour=USD)))
    with sessions.write() as session:
        a_row(session, state=State.REQUESTED, offer=an_offer(price=2 * USD), at=loop.clock.now, sent=False)
    loop.vast.stock([an_offer(price=USD)])
    loop.run(10)
    assert loop.story(1)[1] == (State.DESTROYED, Reason.BUDGET)
    assert loop.row(2).state is State.CREATED


def test_a_send_without_an_answer_costs_from_the_moment_it_was_sent(sessions: Sessions) -> None:
    with sessions.write() as session:
        a_row(session, state=State.REQUESTED, offer=an_offer(price=PRICE))
        a_row(session, state=State.REQUESTED, sent=False)
    assert outlay(sessions, after(hours=1)).total == PRICE


def test_a_box_that_was_seen_loading_may_run_since(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(
            session, state=State.CREATED, offer=an_offer(price=PRICE, disk_price=DISK), contract_id=9001
        )
        transitions.learn(session, row, created_at=NOW)
    listed(sessions, after(minutes=30), row, "loading")
    assert outlay(sessions, after(minutes=90)).total == DISK // 2 + PRICE
    with sessions.read() as session:
        assert spending.costs_of(session, (row.id,), after(minutes=90))[row.id] == DISK * 3 // 2


@pytest.mark.parametrize("status", [None, "unknown", "a-new-word"])
def test_an_instance_whose_status_never_tells_counts_from_its_creation(
    sessions: Sessions, status: str | None
) -> None:
    with sessions.write() as session:
        row = a_row(
            session, state=State.CREATED, offer=an_offer(price=PRICE, disk_price=DISK), contract_id=9001
        )
        transitions.learn(session, row, created_at=NOW)
    for minutes in (15, 30, 45):
        listed(sessions, after(minutes=minutes), row, status)
    assert outlay(sessions, after(hours=1)).total == PRICE
    listed(sessions, after(hours=1), row, "running")
    assert outlay(sessions, after(hours=1)).total == PRICE, "and so it stays once a status tells"
    listed(sessions, after(hours=2), row, "exited")
    listed(sessions, after(hours=3), row, status)
    assert outlay(sessions, after(hours=4)).total == 4 * PRICE, "it may have run again since it stopped"


def test_instances_whose_status_never_tells_pass_no_cap(sqlite_sessions: Sessions) -> None:
    loop = Controller(sqlite_sessions, fleet=a_fleet(target=2, budget=Budget(total=2 * USD)))
    loop.vast.stock(an_offer(price=PRICE, disk_price=DISK) for _ in range(20))
    loop.vast.status, billed = None, 0
    for _ in range(6 * 60):
        loop.step(60)
        loop.verify_all()
        billed += len(loop.vast.boxes) * PRICE // 60
    assert USD < billed <= 2 * USD


def test_a_box_that_is_to_go_costs_until_it_is_proved_gone(sessions: Sessions) -> None:
    loop = Controller(sessions, fleet=a_fleet(target=1, budget=Budget(total=100 * USD)))
    loop.vast.stock([an_offer(price=PRICE, disk_price=DISK)])
    loop.filled().drop(loop.row(1))
    loop.vast.destroy = lambda contract_id: None  # type: ignore[method-assign] # Vast says yes and does nothing
    before = outlay(sessions, loop.clock.now).total
    loop.run(3600, every=300)
    assert loop.row(1).state is State.DROPPING
    assert outlay(sessions, loop.clock.now).total - before == PRICE


@contextmanager
def renting_with(sessions: Sessions, *, traffic_gb: float) -> Iterator[Controller]:
    """Give a pool of one whose offers ask two tenths of a cent for a GB."""
    fleet = a_fleet(target=1, budget=Budget(total=100 * USD, traffic_gb=traffic_gb))
    loop = Controller(sessions, fleet=fleet)
    loop.vast.stock(an_offer(price=0, disk_price=0, inet_down_cost=2_000) for _ in range(5))
    yield loop


def test_what_is_set_aside_for_traffic_stays_so_as_long_as_there_was_the_box(sessions: Sessions) -> None:
    with renting_with(sessions, traffic_gb=50) as loop:
        loop.filled()
        assert outlay(sessions, loop.clock.now) == Outlay(100_000, 100_000, 100_000)
        loop.drop(loop.row(1))
        loop.run(60)
        assert loop.row(1).state is State.DESTROYED
        assert outlay(sessions, loop.clock.now) == Outlay(200_000, 200_000, 200_000), "two boxes were there"
        month_later = loop.clock.now + timedelta(days=31)
        assert outlay(sessions, month_later) == Outlay(100_000, 100_000, 200_000), "one of them still is"


def test_nothing_is_set_aside_for_a_box_that_never_was(sessions: Sessions) -> None:
    with renting_with(sessions, traffic_gb=50) as loop:
        loop.vast.before("create", NotSent())
        loop.step()
        assert outlay(sessions, loop.clock.now).total == 100_000
        with sessions.write() as session:
            transitions.move(
                session, loop.row(1), State.DESTROYED, Reason.REFUSED, actor="test", why="", at=loop.clock.now
            )
        assert outlay(sessions, loop.clock.now).total == 0


@pytest.mark.parametrize(
    ("ends", "day", "month"),
    [(datetime(2026, 11, 25, tzinfo=UTC), 1, 3), (datetime(2026, 12, 1, tzinfo=UTC), 1, 1)],
)
def test_a_box_costs_each_day_and_month_only_what_falls_into_it(
    sessions: Sessions, ends: datetime, day: int, month: int
) -> None:
    with sessions.write() as session:
        _running_since(session, ends - timedelta(hours=2))
    found = outlay(sessions, ends + timedelta(hours=1))
    assert found == Outlay(day=day * PRICE, month=month * PRICE, total=3 * PRICE)
    assert outlay(sessions, ends).day == 0


def _running_since(session: Session, at: datetime, contract: int = 9001) -> None:
    box = a_sighting(
        contract, actual_status="running", price=PRICE, disk_price=DISK, start_date=at, machine_id=7
    )
    found = Adopt(Adoptable(box, 1, None), State.VERIFIED, Reason.ADOPTED, "it is ours")
    transitions.adopt(session, found, fleet=a_fleet(), at=at)


def test_boxes_that_are_found_count_from_the_day_vast_made_them(sessions: Sessions) -> None:
    loop = Controller(sessions, fleet=a_fleet(target=1, budget=Budget(total=USD)))
    made = loop.clock.now - timedelta(hours=10)
    loop.vast.stock([an_offer(price=PRICE, disk_price=DISK)])
    contract = loop.vast.create(1, Order(template_hash="hash", label="x", disk=16, onstart=""))
    loop.vast.change(contract, start_date=made, price=PRICE, disk_price=DISK)
    with sessions.write() as session:
        _running_since(session, made, contract)
    assert outlay(sessions, loop.clock.now).total == 10 * PRICE
    loop.run(60)
    assert loop.story(1)[1] == (State.DROPPING, Reason.BUDGET)


def test_a_budget_that_is_too_small_for_any_box_rents_nothing_and_says_what_would_do(
    sqlite_sessions: Sessions,
) -> None:
    loop = Controller(sqlite_sessions, fleet=a_fleet(target=1, budget=Budget(per_day=USD)))
    loop.vast.stock([an_offer(price=USD)])
    loop.run(86_400, every=7200)
    assert loop.rows() == []
    ((_, cure),) = conditions(sqlite_sessions)
    whole = cost(USD, timedelta(hours=1, seconds=1680))
    assert cure == (
        f"set budget.usd_per_day to {whole / USD + 0.005:.2f} or more and reload, or lower "
        "vast_query.cost_per_hour: not even a new day has room for it"
    )


def test_a_price_that_rises_across_a_midnight_is_paid_by_the_right_day(sessions: Sessions) -> None:
    midnight = datetime(2026, 11, 25, tzinfo=UTC)
    with sessions.write() as session:
        _running_since(session, midnight - timedelta(hours=1))
        row = instances.held(session)[0]
    listed(sessions, midnight - timedelta(seconds=30), row, "running")
    with sessions.write() as session:
        dearer = a_sighting(9001, actual_status="running", price=3 * PRICE, disk_price=DISK)
        observations.note_listing(
            session, Listing(midnight + timedelta(minutes=30), (dearer,)), fleet=a_fleet()
        )
    found = outlay(sessions, midnight + timedelta(hours=1))
    assert found.day == PRICE // 2 + 3 * PRICE // 2
    assert found.total == found.day + PRICE


def given_up_for_money(sessions: Sessions, budget: Budget, *, at: datetime = NOW) -> Controller:
    """Return a pool of two which a lower budget has shrunk at a moment; it ran for four hours before."""
    loop = Controller(sessions, fleet=a_fleet(target=2))
    loop.clock.now = at - timedelta(hours=4)
    loop.vast.stock(an_offer(price=PRICE) for _ in range(20))
    loop.filled().run(4 * 3600, every=1800)
    assert len(loop.vast.boxes) == 2
    loop.restart(budget=budget)
    loop.run(30, every=10)
    assert Reason.BUDGET in {reason for row in loop.rows() for _, reason in loop.story(row.id)}
    return loop


@pytest.mark.parametrize(
    ("budget", "raised"),
    [
        (Budget(per_hour=PRICE), Budget(per_hour=2 * PRICE)),
        (Budget(per_day=2 * USD), Budget(per_day=20 * USD)),
        (Budget(total=2 * USD), Budget(total=20 * USD)),
        (Budget(total=2 * USD), Budget(per_month=20 * USD)),
    ],
)
def test_a_cap_that_is_raised_lets_renting_go_on_at_once(
    sessions: Sessions, budget: Budget, raised: Budget
) -> None:
    loop = given_up_for_money(sessions, budget)
    loop.restart()
    loop.run(60, every=30)
    assert len(loop.vast.boxes) < 2, "a restart alone changes nothing"
    loop.restart(budget=raised)
    loop.run(30, every=10)
    assert len(loop.vast.boxes) == 2


@pytest.mark.parametrize(
    ("hour", "budget"), [(24, Budget(per_day=2 * USD)), (24 * 7, Budget(per_month=2 * USD))]
)
def test_a_cap_of_a_day_or_month_lets_renting_go_on_with_the_next(
    sessions: Sessions, hour: int, budget: Budget
) -> None:
    midnight = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=hour)
    loop = given_up_for_money(sessions, budget, at=midnight - timedelta(minutes=10))
    loop.run(8 * 60, every=60)
    assert len(loop.vast.boxes) == 0
    loop.restart()
    loop.run(180, every=60)
    assert len(loop.vast.boxes) == 2
