"""The one door: guarded moves, their history, and what may be learned in any state."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from magister.domain.instance import Held, Learned
from magister.domain.observed import Listing
from magister.errors import IllegalMove, Stale
from magister.states import Failure, Reason, State
from magister.store import instances, observations, pool, rental_history, transitions
from magister.store.db.engine import Sessions
from magister.store.db.models import Transition
from tests.builders import NOW, a_fleet, a_row, a_sighting, ago, an_offer

FLEET = a_fleet()


def made(sessions: Sessions, state: State = State.VERIFIED, **learned: object) -> Held:
    with sessions.write() as session:
        return a_row(session, state=state, at=ago(hours=1), learned=Learned(**learned))  # type: ignore[typeddict-item] # names are Learned's


def now(sessions: Sessions, row: Held) -> Held:
    with sessions.read() as session:
        found = instances.one(session, row.id)
    assert found is not None
    return found


def move(sessions: Sessions, row: Held, to: State, reason: Reason = Reason.OPERATOR) -> None:
    with sessions.write() as session:
        transitions.move(session, row, to, reason, actor="test", why="because", at=NOW)


@pytest.mark.parametrize(
    "at",
    [
        NOW,
        datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC),
        datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_a_moment_is_read_in_utc_as_it_was_written(sessions: Sessions, at: datetime) -> None:
    with sessions.write() as session:
        pool.note_listed(session, at)
    with sessions.read() as session:
        read = pool.read(session).listed_at
    assert (read, read and read.tzinfo) == (at, UTC)


def test_a_move_writes_the_row_and_its_history_together(sessions: Sessions) -> None:
    row = made(sessions)
    move(sessions, row, State.DROPPING)
    with sessions.read() as session:
        last = session.scalars(select(Transition).order_by(Transition.id.desc())).first()
    assert last is not None
    assert (last.from_state, last.to_state, last.reason, last.actor, last.detail, last.at) == (
        State.VERIFIED,
        State.DROPPING,
        Reason.OPERATOR,
        "test",
        "because",
        NOW,
    )
    assert now(sessions, row).state is State.DROPPING


def test_a_row_that_moved_meanwhile_is_not_moved_again(sessions: Sessions) -> None:
    row = made(sessions)
    move(sessions, row, State.DROPPING)
    with pytest.raises(Stale):
        move(sessions, row, State.DESTROYED)
    assert now(sessions, row).state is State.DROPPING


def test_a_row_that_was_seen_again_meanwhile_is_not_ended(sessions: Sessions) -> None:
    row = made(sessions, State.DROPPING, absences=2, absent_since=ago(seconds=9), looked_gone_at=NOW)
    with sessions.write() as session:
        observations.note_listing(session, Listing(NOW, (a_sighting(row.contract_id or 0),)), fleet=FLEET)
    with pytest.raises(Stale):
        move(sessions, row, State.DESTROYED, Reason.PROVED_GONE)
    assert now(sessions, row).state is State.DROPPING


def test_a_row_that_was_sent_again_meanwhile_is_not_ended(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=False)
        transitions.claim_send(session, row, fence=1, at=NOW)
    with pytest.raises(Stale):
        move(sessions, row, State.DESTROYED, Reason.SURPLUS)
    assert now(sessions, row).state is State.REQUESTED


def test_a_move_that_the_table_does_not_have_is_refused(sessions: Sessions) -> None:
    row = made(sessions, State.DROPPING)
    with pytest.raises(IllegalMove, match="from dropping to verified"):
        move(sessions, row, State.VERIFIED)


def test_a_failed_move_leaves_nothing_behind(sessions: Sessions) -> None:
    row = made(sessions)
    with pytest.raises(RuntimeError), sessions.write() as session:
        transitions.move(session, row, State.DROPPING, Reason.OPERATOR, actor="test", why="x", at=NOW)
        raise RuntimeError
    assert now(sessions, row) == row


def test_facts_are_learned_in_any_state_without_moving_it(sessions: Sessions) -> None:
    row = made(sessions, State.DROPPING)
    with sessions.write() as session:
        transitions.learn(session, row, price=123, actual_status="exited")
    learned = now(sessions, row)
    assert (learned.state, learned.price, learned.actual_status) == (State.DROPPING, 123, "exited")


def test_one_contract_belongs_to_one_row(sessions: Sessions) -> None:
    first, second = made(sessions), made(sessions)
    with pytest.raises(IntegrityError), sessions.write() as session:
        transitions.learn(session, second, contract_id=first.contract_id)


def test_a_send_is_claimed_once(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=False)
        claimed = transitions.claim_send(session, row, fence=1, at=NOW)
    assert (claimed.sends, claimed.unanswered, claimed.in_flight) == (1, 1, True)
    for seen in (row, claimed):
        with pytest.raises(Stale), sessions.write() as session:
            transitions.claim_send(session, seen, fence=2, at=NOW)


def test_a_dropped_row_is_not_sent(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=False)
        transitions.move(session, row, State.DROPPING, Reason.OPERATOR, actor="test", why="x", at=NOW)
        with pytest.raises(Stale):
            transitions.claim_send(session, row, fence=1, at=NOW)


def test_a_doubted_send_is_judged_after_the_grace(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=True)
        transitions.doubt(session, row, at=NOW, fleet=FLEET, trouble="reset")
    doubted = now(sessions, row)
    assert doubted.doubted_at == NOW
    assert doubted.judge_from == NOW + FLEET.create_grace
    assert not doubted.in_flight


def test_a_listing_is_written_into_the_rows_it_shows_and_lacks(sessions: Sessions) -> None:
    seen, absent = made(sessions), made(sessions)
    listing = Listing(NOW, (a_sighting(seen.contract_id or 0, actual_status="loading", price=7),))
    with sessions.write() as session:
        assert observations.note_listing(session, listing, fleet=FLEET) == ()
    assert (now(sessions, seen).actual_status, now(sessions, seen).price) == ("loading", 7)
    assert (now(sessions, absent).absences, now(sessions, absent).absent_since) == (1, NOW)


def test_a_box_under_a_known_key_names_the_contract_of_its_row(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED)
        listing = Listing(NOW, (a_sighting(444, label=f"magister:{row.key}"),))
        assert observations.note_listing(session, listing, fleet=FLEET) == ()
    assert now(sessions, row).contract_id == 444


def test_a_second_box_under_one_key_is_a_stranger_and_a_twin(sessions: Sessions) -> None:
    row = made(sessions)
    boxes = (a_sighting(row.contract_id or 0), a_sighting(444, label=f"magister:{row.key}"))
    with sessions.write() as session:
        (stranger,) = observations.note_listing(session, Listing(NOW, boxes), fleet=FLEET)
    assert (stranger.sighting.contract_id, stranger.twin) == (444, True)


def test_a_destroyed_box_that_is_listed_again_asks_for_the_loop(sessions: Sessions) -> None:
    row = made(sessions, State.DESTROYED)
    with sessions.write() as session:
        observations.note_listing(session, Listing(NOW, (a_sighting(row.contract_id or 0),)), fleet=FLEET)
    with sessions.read() as session:
        assert [held.id for held in instances.held(session)] == [row.id]
        assert instances.anything_due(session, ago(seconds=1), NOW)


def test_texts_from_outside_are_kept_short_and_without_nul(sessions: Sessions) -> None:
    row = made(sessions)
    box = a_sighting(row.contract_id or 0, status_msg="a\x00b" * 9000)
    with sessions.write() as session:
        observations.note_listing(session, Listing(NOW, (box,)), fleet=FLEET)
    said = now(sessions, row).status_msg or ""
    assert len(said) == transitions.TEXT_LIMIT
    assert "\x00" not in said


@pytest.mark.parametrize(
    ("state", "reason", "hours", "held_back"),
    [
        (State.REQUESTED, None, 1, True),
        (State.VERIFIED, None, 999, True),
        (State.DESTROYED, None, 23, True),
        (State.DESTROYED, None, 25, False),
    ],
)
def test_an_offer_rests_for_a_day_after_its_instance_ended(
    sessions: Sessions, state: State, reason: Reason | None, hours: float, held_back: bool
) -> None:
    with sessions.write() as session:
        row = a_row(session, state=state, at=ago(hours=hours))
        found = instances.recent_offers(session, NOW, timedelta(days=1))
    assert (row.offer_id in found) is held_back


@pytest.mark.parametrize(
    ("reason", "minutes", "rests"),
    [
        (Reason.OFFER_GONE, 9, True),
        (Reason.OFFER_GONE, 11, False),
        (Reason.NO_CREDIT, 0, False),
        (Reason.NEVER_TOOK_EFFECT, 600, True),
    ],
)
def test_a_refused_offer_rests_for_as_long_as_its_reason_deserves(
    sessions: Sessions, reason: Reason, minutes: float, rests: bool
) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, at=ago(minutes=minutes))
        transitions.move(
            session, row, State.DESTROYED, reason, actor="test", why="x", at=ago(minutes=minutes)
        )
        found = instances.recent_offers(session, NOW, timedelta(days=1))
    assert (row.offer_id in found) is rests


def test_what_became_of_rentals_is_told_of_their_machines_oldest_first(sessions: Sessions) -> None:
    offer = an_offer()
    with sessions.write() as session:
        for minutes in (50, 40):
            row = a_row(session, state=State.CREATED, offer=offer, at=ago(minutes=minutes))
            transitions.move(
                session,
                row,
                State.DROPPING,
                Reason.UNVERIFIED,
                actor="test",
                why="x",
                at=ago(minutes=minutes - 5),
            )
        a_row(session, state=State.VERIFIED, offer=offer, at=ago(minutes=30))
        trials = rental_history.trials(session, NOW, timedelta(days=1))
        assert [(trial.machine_id, trial.failure) for trial in trials] == [
            (offer.machine_id, Failure.NEVER_VERIFIED),
            (offer.machine_id, Failure.NEVER_VERIFIED),
            (offer.machine_id, None),
        ]
        assert rental_history.trials(session, NOW, timedelta(minutes=32)) == trials[2:]


def test_a_failure_dated_by_a_clock_that_was_ahead_counts_as_long_past(sessions: Sessions) -> None:
    later = NOW + timedelta(days=365)
    with sessions.write() as session:
        row = a_row(session, state=State.CREATED, at=later)
        transitions.move(
            session, row, State.DROPPING, Reason.UNVERIFIED, actor="test", why="a test", at=later
        )
        (trial,) = rental_history.trials(session, NOW, timedelta(days=7))
        assert trial.at < NOW
