"""A move that was planned is not made once what its reason rests on has changed."""

from datetime import datetime

import pytest
from sqlalchemy import update

from magister.domain.actions import RESTS_ON, Adopt, Move
from magister.domain.instance import Held
from magister.errors import InstanceEnded, Stale
from magister.states import Reason, State
from magister.store import instances, requests
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from tests.beating import Beating
from tests.builders import NOW, a_row, state_of
from tests.controller import Controller

MOVES: dict[Reason, tuple[State, State]] = {
    Reason.STALE_OFFER: (State.REQUESTED, State.DROPPING),
    Reason.FOUND: (State.REQUESTED, State.CREATED),
    Reason.NEVER_SENT: (State.DROPPING, State.DESTROYED),
    Reason.NEVER_TOOK_EFFECT: (State.REQUESTED, State.DESTROYED),
    Reason.UNVERIFIED: (State.CREATED, State.DROPPING),
    Reason.ENROLLED: (State.CREATED, State.VERIFIED),
    Reason.EXITED: (State.VERIFIED, State.DROPPING),
    Reason.OFFLINE: (State.VERIFIED, State.DROPPING),
    Reason.SILENT: (State.VERIFIED, State.DROPPING),
    Reason.FORGOTTEN: (State.VERIFIED, State.DROPPING),
    Reason.COORDINATOR: (State.VERIFIED, State.DROPPING),
    Reason.VANISHED: (State.VERIFIED, State.DESTROYED),
    Reason.PROVED_GONE: (State.DROPPING, State.DESTROYED),
    Reason.REAPPEARED: (State.DESTROYED, State.DROPPING),
    Reason.SURPLUS: (State.VERIFIED, State.DROPPING),
    Reason.BUDGET: (State.CREATED, State.DROPPING),
}


def changed(row: Held, column: str) -> object:
    """Return another value for a column of a row."""
    value = getattr(row, column)
    if column.endswith(("_at", "_since", "_by")):
        return datetime(2026, 1, 1, tzinfo=NOW.tzinfo)
    if column == "unanswered":
        return 1 - row.unanswered
    return f"not {value}" if column in {"actual_status", "intended_status", "cur_state"} else (value or 0) + 1


def test_each_reason_of_a_planned_move_is_tried_here() -> None:
    assert set(MOVES) == set(RESTS_ON)


@pytest.mark.parametrize("reason", MOVES)
def test_a_move_is_made_only_while_what_it_rests_on_stands(sessions: Sessions, reason: Reason) -> None:
    controller = Controller(sessions)
    controller.step()
    state, to = MOVES[reason]
    for column in RESTS_ON[reason]:
        with sessions.write() as session:
            row = a_row(session, state=state)
            session.execute(
                update(Instance).where(Instance.id == row.id).values({column: changed(row, column)})
            )
        with pytest.raises(Stale):
            controller.executor.settle(Move(row, to, reason, "a test"), controller.clock.now)
        assert state_of(sessions, row) is state, column
        with sessions.read() as session:
            fresh = instances.one(session, row.id)
        assert fresh is not None
        controller.executor.settle(Move(fresh, to, reason, "a test"), controller.clock.now)
        assert state_of(sessions, row) is to


def test_a_heartbeat_between_the_plan_and_its_move_saves_the_instance(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating = Beating(sessions, target=2, every=30)
    late = min(beating.alive)
    beating.alive.remove(late)
    settle = beating.pool.executor.settle
    answered: list[Reason] = []

    def heard_before(action: Move | Adopt, now: datetime) -> None:
        if (
            isinstance(action, Move)
            and action.row.id == late
            and action.to is State.DROPPING
            and not answered
        ):
            with sessions.write() as session:
                requests.verify(session, action.row.offer_id, key=action.row.callback_key, now=now, beat=True)
            answered.append(action.reason)
            beating.alive.add(late)
        settle(action, now)

    monkeypatch.setattr(beating.pool.executor, "settle", heard_before)
    beating.run(900)
    assert answered == [Reason.SILENT]
    assert beating.given_up() == {}


def test_a_heartbeat_that_finds_its_instance_given_up_meanwhile_is_not_answered_as_heard(
    sessions: Sessions,
) -> None:
    beating = Beating(sessions, target=1, every=30)
    (row,) = beating.pool.rows(State.VERIFIED)
    beating.pool.drop(row)
    with sessions.write() as session, pytest.raises(InstanceEnded):
        requests.verify(session, row.offer_id, key=row.callback_key, now=beating.pool.clock.now, beat=True)
    assert beating.pool.row(row.id).beaten_at == row.beaten_at
