"""What workers and the coordinator may ask, on the ledger of both engines."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from magister.domain import callback_key
from magister.domain.instance import Held
from magister.domain.observed import Adoptable, Listing
from magister.errors import InstanceEnded, Stale, TooEarly, UnknownInstance, WrongKey
from magister.planner.adoption import adopt
from magister.states import Reason, State
from magister.store import instances, observations, pool, requests, transitions
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance, Transition
from tests.builders import NOW, a_fleet, a_row, a_sighting, ago, an_offer

KEY, OTHER = (callback_key.make("5" * 64, 77, chance * 16) for chance in "01")
OFFER = an_offer(id=77)


def verify(sessions: Sessions, offer_id: int = 77, key: str | None = None, *, is_open: bool = False) -> Held:
    with sessions.write() as session:
        return requests.verify(session, offer_id, key=key, now=NOW, open_callbacks=is_open)


def drop(
    sessions: Sessions,
    offer_id: int = 77,
    key: str | None = None,
    why: str = "",
    *,
    is_open: bool = False,
) -> Held:
    with sessions.write() as session:
        return requests.drop(session, offer_id, key=key, why=why, now=NOW, open_callbacks=is_open)


def row_in(sessions: Sessions, state: State, *, key: str | None = None, sent: bool = True) -> Held:
    with sessions.write() as session:
        pool.note_listed(session, NOW)
        return a_row(session, state=state, offer=OFFER, callback_key=key, sent=sent, at=ago(minutes=1))


def moves(sessions: Sessions, row: Held) -> list[Transition]:
    with sessions.read() as session:
        query = select(Transition).where(Transition.instance_id == row.id).order_by(Transition.id)
        return list(session.scalars(query))


def interfere(monkeypatch: pytest.MonkeyPatch, *, times: int, by: Callable[[Session, Held], None]) -> None:
    """Let somebody else move the row between the look and the move, `times` times."""
    real, left = transitions.move, [times]

    def move(
        session: Session, row: Held, to: State, reason: Reason, *, actor: str, why: str, at: object
    ) -> None:
        if left[0]:
            left[0] -= 1
            by(session, row)
            raise Stale
        real(session, row, to, reason, actor=actor, why=why, at=NOW)

    monkeypatch.setattr(transitions, "move", move)


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED])
def test_a_worker_that_calls_makes_its_instance_verified(sessions: Sessions, state: State) -> None:
    row = row_in(sessions, state)
    seen = verify(sessions)
    assert (seen.id, seen.state, seen.reason) == (row.id, State.VERIFIED, Reason.CALLED)
    assert seen.verified_at == NOW
    last = moves(sessions, row)[-1]
    assert (last.from_state, last.to_state, last.actor) == (state, State.VERIFIED, "worker")


def test_a_worker_that_calls_again_changes_nothing(sessions: Sessions) -> None:
    row = row_in(sessions, State.VERIFIED)
    before = len(moves(sessions, row))
    assert verify(sessions) == row
    assert len(moves(sessions, row)) == before


def test_nobody_can_call_about_an_offer_that_was_never_asked_for(sessions: Sessions) -> None:
    row_in(sessions, State.REQUESTED, sent=False)
    with pytest.raises(UnknownInstance):
        verify(sessions)
    with pytest.raises(UnknownInstance):
        drop(sessions)


@pytest.mark.parametrize("state", [State.DROPPING, State.DESTROYED])
def test_a_worker_of_an_ended_instance_is_refused_and_a_listing_asked_for(
    sessions: Sessions, state: State
) -> None:
    row = row_in(sessions, state)
    with sessions.write() as session:
        with pytest.raises(InstanceEnded):
            requests.verify(session, 77, key=None, now=NOW)
        assert pool.read(session).listing_wanted_at == NOW
        assert instances.one(session, row.id) == row


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.VERIFIED])
def test_the_coordinator_lets_an_instance_go(sessions: Sessions, state: State) -> None:
    row = row_in(sessions, state)
    gone = drop(sessions, why="it timed out")
    assert (gone.id, gone.state, gone.reason) == (row.id, State.DROPPING, Reason.COORDINATOR)
    assert gone.due_at == NOW
    last = moves(sessions, row)[-1]
    assert (last.actor, last.detail) == ("coordinator", "it timed out")
    with sessions.read() as session:
        assert instances.anything_due(session, ago(seconds=1), NOW)


@pytest.mark.parametrize("state", [State.DROPPING, State.DESTROYED])
def test_a_drop_of_an_ended_instance_is_heard_and_changes_nothing(sessions: Sessions, state: State) -> None:
    row = row_in(sessions, state)
    assert drop(sessions, why="again") == row
    assert moves(sessions, row)[-1].detail == "a test"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("", requests.NO_REASON),
        (" \r\n\t ", requests.NO_REASON),
        ("\x00\x1b\u202e", requests.NO_REASON),
        ("two\r\nlines\x00 \x1b[31mred", "two lines [31mred"),
        ("ärger 🚀", "ärger 🚀"),
        ("x" * 1100, "x" * 1024),
    ],
)
def test_the_reason_is_kept_in_one_short_line(sessions: Sessions, body: str, detail: str) -> None:
    row = row_in(sessions, State.VERIFIED)
    drop(sessions, why=body)
    assert moves(sessions, row)[-1].detail == detail


def test_an_unknown_offer_is_unknown(sessions: Sessions) -> None:
    for ask in (verify, drop):
        with pytest.raises(UnknownInstance):
            ask(sessions, 1)


def test_an_offer_that_vast_refused_is_unknown(sessions: Sessions) -> None:
    row = row_in(sessions, State.REQUESTED)
    with sessions.write() as session:
        transitions.move(session, row, State.DESTROYED, Reason.OFFER_GONE, actor="test", why="", at=NOW)
    with pytest.raises(UnknownInstance):
        verify(sessions)


def test_the_right_key_opens(sessions: Sessions) -> None:
    row_in(sessions, State.CREATED, key=KEY)
    assert verify(sessions, key=KEY).state is State.VERIFIED
    assert drop(sessions, key=KEY).state is State.DROPPING


@pytest.mark.parametrize("key", [None, "", "0" * 32, OTHER, "ä", "\udcff"])
def test_a_missing_or_wrong_key_does_not_and_the_line_says_what_a_person_can_do(
    sessions: Sessions, key: str | None
) -> None:
    row = row_in(sessions, State.CREATED, key=KEY)
    for ask in (verify, drop):
        with pytest.raises(WrongKey, match="magister drop offer:77"):
            ask(sessions, key=key)
    with sessions.read() as session:
        assert instances.one(session, row.id) == row


def test_a_key_that_no_row_has_may_be_that_of_an_instance_which_is_not_listed_yet(sessions: Sessions) -> None:
    row_in(sessions, State.CREATED, key=KEY)
    with sessions.write() as session:
        pool.forget_listing(session)
    with pytest.raises(TooEarly):
        verify(sessions, key=OTHER)
    assert verify(sessions, key=KEY).state is State.VERIFIED


def test_a_key_that_is_nobodys_means_nobody_even_where_none_is_needed(sessions: Sessions) -> None:
    row_in(sessions, State.CREATED)
    with pytest.raises(WrongKey):
        drop(sessions, key=KEY)
    assert drop(sessions).state is State.DROPPING


def test_open_callbacks_let_a_call_without_a_key_mean_the_newest_instance(sessions: Sessions) -> None:
    row_in(sessions, State.VERIFIED)
    newest = row_in(sessions, State.CREATED, key=KEY)
    assert verify(sessions, is_open=True).id == newest.id
    assert drop(sessions, is_open=True).id == newest.id
    with pytest.raises(WrongKey):
        drop(sessions, key=OTHER, is_open=True)


def test_a_key_means_its_own_instance_although_a_newer_one_has_the_offer(sessions: Sessions) -> None:
    old = row_in(sessions, State.DESTROYED, key=KEY)
    new = row_in(sessions, State.VERIFIED, key=OTHER)
    late = drop(sessions, key=KEY)
    assert (late.id, late.state) == (old.id, State.DESTROYED)
    with sessions.read() as session:
        assert instances.one(session, new.id) == new
    with pytest.raises(InstanceEnded):
        verify(sessions, key=KEY)


def test_a_late_call_without_a_key_never_means_the_next_instance_on_the_offer(sessions: Sessions) -> None:
    row_in(sessions, State.DESTROYED)
    new = row_in(sessions, State.VERIFIED, key=KEY)
    for ask in (verify, drop):
        with pytest.raises(WrongKey):
            ask(sessions)
    with sessions.read() as session:
        assert instances.one(session, new.id) == new


def test_a_call_without_a_key_means_the_live_instance_that_has_none(sessions: Sessions) -> None:
    kept = row_in(sessions, State.CREATED)
    row_in(sessions, State.CREATED, key=KEY)
    assert verify(sessions).id == kept.id


def test_without_a_key_the_newest_instance_that_took_effect_is_meant(sessions: Sessions) -> None:
    row_in(sessions, State.DESTROYED)
    kept = row_in(sessions, State.CREATED)
    refused = row_in(sessions, State.REQUESTED)
    with sessions.write() as session:
        transitions.move(session, refused, State.DESTROYED, Reason.REFUSED, actor="test", why="", at=NOW)
    row_in(sessions, State.REQUESTED, sent=False)
    assert verify(sessions).id == kept.id


def test_a_person_drops_a_row_by_its_number_and_the_history_says_who(sessions: Sessions) -> None:
    row = row_in(sessions, State.VERIFIED, key=KEY)
    for first in (True, False):
        with sessions.write() as session:
            gone, moved = requests.drop_row(session, row.id, why="a test", now=NOW, actor="alice")
        assert (gone.state, moved) == (State.DROPPING, first)
    last = moves(sessions, row)[-1]
    assert (last.reason, last.actor, last.detail) == (Reason.OPERATOR, "alice", "a test")
    with sessions.write() as session, pytest.raises(UnknownInstance):
        requests.drop_row(session, row.id + 1, why="", now=NOW, actor="alice")


def former(sessions: Sessions, state: State) -> Held:
    """Return a row that was rented when the token signed, in a database from before keys were kept."""
    row = row_in(sessions, state, key=KEY)
    with sessions.write() as session:
        session.execute(update(Instance).where(Instance.id == row.id).values(callback_key=None))
        found = instances.one(session, row.id)
    assert found is not None
    return found


TOKEN = SecretStr("a-token-of-the-operator")


def test_instances_that_a_token_signed_for_are_heard_whatever_becomes_of_the_token(
    sessions: Sessions,
) -> None:
    row, gone = former(sessions, State.CREATED), former(sessions, State.DESTROYED)
    with sessions.write() as session:
        assert transitions.keep_former_keys(session, TOKEN) == 0
        assert transitions.keep_former_keys(session, SecretStr("another-token-of-theirs")) == 0
    assert verify(sessions, key=callback_key.former(TOKEN, row.key)).id == row.id
    assert drop(sessions, key=callback_key.former(TOKEN, gone.key)).id == gone.id


def test_without_the_token_the_calls_of_such_instances_are_refused_with_the_cause(sessions: Sessions) -> None:
    row = former(sessions, State.CREATED)
    former(sessions, State.DESTROYED)
    with sessions.write() as session:
        assert transitions.keep_former_keys(session, None) == 1
    for key in (None, callback_key.former(TOKEN, row.key)):
        with pytest.raises(WrongKey, match="rented under an api_token; set that again and restart"):
            verify(sessions, key=key)


def test_a_drop_that_comes_between_look_and_move_wins_over_a_verify(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_in(sessions, State.CREATED)
    real = transitions.move

    def dropped(session: Session, row: Held) -> None:
        real(session, row, State.DROPPING, Reason.OPERATOR, actor="test", why="", at=NOW)

    interfere(monkeypatch, times=1, by=dropped)
    with pytest.raises(InstanceEnded):
        verify(sessions)


def test_a_row_that_moved_meanwhile_is_looked_at_again(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_in(sessions, State.REQUESTED)
    real = transitions.move

    def created(session: Session, row: Held) -> None:
        real(session, row, State.CREATED, Reason.RENTED, actor="test", why="", at=NOW)

    interfere(monkeypatch, times=1, by=created)
    assert verify(sessions).state is State.VERIFIED


def test_a_row_that_never_stands_still_is_given_up(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_in(sessions, State.CREATED)
    interfere(monkeypatch, times=100, by=lambda session, row: None)
    with pytest.raises(Stale):
        drop(sessions)


def test_two_at_once_are_both_heard(postgres_sessions: Sessions) -> None:
    row = row_in(postgres_sessions, State.CREATED)
    with postgres_sessions.write() as first:
        stale = instances.by_offer(first, 77)
        verify(postgres_sessions)
        assert stale[0].state is State.CREATED
        gone = requests.drop(first, 77, key=None, why="", now=NOW + timedelta(seconds=1))
    assert gone.state is State.DROPPING
    assert [move.to_state for move in moves(postgres_sessions, row)][-2:] == [State.VERIFIED, State.DROPPING]


@pytest.mark.parametrize("gone", [False, True])
def test_calls_and_drops_mean_the_instance_and_not_its_twin(sessions: Sessions, gone: bool) -> None:
    row = row_in(sessions, State.VERIFIED)
    box = Adoptable(a_sighting(99_999), OFFER.id, None)
    fleet = a_fleet()
    with sessions.write() as session:
        twin = transitions.adopt(session, adopt(box, twin=True, fleet=fleet, now=NOW), fleet=fleet, at=NOW)
        assert twin is not None
        if gone:
            transitions.move(
                session, twin, State.DESTROYED, Reason.PROVED_GONE, actor="test", why="a test", at=NOW
            )
    assert verify(sessions).id == row.id
    dropped = drop(sessions)
    assert (dropped.id, dropped.state) == (row.id, State.DROPPING)


def test_the_key_that_an_instance_was_started_with_counts_whatever_its_row_says(sessions: Sessions) -> None:
    """As after another token, or after going back to a version without keys and forth again."""
    row = row_in(sessions, State.VERIFIED, key=OTHER)
    start_text = f'export MAGISTER_DROP_ENDPOINT="http://203.0.113.7:8555/drop/{row.offer_id}?key={KEY}"\n'
    assert row.contract_id is not None
    box = a_sighting(row.contract_id, label=f"magister:{row.key}", onstart=start_text)
    with sessions.write() as session:
        observations.note_listing(session, Listing(NOW, (box,)), fleet=a_fleet())
    with pytest.raises(WrongKey):
        verify(sessions, key=OTHER)
    assert verify(sessions, key=KEY).id == row.id
