"""The database as a request meets it: reads that do not wait, writes that wait while it is in trouble."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError
from sqlalchemy.orm import Session

from magister.errors import DatabaseUnusable, InstanceEnded, TooEarly
from magister.store.db.engine import Sessions, obstacle, trouble
from magister.web.server.limited_log import LimitedLog
from magister.web.waiting import KNOWN_PLACES, OTHER_PLACES, Place, WaitingRoom

T = TypeVar("T")

WRITERS = 8
"""Calls that write, or wait for the lock to, at a time: half of the connections are for those who read."""

LET_IN = 1.0
"""Seconds that a call which must not wait is kept from writing by others."""

TROUBLE = (OperationalError, InterfaceError, TimeoutError)
"""What passes by itself: a lock, a restart, a connection that broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Run the work of one request in one transaction; `patience` is in seconds."""

    sessions: Sessions
    clock: Callable[[], datetime]
    nap: Callable[[float], None]
    monotonic: Callable[[], float]
    patience: float
    log: LimitedLog = field(default_factory=LimitedLog)
    known_calls: WaitingRoom = field(default_factory=lambda: WaitingRoom(KNOWN_PLACES))
    other_calls: WaitingRoom = field(default_factory=lambda: WaitingRoom(OTHER_PLACES))
    writers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(WRITERS))

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what `work` reads. Raises DatabaseUnusable at once if the database does not answer."""
        try:
            return self._read(work)
        except (DBAPIError, TimeoutError) as error:
            self._raise_if_known(error)
            raise

    def place(self, client: str, *, known: bool) -> AbstractContextManager[Place | None]:
        """Give a call from `client` a place to wait in, one among the known or among the others."""
        room = self.known_calls if known else self.other_calls
        return room.place(client, self.monotonic() + self.patience)

    def read_once_listed(self, work: Callable[[Session], T], place: Place) -> T:
        """Return what `work` reads; while the loop has not listed anything yet it is begun again.

        After a lost database, workers are heard before the first listing has named their instances, and a
        worker asks only once. Raises what `write` raises.
        """
        return self._patiently(lambda: self._read(work), place)

    def write(self, work: Callable[[Session, datetime], T], place: Place | None) -> T:
        """Return what `work` returns, committed; it is begun again while the database fails.

        A commit whose answer was lost is made again too, so `work` must be harmless when repeated. Without a
        place it is tried once. Raises DatabaseUnusable when the place is lost or its time is over, or what
        the driver raised if that is not known to be the database's own trouble.
        """
        return self._patiently(lambda: self._write(work, place), place)

    def _patiently(self, attempt: Callable[[], T], place: Place | None) -> T:
        while True:
            try:
                return attempt()
            except (DBAPIError, TimeoutError) as error:
                left = self._left(place)
                if left <= 0:
                    self._raise_if_known(error)
                    raise
            except TooEarly:
                left = self._left(place)
                if left <= 0:
                    raise
            self.nap(min(max(self.known_calls.pause(), self.other_calls.pause()), left))

    def _left(self, place: Place | None) -> float:
        return 0.0 if place is None or place.lost else place.until - self.monotonic()

    def obstacle(self) -> str:
        """Try to write, and say what keeps it from being done; "" = nothing does."""
        found = obstacle(self.sessions)
        return "" if found is None else f"the database: {found.what}; {found.cure}"

    def _read(self, work: Callable[[Session], T]) -> T:
        with self.sessions.read() as session:
            return work(session)

    def _write(self, work: Callable[[Session, datetime], T], place: Place | None) -> T:
        """Write unless so many do that a further one would keep a connection from those who read."""
        if not self.writers.acquire(timeout=max(self._left(place), LET_IN)):
            raise TimeoutError("too many calls wait to write")
        try:
            return self._once(work)
        finally:
            self.writers.release()

    def _once(self, work: Callable[[Session, datetime], T]) -> T:
        with self.sessions.write() as session:
            session.connection()  # wait for the lock here, so that the moment is when the work begins
            try:
                return work(session, self.clock())
            except InstanceEnded as error:
                ended = error  # the listing it asked for is committed all the same
        raise ended

    def _raise_if_known(self, error: SQLAlchemyError) -> None:
        """Raise DatabaseUnusable for what is the database's trouble: what passes, or a corrupt page say."""
        found = trouble(error)
        if found is None and not isinstance(error, TROUBLE):
            return
        cause = getattr(error, "orig", None) or error
        known = {} if found is None else {"what": found.what, "cure": found.cure}
        self.log.warning("web.database_trouble", error=" ".join(str(cause).split()), **known)
        raise DatabaseUnusable("the database is busy or does not answer; ask again later") from error
