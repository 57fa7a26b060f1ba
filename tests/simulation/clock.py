"""Virtual time: it moves when somebody sleeps, and what is due meanwhile happens in its order."""

import heapq
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = 1_795_521_600.0
"""Unix seconds at which a run begins if nothing else is said: noon UTC of a day in November 2026."""

SLICE = 5.0
"""Seconds after which the world is looked at again while somebody sleeps."""


class VirtualTime:
    """Keep the one true time, and a wall clock that may be wrong.

    `now` is in Unix seconds and is what Vast's clock shows; `skew` is by how many seconds the wall clock of
    Magister's host is ahead of it.
    """

    def __init__(self, each: Callable[[], None], *, begins: float = 0.0) -> None:
        """Take what to do after each slice of time; it `begins` so many seconds after EPOCH."""
        self.now = EPOCH + begins
        self.skew = 0.0
        self.each = each
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._busy = False

    def true(self) -> float:
        """Give the true time in Unix seconds."""
        return self.now

    def wall(self) -> datetime:
        """Read the wall clock of Magister's host."""
        return datetime.fromtimestamp(EPOCH, UTC) + timedelta(seconds=self.now - EPOCH + self.skew)

    def monotonic(self) -> float:
        """Read a clock that is never set."""
        return self.now - EPOCH

    def at(self, moment: float, what: Callable[[], None]) -> None:
        """Let something happen at a moment of the true time."""
        self._count += 1
        heapq.heappush(self._agenda, (moment, self._count, what))

    @property
    def pending(self) -> bool:
        """Say whether something is still to happen."""
        return bool(self._agenda)

    def sleep(self, secs: float) -> None:
        """Let time pass, and everything happen that is due meanwhile."""
        if self._busy:
            raise RuntimeError("what happens while somebody sleeps must not sleep itself")
        until = self.now + secs
        while self.now < until:
            soonest = self._agenda[0][0] if self._agenda else until
            self.now = max(self.now, min(until, self.now + SLICE, soonest))
            self._busy = True
            try:
                while self._agenda and self._agenda[0][0] <= self.now:
                    heapq.heappop(self._agenda)[2]()
                self.each()
            finally:
                self._busy = False


class Until(threading.Event):
    """An event that is set once a moment has come: it ends the loop there."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self.time = time
        self.moment = time.now

    def is_set(self) -> bool:
        """Say whether the moment has come."""
        return self.time.now >= self.moment


class Alarm(threading.Event):
    """What the loop waits on between two steps: to wait is to sleep in virtual time."""

    def __init__(
        self, time: VirtualTime, between: Callable[[], None], finish: Callable[[], bool] = bool
    ) -> None:
        """Take what to do between two steps, before time passes.

        `finish` carries out the calls that were begun, and says whether there was any.
        """
        super().__init__()
        self._time = time
        self._between = between
        self._finish = finish

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep for `timeout` seconds of virtual time, or less if something that was begun has ended."""
        self._between()
        if self._finish():
            self.set()
            return True
        self._time.sleep(timeout or 0.0)
        return False
