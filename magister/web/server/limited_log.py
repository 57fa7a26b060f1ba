"""Log what strangers can cause at a bounded rate, so that nobody can fill a log; the rest is counted."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

LINES = 20
"""Lines of one kind that are written within SECS seconds at most."""

SECS = 60.0

KINDS = 1000
"""Kinds that are remembered at a time."""

Write = Callable[..., object]


@dataclass(slots=True)
class _Window:
    """Count the lines of one kind since `began`, by the monotonic clock."""

    began: float
    written: int = 0
    left_out: int = 0


class LimitedLog:
    """Write events of the web side; `clock` is in seconds and never goes back."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing written."""
        self._log = structlog.get_logger("magister.web")
        self._clock = clock
        self._windows: dict[tuple[str, object], _Window] = {}
        self._lock = threading.Lock()

    def info(self, event: str, *, per: object = None, **fields: object) -> None:
        """Write what is usual; events that differ in `per` are limited each for itself."""
        self._write(self._log.info, event, per, fields)

    def warning(self, event: str, *, per: object = None, **fields: object) -> None:
        """Write what an operator should see."""
        self._write(self._log.warning, event, per, fields)

    def error(self, event: str, *, per: object = None, **fields: object) -> None:
        """Write what nobody foresaw."""
        self._write(self._log.error, event, per, fields)

    def _write(self, write: Write, event: str, per: object, fields: dict[str, object]) -> None:
        about = self._admitted((event, per))
        if about is not None:
            write(event, **fields, **about)

    def _admitted(self, kind: tuple[str, object]) -> dict[str, object] | None:
        """Return what a line says of those that were left out; None = it is left out itself."""
        with self._lock:
            now, about = self._clock(), dict[str, object]()
            window = self._windows.get(kind)
            if window is None or now - window.began >= SECS:
                if window is not None and window.left_out:
                    about["left_out"] = window.left_out
                self._forget_old(now)
                self._windows[kind] = window = _Window(now)
            if window.written >= LINES:
                window.left_out += 1
                return None
            window.written += 1
            if window.written == LINES:
                about["further"] = f"counted until {SECS:.0f} s after the first of {LINES}, and not written"
            return about

    def _forget_old(self, now: float) -> None:
        if len(self._windows) < KINDS:
            return
        self._windows = {kind: found for kind, found in self._windows.items() if now - found.began < SECS}
