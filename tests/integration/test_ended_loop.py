"""A loop that has ended, by a signal or killed, is told of at once."""

from datetime import timedelta

import pytest

from magister.reports import readiness
from magister.store import pool
from magister.store.db.engine import Sessions
from magister.store.db.lease import LeaseHolder, kernel_lock
from tests.fakes import FakeClock

STALE = timedelta(seconds=60)


class ALoop:
    """A loop that acts, with the real lock of its database."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions, self.clock = sessions, FakeClock()
        self.lock = kernel_lock(sessions)
        self.lease = LeaseHolder(
            sessions, self.lock, holder="here:7:ab", lasts=timedelta(seconds=30), renew=timedelta(seconds=10)
        )
        assert self.lease.hold(self.clock.now)
        with sessions.write() as session:
            pool.beat(session, self.clock.now, target=1, conditions=())
            pool.note_listed(session, self.clock.now)

    def why(self) -> tuple[str, ...]:
        with self.sessions.read() as session:
            return readiness.readiness(session, self.clock.now, STALE).why


@pytest.fixture
def loop(sessions: Sessions) -> ALoop:
    return ALoop(sessions)


def test_a_loop_that_acts_keeps_the_pool(loop: ALoop) -> None:
    assert loop.why() == ()
    loop.lease.release(loop.clock.now)


def test_a_loop_that_was_asked_to_end_is_missed_at_once(loop: ALoop) -> None:
    loop.lease.release(loop.clock.now)
    assert loop.why() == ("no loop acts: the last one has ended",)


def test_a_loop_that_was_killed_is_missed_at_once(loop: ALoop) -> None:
    loop.lock.release()  # as the kernel does, while the lease lasts
    assert loop.why() == ("no loop acts: the last one has ended",)


def test_a_loop_that_never_acted_is_told_in_its_own_words(sessions: Sessions) -> None:
    with sessions.read() as session:
        found = readiness.readiness(session, FakeClock().now, STALE)
    assert found.why[0] == "the loop has never run on this database"
