"""A row whose claim was taken back keeps its place no longer than any other."""

import pytest
from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.errors import RateLimited
from magister.states import Reason, State
from magister.store import instances, transitions
from magister.store.db.engine import Sessions
from tests.builders import NOW, a_fleet, a_row, ago, an_offer
from tests.controller import Controller


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A controller for one instance, and one offer."""
    pool = Controller(sessions, fleet=a_fleet(target=1))
    pool.vast.stock([an_offer()])
    return pool


def dropped_before_the_claim_is_taken_back(
    pool: Controller, monkeypatch: pytest.MonkeyPatch, *, sends: int
) -> None:
    """Let the process stand still for 25 s after the claim of a send, and the row be dropped meanwhile."""
    claim, withdraw = transitions.claim_send, transitions.withdraw_claim

    def claimed(session: Session, row: Held, **more: object) -> Held:
        found = claim(session, row, **more)  # type: ignore[arg-type] # they are the function's own
        if found.sends == sends:
            pool.clock.advance(25)
        return found

    def withdrawn(session: Session, row: Held, **more: object) -> None:
        fresh = instances.one(session, row.id)
        assert fresh is not None
        transitions.move(session, fresh, State.DROPPING, Reason.COORDINATOR, actor="test", why="slow", at=NOW)
        withdraw(session, row, **more)  # type: ignore[arg-type] # they are the function's own

    monkeypatch.setattr(transitions, "claim_send", claimed)
    monkeypatch.setattr(transitions, "withdraw_claim", withdrawn)


def test_a_row_ends_that_was_answered_429_and_dropped_while_its_next_claim_stood_still(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.vast.before("create", RateLimited())
    dropped_before_the_claim_is_taken_back(pool, monkeypatch, sends=2)
    pool.step()
    pool.step(1)
    row = pool.row(1)
    assert (row.state, row.sends, row.unanswered) == (State.DROPPING, 1, 0)
    pool.run(400)
    assert pool.story(1)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)


def test_a_claim_taken_back_from_the_first_send_leaves_nothing_to_judge(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped_before_the_claim_is_taken_back(pool, monkeypatch, sends=1)
    pool.step()
    pool.step(1)
    assert pool.story(1)[-1] == (State.DESTROYED, Reason.NEVER_SENT)
    assert pool.row(1).judge_from is None


def test_a_row_that_an_earlier_version_left_without_a_moment_to_judge_from_ends(pool: Controller) -> None:
    with pool.sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, at=ago(hours=1))
        transitions.move(session, row, State.DROPPING, Reason.COORDINATOR, actor="test", why="slow", at=NOW)
        transitions.learn(session, row, unanswered=0, judge_from=None)
    pool.restart(target=0)
    pool.run(400)
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
