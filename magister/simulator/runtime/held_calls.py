"""Calls that are kept waiting on purpose."""

import itertools
import threading
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """Name a call that is held; `since` is real Unix time."""

    id: int
    route: str
    when: str
    path: str
    since: float


class Pen:
    """Hold calls until they are released; closing it lets all of them go without an answer."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: dict[int, Held] = {}
        self._answers: dict[int, bool] = {}
        self._ids = itertools.count(1)
        self._closed = False

    def hold(self, route: str, when: str, path: str) -> bool:
        """Wait until released and say whether to go on (True) or to cut the connection."""
        with self._condition:
            held = Held(next(self._ids), route, when, path, time.time())
            self._held[held.id] = held
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._closed or held.id in self._answers)
            self._held.pop(held.id, None)
            return self._answers.pop(held.id, False)

    def pause(self, secs: float) -> None:
        """Wait so many real seconds, less if the pen is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed, timeout=secs)

    def held(self, wait: float = 0.0) -> list[dict[str, object]]:
        """Give the calls being held, waiting up to so many real seconds for one."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._held, timeout=wait)
            return [asdict(held) for held in self._held.values()]

    def release(self, held_id: int | None = None, *, cut: bool = False) -> int:
        """Let one call or all go on, or cut them; gives how many."""
        with self._condition:
            chosen = [key for key in self._held if held_id in (None, key) and key not in self._answers]
            self._answers |= dict.fromkeys(chosen, not cut)
            self._condition.notify_all()
            return len(chosen)

    def close(self) -> None:
        """Let all go and hold nothing any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
