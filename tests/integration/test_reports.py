"""What is shown of the pool, read from the ledger of both engines."""

from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from magister.domain.actions import Adopt
from magister.domain.instance import Held, Learned
from magister.domain.observed import Adoptable, Sighting
from magister.planner.conditions import Condition
from magister.reports import overview, readiness
from magister.states import Reason, State
from magister.store import pool, transitions
from magister.store.db.engine import Sessions
from tests.builders import NOW, a_fleet, a_row, ago, an_offer

MINUTE = timedelta(minutes=1)


def row_in(sessions: Sessions, state: State, *, price: int | None = None, minutes_ago: float = 0) -> Held:
    learned = Learned() if price is None else Learned(price=price)
    with sessions.write() as session:
        return a_row(session, state=state, at=ago(minutes=minutes_ago), learned=learned)


def test_money_is_summed_in_whole_micro_dollars(sessions: Sessions) -> None:
    for _ in range(10):
        row_in(sessions, State.VERIFIED, price=100_001)
    with sessions.read() as session:
        assert overview.summary(session).cost == 1_000_010
    assert overview.usd(1_000_010) == 1.00001


def test_the_summary_keeps_to_what_vast_has_made_and_is_to_stay(sessions: Sessions) -> None:
    row_in(sessions, State.REQUESTED)
    kept = [row_in(sessions, State.CREATED), row_in(sessions, State.VERIFIED)]
    row_in(sessions, State.DROPPING)
    row_in(sessions, State.DESTROYED)
    with sessions.read() as session:
        shown = overview.summary(session)
    assert [view.id for view in shown.instances] == [row.id for row in kept]
    assert shown.pending == 1
    assert shown.states == {State.REQUESTED: 1, State.CREATED: 1, State.VERIFIED: 1, State.DROPPING: 1}


def test_a_worker_that_called_before_the_contract_was_known_is_pending_but_billed(sessions: Sessions) -> None:
    row = row_in(sessions, State.REQUESTED)
    with sessions.write() as session:
        transitions.move(session, row, State.VERIFIED, Reason.CALLED, actor="worker", why="", at=NOW)
        assert overview.summary(session).pending == 1
        assert overview.summary(session).cost == 0
        assert overview.overview(session, NOW).cost == 500_000


def test_what_is_on_its_way_out_is_billed_until_it_is_gone(sessions: Sessions) -> None:
    row_in(sessions, State.VERIFIED, price=100_000)
    row_in(sessions, State.DROPPING, price=200_000)
    row_in(sessions, State.DESTROYED, price=400_000)
    row_in(sessions, State.REQUESTED, price=800_000)
    with sessions.read() as session:
        shown = overview.overview(session, NOW)
    assert shown.cost == 300_000
    assert [view.billed for view in shown.instances] == [True, True, False]


def test_a_box_without_a_price_is_shown_without_one(sessions: Sessions) -> None:
    box = Adoptable(Sighting(contract_id=9, start_date=ago(hours=1)), 77, None)
    adoption = Adopt(box, State.VERIFIED, Reason.ADOPTED, "it is ours")
    with sessions.write() as session:
        transitions.adopt(session, adoption, fleet=a_fleet(), at=NOW)
        shown = overview.summary(session)
    (view,) = shown.instances
    assert (shown.cost, view.price, view.instance_id, view.why) == (0, None, 9, "it is ours")
    assert view.offer["id"] == 77


def test_an_instance_shows_the_sentence_of_its_last_move(sessions: Sessions) -> None:
    row = row_in(sessions, State.VERIFIED)
    other = row_in(sessions, State.VERIFIED)
    with sessions.write() as session:
        transitions.move(
            session, row, State.DROPPING, Reason.EXITED, actor="loop", why="Vast says exited", at=NOW
        )
        first, second = overview.instances(session)
    assert (first.id, first.why, first.should_drop) == (row.id, "Vast says exited", True)
    assert (second.id, second.why, second.should_drop) == (other.id, "a test", False)


def test_the_overview_shows_the_pool_at_a_moment(sessions: Sessions) -> None:
    row_in(sessions, State.VERIFIED)
    condition = Condition("no credit", "add some")
    with sessions.write() as session:
        pool.beat(session, ago(seconds=3), target=5, conditions=(condition,))
        pool.note_listed(session, ago(seconds=8))
        pool.note_credit(session, 12_340_000)
    with sessions.read() as session:
        shown = overview.overview(session, NOW, last=2)
    assert (shown.target, shown.credit, shown.conditions) == (5, 12_340_000, (condition,))
    assert (shown.heartbeat_age_secs, shown.listing_age_secs) == (3.0, 8.0)
    assert [event.to_state for event in shown.events] == [State.CREATED, State.VERIFIED]
    assert shown.at == NOW


def test_the_overview_of_an_empty_database_is_empty(sessions: Sessions) -> None:
    with sessions.read() as session:
        shown = overview.overview(session, NOW)
    assert (shown.instances, shown.events, shown.cost, shown.credit) == ((), (), 0, None)
    assert (shown.heartbeat_age_secs, shown.listing_age_secs) == (None, None)


def test_the_history_has_the_newest_moves_with_the_newest_last(sessions: Sessions) -> None:
    old = row_in(sessions, State.CREATED, minutes_ago=10)
    new = row_in(sessions, State.DESTROYED)
    with sessions.read() as session:
        every = overview.history(session, 100)
        assert [event.instance for event in every] == [old.id] * 2 + [new.id] * 4
        assert overview.history(session, 3) == every[-3:]
        assert overview.history(session, 100, NOW - MINUTE) == every[2:]
        assert overview.history(session, 1, NOW + MINUTE) == ()
    born, *_, last = every
    assert (born.from_state, born.to_state, born.reason) == (None, State.REQUESTED, Reason.SHORT)
    assert (last.from_state, last.to_state) == (State.DROPPING, State.DESTROYED)
    assert (last.instance_id, last.machine_id, last.at) == (new.contract_id, new.machine_id, NOW)
    assert (last.actor, last.detail) == ("test", "a test")


def test_no_key_of_a_drop_address_is_shown(sessions: Sessions) -> None:
    words = "failed at http://203.0.113.7:8555/drop/7?key=0123456789abcdef, twice"
    with sessions.write() as session:
        row = a_row(session, state=State.VERIFIED, learned=Learned(status_msg=words, trouble=words))
        transitions.move(session, row, State.DROPPING, Reason.COORDINATOR, actor="test", why=words, at=NOW)
        (view,) = overview.instances(session)
        events = overview.history(session, 1)
    for text in (view.status_msg, view.trouble, view.why, events[0].detail):
        assert text == "failed at http://203.0.113.7:8555/drop/7?key=***, twice"


def test_a_pool_is_ready_while_its_loop_beats_and_sees(sessions: Sessions) -> None:
    with sessions.write() as session:
        pool.beat(session, ago(seconds=60), target=3, conditions=())
        pool.note_listed(session, NOW - readiness.BLIND_AFTER)
        assert readiness.readiness(session, NOW, MINUTE).ready
        assert not readiness.readiness(session, NOW + timedelta(seconds=1), MINUTE).ready


def test_each_cause_of_not_being_ready_is_told(sessions: Sessions) -> None:
    with sessions.write() as session:
        assert len(readiness.readiness(session, NOW, MINUTE).why) == 2
        pool.beat(session, ago(minutes=2), target=3, conditions=())
        pool.note_listed(session, ago(hours=1))
        loop, listing = readiness.readiness(session, NOW, MINUTE).why
    assert loop == "the loop last gave a sign of life at 2026-11-24 11:58:00 UTC"
    assert listing == "the last complete listing from Vast is of 2026-11-24 11:00:00 UTC"


def test_what_is_shown_cannot_be_changed(sessions: Sessions) -> None:
    with sessions.write() as session:
        a_row(session, offer=an_offer())
        (view,) = overview.instances(session)
    with pytest.raises(FrozenInstanceError):
        view.price = 0  # type: ignore[misc] # that is the point
