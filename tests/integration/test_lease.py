"""Which loop acts: the row, the kernel lock, and a frozen holder that wakes."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event

import pytest
from sqlalchemy import text

from magister.errors import LeaseLost
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import FileLock, Ground, KernelLock, LeaseHolder, NoLock, kernel_lock
from tests.builders import NOW
from tests.waiting import PATIENCE, until


@pytest.fixture
def locks(sessions: Sessions) -> Iterator[list[KernelLock]]:
    """Collect the locks that a test makes, and release them."""
    made: list[KernelLock] = []
    yield made
    for lock in made:
        lock.release()


def a_holder(
    sessions: Sessions, name: str, lock: KernelLock | None = None, *, lasts: timedelta = timedelta(seconds=30)
) -> LeaseHolder:
    return LeaseHolder(sessions, lock or NoLock(), holder=name, lasts=lasts, renew=timedelta(seconds=10))


def expire(sessions: Sessions) -> None:
    """Let the lease run out by the clock that counts for it."""
    with sessions.write() as session:
        session.execute(text("UPDATE lease SET expires_at = '1970-01-01 00:00:00'"))


def require(sessions: Sessions, holder: LeaseHolder) -> int:
    with sessions.write() as session:
        return holder.require(session, NOW)


def test_the_first_gets_it_and_the_second_waits(sessions: Sessions) -> None:
    first, second = a_holder(sessions, "one"), a_holder(sessions, "two")
    assert first.hold(NOW)
    assert not second.hold(NOW)
    assert require(sessions, first) == 1
    with pytest.raises(LeaseLost):
        require(sessions, second)


def test_an_expired_lease_goes_to_whoever_asks_and_the_fence_grows(sessions: Sessions) -> None:
    first, second = a_holder(sessions, "one"), a_holder(sessions, "two")
    assert first.hold(NOW)
    expire(sessions)
    assert second.hold(NOW)
    assert second.fence == 2
    assert (first.ground, second.ground) == (Ground.FIRST, Ground.EXPIRED)
    with pytest.raises(LeaseLost):
        require(sessions, first)
    assert not first.hold(NOW + timedelta(seconds=11)), "it finds out when it renews"


def test_an_expired_lease_that_nobody_took_sends_nothing_but_can_be_held_again(sessions: Sessions) -> None:
    holder = a_holder(sessions, "one")
    assert holder.hold(NOW)
    expire(sessions)
    with pytest.raises(LeaseLost):
        require(sessions, holder)
    assert holder.hold(NOW + timedelta(seconds=11))


def test_a_released_lease_can_be_taken_at_once(sessions: Sessions) -> None:
    first, second = a_holder(sessions, "one"), a_holder(sessions, "two")
    assert first.hold(NOW)
    first.release(NOW)
    assert second.hold(NOW + timedelta(seconds=1))


def test_a_free_kernel_lock_proves_its_last_holder_dead(sessions: Sessions, locks: list[KernelLock]) -> None:
    locks += [kernel_lock(sessions), kernel_lock(sessions)]
    first, second = a_holder(sessions, "one", locks[0]), a_holder(sessions, "two", locks[1])
    assert first.hold(NOW)
    assert not second.hold(NOW)
    locks[0].release()  # as the kernel does for a process that died
    assert second.hold(NOW)
    assert second.ground is Ground.ENDED


def test_a_frozen_holder_that_wakes_does_not_take_the_lease_back(
    sessions: Sessions, locks: list[KernelLock]
) -> None:
    locks += [kernel_lock(sessions), kernel_lock(sessions)]
    frozen, successor = a_holder(sessions, "one", locks[0]), a_holder(sessions, "two", locks[1])
    assert frozen.hold(NOW)
    expire(sessions)
    assert successor.hold(NOW), "the frozen one still has the kernel lock, but the lease ran out"
    assert not frozen.hold(NOW + timedelta(seconds=11))
    assert not frozen.hold(NOW + timedelta(seconds=12)), "a lock that the other never had proves nothing"
    assert require(sessions, successor) == 2
    assert successor.hold(NOW + timedelta(seconds=20)), "which takes it with its next renewal"
    assert locks[1].take()
    assert not locks[0].take()


def _hold_the_lock_until_killed(url: str, ready: Event) -> None:
    sessions = open_database(url, busy_timeout=PATIENCE)
    holder = a_holder(sessions, "child", kernel_lock(sessions), lasts=timedelta(hours=1))
    assert holder.hold(datetime.now(UTC))
    ready.set()
    signal.pause()


def test_a_killed_process_is_succeeded_though_its_lease_goes_on(
    sessions: Sessions, locks: list[KernelLock]
) -> None:
    url = sessions.engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold_the_lock_until_killed, args=(url, ready))
    child.start()
    assert ready.wait(PATIENCE)
    locks.append(kernel_lock(sessions))
    successor = a_holder(sessions, "heir", locks[0])
    assert not successor.hold(datetime.now(UTC))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(PATIENCE)
    # PostgreSQL notices a dead client by itself, and the lease would go on for an hour
    until(lambda: successor.hold(datetime.now(UTC)), "a successor")
    assert successor.fence == 2


def test_the_lock_file_lies_beside_the_database(sqlite_sessions: Sessions) -> None:
    assert isinstance(kernel_lock(sqlite_sessions), FileLock)


def test_a_database_in_memory_has_no_kernel_lock() -> None:
    assert isinstance(kernel_lock(open_database("sqlite://", busy_timeout=1)), NoLock)
