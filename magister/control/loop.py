"""Repeat the worker's step whenever something is due, until asked to stop."""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister.control.cache import route_of
from magister.control.dispatcher import in_a_line
from magister.control.reconciler import Clock, Report, Rhythm, Worker
from magister.store import instances
from magister.store.db.engine import Sessions, trouble
from magister.vast.protocol import Vast

log = structlog.get_logger("magister.loop")

SOONEST = 0.02
"""Seconds: the shortest wait between two steps, so that no mistake of a plan can spin."""

OVERLAP = timedelta(seconds=5)
"""How long before a step something may have become due that the step did not see: committed a little later,
or by the clock of another machine."""

STANDBY = 1.0
"""Seconds between two tries to take the lease from another loop."""

DATABASE_WAITS = (1.0, 2.0, 5.0, 10.0)
"""Seconds between tries while the database is in trouble; the last repeats."""


@dataclass(slots=True, kw_only=True)
class Loop:
    """Run one worker: `wake` begins the next step at once, `stop` ends the loop after the present one."""

    worker: Worker
    sessions: Sessions
    vast: Vast
    clock: Clock
    rhythm: Rhythm
    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)
    turns: int = 0  # how often it has looked for something to do
    _report: Report | None = None
    _stepped_at: float = 0.0
    _stepped_for: datetime | None = None
    _failures: int = 0

    def run(self) -> None:
        """Step until `stop` is set; a database in trouble is waited for and never ends the loop.

        Raises DatabaseReplaced if its file is no longer the one that was opened: what is known would be
        written into another history.
        """
        while not self.stop.is_set():
            self.turns += 1
            try:
                if self._due():
                    self.wake.clear()
                    self._stepped_at = self.clock.monotonic()
                    now = self.clock.wall()
                    self._report = self.worker.step(now)
                    self._stepped_for = now
                self._failures = 0
            except SQLAlchemyError as error:
                self._failures += 1
                self._tell(error)
            self.wake.wait(self._pause())

    def _tell(self, error: SQLAlchemyError) -> None:
        """Log what is wrong with the database, and what would cure it if that is known."""
        found = trouble(error)
        known = {} if found is None else {"what": found.what, "cure": found.cure}
        log.warning("loop.database_trouble", error=in_a_line(error), **known)

    def end(self) -> None:
        """Ask the loop to stop; safe to call from a signal handler."""
        self.stop.set()
        self.wake.set()

    def _due(self) -> bool:
        """Say whether a step could do something: cheap, for it is asked at every tick."""
        report, now = self._report, self.clock.wall()
        if report is None or not report.acting or report.deferred or self.wake.is_set():
            return True
        if report.next_at is not None and report.next_at <= now:
            return True
        if not 0 <= self.clock.monotonic() - self._stepped_at < self.rhythm.heartbeat:
            return True
        with self.sessions.read() as session:
            return instances.anything_due(session, min(self._stepped_for or now, now) - OVERLAP, now)

    def _pause(self) -> float:
        """Return how many seconds to wait: until a deferred call's route opens, at most a tick."""
        if self._failures:
            return DATABASE_WAITS[min(self._failures, len(DATABASE_WAITS)) - 1]
        report, pause = self._report, self.rhythm.tick
        if report is None:
            return pause
        if not report.acting:
            return STANDBY
        waits = [self.vast.wait_secs(route_of(action)) for action in report.deferred]
        pause = min([pause, *(wait for wait in waits if wait > 0)])
        if report.next_at is not None:
            pause = min(pause, _seconds(report.next_at, self.clock.wall()))
        return max(pause, SOONEST)


def _seconds(until: datetime, now: datetime) -> float:
    return (until - now).total_seconds()
