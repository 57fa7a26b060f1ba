"""Keep every route at Vast's pace, apart from the others."""

from collections.abc import Callable, Mapping
from threading import Lock

from magister.domain.observed import Route

MARGIN = 1.04
"""Calls begin at least this many intervals apart."""

HURRY = 1.08
"""A create follows the one before after at most this many intervals, however long the answer took."""

_TICK = 0.001  # seconds; a shorter wait is none
_DOUBLINGS = 30


class Pacer:
    """Space the calls of each route and hold it closed after a 429; safe to use from several threads.

    Vast measures the time between two arrivals. An answer proves that its request had arrived, so the next
    one is held for an interval after the answer; a create, of which many are wanted quickly, up to `HURRY`.
    """

    def __init__(
        self,
        intervals: Mapping[Route, float],
        *,
        backoff: float,
        cap: float,
        clock: Callable[[], float],
        nap: Callable[[float], None],
    ) -> None:
        """Take the seconds between calls of a route (absent = 0) and the wait after a 429 that names none.

        `backoff`, `cap` and the monotonic `clock` are in seconds; `nap` waits so many, or raises Stopping.
        """
        self._intervals = dict(intervals)
        self._backoff = backoff
        self._cap = cap
        self._clock = clock
        self._nap = nap
        self._lock = Lock()
        self._began: dict[Route, float] = {}
        self._opens: dict[Route, float] = {}
        self._strikes: dict[Route, int] = {}

    def wait_secs(self, route: Route) -> float:
        """Say how many seconds until the route is free; 0 = now."""
        with self._lock:
            return self._wait(route)

    def enter(self, route: Route) -> None:
        """Wait for a slot of the route and take it; raises what `nap` raises."""
        while (wait := self._take(route)) > 0:
            self._nap(wait)

    def left(self, route: Route) -> None:
        """Note that a call is over, answered or not."""
        interval = self._interval(route)
        with self._lock:
            free = self._clock() + interval
            if route is Route.CREATE:
                free = min(free, self._began.get(route, free) + interval * HURRY)
            self._opens[route] = max(free, self._opens.get(route, free))

    def limited(self, route: Route, retry_after: float | None) -> None:
        """Close the route after a 429: for `retry_after` seconds, or if None or 0 for the backoff.

        The backoff doubles with each 429 in a row, up to the cap.
        """
        with self._lock:
            strikes = self._strikes.get(route, 0)
            self._strikes[route] = strikes + 1
            guess = min(self._cap, self._backoff * 2 ** min(strikes, _DOUBLINGS))
            opens = self._clock() + (retry_after or guess)
            self._opens[route] = max(opens, self._opens.get(route, opens))

    def cleared(self, route: Route) -> None:
        """Forget the 429s in a row: Vast answered something else."""
        with self._lock:
            self._strikes.pop(route, None)

    def _interval(self, route: Route) -> float:
        return self._intervals.get(route, 0.0)

    def _wait(self, route: Route) -> float:
        now = self._clock()
        wait = self._opens.get(route, now) - now
        return wait if wait >= _TICK else 0.0

    def _take(self, route: Route) -> float:
        """Take the slot if the route is free, else say how many seconds it is not."""
        with self._lock:
            wait = self._wait(route)
            if not wait:
                now = self._clock()
                self._began[route] = now
                self._opens[route] = now + self._interval(route) * MARGIN
            return wait
