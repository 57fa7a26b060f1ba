"""No create of ours goes out between the pages of a listing: what it makes would be missing from it."""

import threading
from dataclasses import dataclass, field
from types import TracebackType

from magister.control.executor import Executor
from magister.control.launcher import Renter
from magister.domain.actions import List, Send
from magister.states import State
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, a_row, an_offer
from tests.controller import Controller
from tests.waiting import PATIENCE


@dataclass
class WatchedLock:
    """A lock that tells when somebody who finds it taken begins to wait for it."""

    waited_for: threading.Event
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> None:
        if not self.lock.acquire(blocking=False):
            self.waited_for.set()
            self.lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.release()


def test_a_create_waits_until_every_page_of_a_listing_is_read(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=1))
    pool.step()
    with sqlite_sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, offer=an_offer(), sent=False, at=pool.clock.now)
    came = threading.Event()  # the create waits, or is sent
    executor = _executor(pool, WatchedLock(came))
    order: list[str] = []
    create = threading.Thread(target=executor.call, args=(Send(row, "a test"),))

    def told(name: str) -> None:
        if name == "listing":
            create.start()
            assert came.wait(PATIENCE)
            order.append("listed")
        elif name == "create":
            order.append("created")
            came.set()

    pool.vast.boundary = told
    executor.call(List("the poll"))
    create.join(PATIENCE)
    assert order == ["listed", "created"]


def _executor(pool: Controller, lock: WatchedLock) -> Executor:
    clock = pool.clock.wall
    renter = Renter(
        sessions=pool.sessions,
        vast=pool.vast,
        lease=pool.lease,
        fleet=pool.fleet,
        order=pool.order,
        clock=clock,
    )
    return Executor(
        sessions=pool.sessions,
        vast=pool.vast,
        hierophant=pool.hierophant,
        lease=pool.lease,
        fleet=pool.fleet,
        renter=renter,
        clock=clock,
        market_still=lock,
    )
