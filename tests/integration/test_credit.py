"""When the credit is spent Vast stops every box: nothing is blamed or churned, and a payment heals it."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from magister.errors import Ambiguous, NoCredit, Transient
from magister.states import Reason, State
from magister.store import pool as pool_row
from magister.store import transitions
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from tests.builders import a_fleet, an_offer
from tests.controller import Controller

TARGET = 6


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """Return a pool at its target, with as many offers beside."""
    found = Controller(sessions, fleet=a_fleet(target=TARGET))
    found.vast.stock(an_offer() for _ in range(3 * TARGET))
    return found.filled()


def spend_all(pool: Controller) -> None:
    """Let Vast stop every box, as it does at zero."""
    pool.vast.credit = 0
    pool.vast.before("create", *[NoCredit() for _ in range(100)])
    for contract in pool.vast.boxes:
        pool.vast.change(contract, actual_status="exited", intended_status="stopped", cur_state="stopped")


def blamed(pool: Controller) -> list[int]:
    """Return the instances whose failure counts against their machines."""
    with pool.sessions.read() as session:
        return list(
            session.scalars(
                select(Instance.id).where(Instance.failure.is_not(None), Instance.excused.is_(False))
            )
        )


def test_without_credit_nothing_is_given_up_or_rented_and_the_state_says_why(pool: Controller) -> None:
    spend_all(pool)
    pool.step(pool.fleet.account_every.total_seconds())
    before = len(pool.vast.created)
    pool.run(3600, every=60)
    assert len(pool.rows(State.VERIFIED)) == TARGET
    assert (len(pool.vast.created), pool.vast.named("destroy")) == (before, [])
    with pool.sessions.read() as session:
        said = [condition.what for condition in pool_row.read(session).conditions]
    assert any("credit" in what for what in said)


def test_stops_that_are_seen_before_the_credit_is_known_wait_and_are_not_believed(pool: Controller) -> None:
    spend_all(pool)
    pool.run(60, every=5)
    assert len(pool.rows(State.VERIFIED)) == TARGET
    assert pool.vast.named("destroy") == []


def test_after_a_payment_the_stopped_boxes_are_replaced_and_nothing_is_blamed(pool: Controller) -> None:
    spend_all(pool)
    pool.run(900, every=20)
    pool.vast.credit = 50_000_000
    pool.vast.before_nothing()
    for _ in range(75):
        pool.step(20)
        pool.verify_all()
    assert len(pool.rows(State.VERIFIED)) == TARGET
    assert {box.actual_status for box in pool.vast.boxes.values()} == {"running"}
    assert len(pool.vast.boxes) == TARGET
    assert blamed(pool) == []


def test_boxes_that_stop_before_their_workers_could_call_are_neither_given_up_nor_blamed(
    sqlite_sessions: Sessions,
) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=TARGET))
    pool.vast.stock(an_offer() for _ in range(3 * TARGET))
    pool.step()
    pool.step(5)
    assert len(pool.rows(State.CREATED)) == TARGET
    spend_all(pool)
    pool.run(3600, every=30)
    assert (len(pool.rows(State.CREATED)), pool.vast.named("destroy")) == (TARGET, [])
    pool.vast.credit = 50_000_000
    pool.vast.before_nothing()
    for _ in range(60):
        pool.step(20)
        pool.verify_all()
    assert len(pool.rows(State.VERIFIED)) == len(pool.vast.boxes) == TARGET
    assert {reason for row in pool.rows(State.DESTROYED) for _, reason in pool.story(row.id)} >= {
        Reason.EXITED
    }
    assert blamed(pool) == []


@pytest.mark.parametrize("target", [1, 2, 4])
def test_a_stop_soon_after_a_look_at_the_account_destroys_nothing(
    sqlite_sessions: Sessions, target: int
) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=target))
    pool.vast.stock(an_offer() for _ in range(3 * target))
    pool.filled()
    before = len(pool.vast.named("account"))
    spend_all(pool)
    pool.run(240, every=10)
    assert pool.vast.named("destroy") == []
    assert len(pool.vast.named("account")) == before + 1, "asked once, at once"
    assert len(pool.rows(State.VERIFIED)) == target


def test_a_silence_that_lack_of_credit_explains_destroys_nothing(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(3))
    pool.filled()
    with pool.sessions.write() as session:
        transitions.learn(session, pool.rows()[0], beaten_at=pool.clock.now, beat_secs=60)
    spend_all(pool)
    for _ in range(40):
        with pool.sessions.write() as session:
            pool_row.note_hearing(session, pool.clock.now)
        pool.step(20)
    assert pool.vast.named("destroy") == []


def test_a_stop_with_credit_is_acted_on_as_soon_as_the_account_has_answered(
    sqlite_sessions: Sessions,
) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=2))
    pool.vast.stock(an_offer() for _ in range(6))
    pool.filled()
    pool.vast.change(pool.rows()[0].contract_id or 0, actual_status="exited")
    pool.run(40)
    assert pool.row(1).reason in {Reason.EXITED, Reason.PROVED_GONE}


def test_an_account_that_does_not_answer_is_waited_for_a_while(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=2))
    pool.vast.stock(an_offer() for _ in range(6))
    pool.filled()
    before = len(pool.vast.named("account"))
    pool.vast.before("account", *[Transient("502")] * 100)
    pool.vast.change(pool.rows()[0].contract_id or 0, actual_status="exited")
    pool.run(120, every=10)
    assert pool.row(1).state is State.VERIFIED
    pool.run(60, every=10)
    assert pool.row(1).state is not State.VERIFIED
    assert 3 <= len(pool.vast.named("account")) - before <= 6


def test_credit_that_comes_back_ends_the_hold_of_a_refusal_as_soon_as_the_account_shows_it(
    sessions: Sessions,
) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1, account_every=timedelta(seconds=20)))
    pool.vast.credit = 3_000_000
    pool.step()
    pool.vast.stock(an_offer() for _ in range(6))
    pool.vast.before("create", NoCredit(), NoCredit(), NoCredit())
    pool.vast.credit = 0
    pool.step(61)
    pool.step(6)
    assert len(pool.vast.named("create")) == 1, "the hold of a minute stands while nothing is there"
    pool.vast.before_nothing()
    pool.vast.credit = 499_990_000
    pool.run(20, every=5)
    assert len(pool.vast.created) == 1


def test_a_vast_that_refuses_for_credit_although_there_is_some_is_not_asked_in_a_loop(
    sqlite_sessions: Sessions,
) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=1))
    pool.vast.stock(an_offer() for _ in range(50))
    pool.vast.before("create", *[NoCredit() for _ in range(100)])
    pool.run(1800, every=5)
    assert len(pool.vast.named("create")) <= 12
    with pool.sessions.read() as session:
        found = {one.kind: one.what for one in pool_row.read(session).conditions}
    assert "though the account has 50.00 USD" in found["no_credit"]


def test_creates_in_a_row_without_a_clear_answer_wait_longer_each_time_and_are_told_of(
    sessions: Sessions,
) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=5))
    pool.vast.stock(an_offer() for _ in range(50))
    pool.vast.before("create", *[Ambiguous("Vast said 422: body.disk: field required") for _ in range(100)])
    pool.run(20, every=1)
    with pool.sessions.read() as session:
        state = pool_row.read(session)
    found = {one.kind: one.what for one in state.conditions}
    assert "got no clear answer: Vast said 422: body.disk: field required" in found["rentals_unclear"]
    assert state.rent_refusals == 5
    assert state.rent_not_before is not None
    assert state.rent_not_before - pool.clock.now > timedelta(seconds=-1)
    pool.run(400, every=10)
    assert pool.rows(State.DESTROYED), "what no listing shows after the grace is over"


def test_an_unclear_create_that_a_listing_shows_ends_the_wait(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=5))
    pool.vast.stock(an_offer() for _ in range(50))
    pool.vast.after("create", *[Ambiguous("Vast said 502") for _ in range(3)])
    pool.run(60, every=1)
    assert len(pool.vast.boxes) == 5
    with pool.sessions.read() as session:
        assert pool_row.read(session).rent_not_before is None
