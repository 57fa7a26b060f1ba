"""The loop around the steps: prompt when something is due, quiet when not, and not to be put off."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import OperationalError

from magister.control import loop as loop_module
from magister.control.loop import Loop
from magister.control.reconciler import Report, Rhythm
from magister.service import loop_process
from magister.states import State
from magister.store import pool as pool_row
from magister.store.db.engine import Sessions
from magister.store.pool import DEAF_AFTER
from magister.web import liveness
from tests.builders import a_fleet, an_offer
from tests.controller import Controller
from tests.fakes import FakeClock
from tests.waiting import PATIENCE, until


class RealClock(FakeClock):
    """A clock that nobody has to move."""

    def wall(self) -> datetime:
        self.now = datetime.now(UTC)
        return self.now

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def pool(sqlite_sessions: Sessions) -> Controller:
    """A pool of two under real time."""
    controller = Controller(sqlite_sessions, clock=RealClock(), fleet=a_fleet(target=2))
    controller.vast.stock(an_offer() for _ in range(5))
    return controller


@contextmanager
def running(pool: Controller, **rhythm: float) -> Iterator[Loop]:
    """Run the loop in a thread, and end it."""
    loop = Loop(
        worker=pool.worker,
        sessions=pool.sessions,
        vast=pool.vast,
        clock=pool.clock_of_worker,
        rhythm=Rhythm(**rhythm),  # type: ignore[arg-type] # names are Rhythm's
    )
    liveness.listen(pool.sessions, pool.clock.wall, DEAF_AFTER, stop=loop.stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.end()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def heard(pool: Controller, call: str) -> threading.Event:
    """Return an event that is set when Vast is called so."""
    event = threading.Event()
    pool.vast.boundary = lambda name: event.set() if name == call else None
    return event


def test_a_drop_that_another_process_committed_is_acted_on_at_the_next_tick(pool: Controller) -> None:
    rented = heard(pool, "created")
    with running(pool, tick=0.02, heartbeat=600):
        assert rented.wait(PATIENCE)
        destroyed = heard(pool, "destroy")
        until(lambda: pool.rows(State.CREATED), "a row that knows its box")
        pool.drop(pool.rows(State.CREATED)[0])
        assert destroyed.wait(PATIENCE)


def test_a_listing_that_the_web_side_asks_for_comes_at_the_next_tick(pool: Controller) -> None:
    rented = heard(pool, "created")
    with running(pool, tick=0.02, heartbeat=600):
        assert rented.wait(PATIENCE)
        until(lambda: len(pool.rows(State.CREATED)) == 2, "two rows that know their boxes")
        listed = heard(pool, "listing")
        with pool.sessions.write() as session:
            pool_row.ask_for_listing(session, datetime.now(UTC))
        assert listed.wait(PATIENCE)


def test_a_database_in_trouble_is_tried_again(pool: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "DATABASE_WAITS", (0.01,))
    steps: list[int] = []
    recovered = threading.Event()

    def step(now: datetime) -> Report:
        steps.append(1)
        if len(steps) < 3:
            raise OperationalError("SELECT", {}, Exception("database is locked"))
        recovered.set()
        return Report(acting=True)

    monkeypatch.setattr(pool.worker, "step", step)
    with running(pool):
        assert recovered.wait(PATIENCE)


def test_a_quiet_pool_is_left_alone_until_something_is_due(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    stepped = threading.Event()

    def step(now: datetime) -> Report:
        steps.append(1)
        stepped.set()
        return Report(acting=True)

    monkeypatch.setattr(pool.worker, "step", step)
    with running(pool, tick=0.01, heartbeat=600) as loop:
        assert stepped.wait(PATIENCE)
        assert not loop.stop.wait(0.3)
        assert len(steps) == 1
        stepped.clear()
        loop.wake.set()
        assert stepped.wait(PATIENCE)


class Turning:
    """A loop that comes round so many more times, and then hangs."""

    def __init__(self, times: int) -> None:
        self._left = times
        self._turns = 0

    @property
    def turns(self) -> int:
        self._turns += self._left > 0
        self._left -= 1
        return self._turns


def test_a_loop_that_hangs_ends_its_process() -> None:
    left: list[int] = []
    loop_process.watch(Turning(3), threading.Event(), every=0.001, leave=left.append)  # type: ignore[arg-type] # only its turns are read
    assert left == [1]


def test_a_loop_that_ended_in_good_order_is_not_watched_any_more() -> None:
    ended = threading.Event()
    ended.set()
    loop_process.watch(Turning(0), ended, leave=lambda code: pytest.fail("it ended by itself"))  # type: ignore[arg-type] # only its turns are read
