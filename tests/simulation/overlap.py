"""Calls that are under way at the same time, in one thread and in an order that a seed decides."""

import random
from types import TracebackType

from magister.control.lanes import Effect
from magister.domain.observed import Route

DEEPEST = 3
"""How many calls are under way at once at most."""

PROMPT = 0.7
"""The share of calls that begin as soon as they are asked for."""


class Occupied(BaseException):
    """Another call holds what this one needs: it has done nothing yet, and is made later."""


class Turnstile:
    """A lock for one thread: who finds it taken is told so, for nobody could wait for it."""

    def __init__(self) -> None:
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise Occupied
        self._taken = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taken = False


class OverlappingLanes:
    """Carry effects out one within the other: each begins while the request of another is on its way."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._waiting: list[tuple[Route, Effect]] = []
        self._under_way: list[Route] = []

    def busy(self, route: Route) -> bool:
        """Say whether an effect on this route waits or is under way."""
        return route in self._under_way or any(route is other for other, _ in self._waiting)

    def start(self, route: Route, effect: Effect) -> None:
        """Let `effect` begin when its turn comes."""
        self._waiting.append((route, effect))

    def close(self, timeout: float) -> bool:
        """Say whether nothing is left to do."""
        return not self._waiting

    def meanwhile(self) -> None:
        """Perhaps begin other effects while a request is on its way."""
        if self._under_way and len(self._under_way) < DEEPEST and self._rng.random() < 0.7:
            self._next()

    def finish(self) -> bool:
        """Carry out most of what waits, and say whether there was anything.

        Now and then one is left for later, as by a lane that is slow: then it meets what is begun next.
        """
        turns = sum(self._rng.random() < PROMPT for _ in self._waiting)
        for _ in range(turns):
            self._next()
        return turns > 0

    def _next(self) -> None:
        if not self._waiting:
            return
        route, effect = self._waiting.pop(self._rng.randrange(len(self._waiting)))
        self._under_way.append(route)
        try:
            effect()
        except Occupied:
            self._waiting.append((route, effect))
        finally:
            self._under_way.remove(route)
