"""While no web process is signed in, nobody can hear a worker: then nothing is rented, and none is missed."""

from datetime import timedelta

import pytest

from magister.states import Reason, State
from magister.store import pool
from magister.store.db.engine import Sessions
from magister.web import liveness
from tests.builders import a_fleet, an_offer
from tests.controller import Controller


@pytest.fixture
def deaf(sessions: Sessions) -> Controller:
    """A pool of three whose web process never started."""
    found = Controller(sessions, fleet=a_fleet(target=3), listens=False)
    found.vast.stock(an_offer() for _ in range(9))
    return found


def kinds(controller: Controller) -> list[str]:
    with controller.sessions.read() as session:
        return [condition.kind for condition in pool.read(session).conditions]


def test_nothing_is_rented_before_a_web_process_signed_in(deaf: Controller) -> None:
    deaf.run(300)
    assert deaf.vast.created == []
    assert kinds(deaf) == ["nobody_hears"]
    deaf.sign()
    deaf.step(1)
    assert len(deaf.vast.created) == 3
    assert kinds(deaf) == []


def test_a_loop_that_starts_some_seconds_before_the_web_tells_of_no_trouble(deaf: Controller) -> None:
    deaf.step()
    assert deaf.step(5).next_at == deaf.clock.now + timedelta(seconds=1)
    assert kinds(deaf) == []


def test_a_sign_from_before_the_start_lets_nothing_be_rented(deaf: Controller) -> None:
    deaf.sign()
    deaf.step(5)
    assert deaf.vast.created == []


def test_a_web_process_that_died_ends_renting_within_its_patience(deaf: Controller) -> None:
    deaf.listens = True
    deaf.filled()
    deaf.listens = False
    deaf.run(70)
    deaf.drop(deaf.rows(State.VERIFIED)[0])
    deaf.run(600, every=10)
    assert [row.state for row in deaf.rows()].count(State.DESTROYED) == 1, "a drop is carried out"
    assert len(deaf.vast.created) == 3
    assert kinds(deaf) == ["nobody_hears"]


def test_no_worker_is_given_up_for_a_call_that_nobody_could_hear(deaf: Controller) -> None:
    deaf.listens = True
    deaf.step()
    deaf.run(60, every=10)
    deaf.listens = False
    deaf.run(3600, every=30)
    assert [row.state for row in deaf.rows()] == [State.CREATED] * 3
    liveness.sign(deaf.sessions, deaf.clock.wall, verify_within=deaf.fleet.verify_within)
    left = [(row.verify_by or deaf.clock.now) - deaf.clock.now for row in deaf.rows()]
    if deaf.sessions.engine.dialect.name == "sqlite":  # the server of the other has a clock of its own
        assert left == [timedelta(seconds=120)] * 3, "as much as when nobody heard any more"


def test_a_gap_gives_the_time_that_was_left_and_no_more(sqlite_sessions: Sessions) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=2))
    controller.vast.stock(an_offer() for _ in range(9))
    controller.step()
    controller.listens = False
    controller.run(1800, every=30)
    liveness.sign(sqlite_sessions, controller.clock.wall)
    liveness.sign(sqlite_sessions, controller.clock.wall)
    controller.listens = True
    controller.run(150, every=10)
    assert {row.state for row in controller.rows()} == {State.CREATED}
    controller.run(60, every=10)
    assert (State.DROPPING, Reason.UNVERIFIED) in controller.story(1)


def test_signs_without_a_gap_put_nothing_off(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock([an_offer()])
    controller.step()
    (before,) = controller.rows()
    liveness.sign(sessions, controller.clock.wall)
    liveness.sign(sessions, controller.clock.wall)
    assert controller.row(before.id).verify_by == before.verify_by
