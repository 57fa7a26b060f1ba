"""One lane for each Vast route, so that a slow call on one never holds up another."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

import structlog

from magister.domain.observed import Route

log = structlog.get_logger("magister.worker")

Effect = Callable[[], None]


class Lanes(Protocol):
    """Carry effects out, at most one at a time on each route."""

    def busy(self, route: Route) -> bool:
        """Say whether an effect on this route is still under way."""

    def start(self, route: Route, effect: Effect) -> None:
        """Carry `effect` out on its route, which must not be busy; it must not raise."""

    def close(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for what is under way, and say whether all of it ended."""


class InlineLanes:
    """Carry each effect out at once, in the caller's thread: what happens is then determined."""

    def busy(self, route: Route) -> bool:
        """Say no: nothing outlasts `start`."""
        return False

    def start(self, route: Route, effect: Effect) -> None:
        """Carry `effect` out before returning."""
        effect()

    def close(self, timeout: float) -> bool:
        """Say yes: nothing is under way."""
        return True


class ThreadLanes:
    """Carry effects out in one daemon thread for each route that is used."""

    def __init__(self, done: Callable[[], None]) -> None:
        """Take what to call after each effect, from the lane's thread."""
        self._done = done
        self._work: dict[Route, SimpleQueue[Effect]] = {}
        self._idle: dict[Route, threading.Event] = {}

    def busy(self, route: Route) -> bool:
        """Say whether an effect on this route is still under way."""
        return route in self._idle and not self._idle[route].is_set()

    def start(self, route: Route, effect: Effect) -> None:
        """Hand `effect` to the thread of its route; only one thread may call this."""
        if route not in self._work:
            self._work[route], self._idle[route] = SimpleQueue(), threading.Event()
            name = f"lane-{route}"
            threading.Thread(target=self._carry, args=(route,), name=name, daemon=True).start()
        self._idle[route].clear()
        self._work[route].put(effect)

    def close(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds in all for what is under way, and say whether all of it ended."""
        ends = time.monotonic() + timeout
        ended = [idle.wait(max(ends - time.monotonic(), 0)) for idle in self._idle.values()]
        return all(ended)

    def _carry(self, route: Route) -> None:
        while True:
            effect = self._work[route].get()
            try:
                effect()
            except Exception:  # an effect must not raise; should one do so, its route goes on all the same
                log.exception("lane.effect_raised", route=route)
            self._idle[route].set()
            self._done()
