"""The database as a request meets it: reads that do not wait, writes that wait while it is in trouble."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError
from sqlalchemy.orm import Session

from magister.database import Sessions, obstacle, trouble
from magister.errors import DatabaseUnusable, InstanceEnded, TooEarly

T = TypeVar("T")

log = structlog.get_logger("magister.web")

PAUSE = 0.25
"""Seconds between two tries."""

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

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what `work` reads. Raises DatabaseUnusable at once if the database does not answer."""
        try:
            with self.sessions.read() as session:
                return work(session)
        except (DBAPIError, TimeoutError) as error:
            _raise_if_known(error)
            raise

    def write(self, work: Callable[[Session, datetime], T], *, patient: bool = True) -> T:
        """Return what `work` returns, committed; it is begun again while the database fails.

        So it is while the loop has not listed anything yet: after a lost database, workers are heard
        before the first listing has named their boxes, and a worker asks only once. A commit whose
        answer was lost is made again too, so `work` must be harmless when repeated. What is not `patient`
        is tried once. Raises DatabaseUnusable when the patience is at its end, or what the driver raised
        if that is not known to be the database's own trouble.
        """
        deadline = self.monotonic() + (self.patience if patient else 0.0)
        while True:
            try:
                return self._once(work)
            except (DBAPIError, TimeoutError) as error:
                left = deadline - self.monotonic()
                if left <= 0:
                    _raise_if_known(error)
                    raise
            except TooEarly:
                left = deadline - self.monotonic()
                if left <= 0:
                    raise
            self.nap(min(PAUSE, left))

    def obstacle(self) -> str:
        """Try to write, and say what keeps it from being done; "" = nothing does."""
        found = obstacle(self.sessions)
        return "" if found is None else f"the database: {found.what}; {found.cure}"

    def _once(self, work: Callable[[Session, datetime], T]) -> T:
        with self.sessions.write() as session:
            session.connection()  # wait for the lock here, so that the moment is when the work begins
            try:
                return work(session, self.clock())
            except InstanceEnded as error:
                ended = error  # the listing it asked for is committed all the same
        raise ended


def _raise_if_known(error: SQLAlchemyError) -> None:
    """Raise DatabaseUnusable for what is the database's trouble: what passes, or a corrupt page say."""
    found = trouble(error)
    if found is None and not isinstance(error, TROUBLE):
        return
    cause = getattr(error, "orig", None) or error
    known = {} if found is None else {"what": found.what, "cure": found.cure}
    log.warning("web.database_trouble", error=" ".join(str(cause).split()), **known)
    raise DatabaseUnusable("the database is busy or does not answer; ask again later") from error
