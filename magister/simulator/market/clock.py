"""Simulated time: how fast it runs, and what date it is told as."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Calendar:
    """Tell simulated moments as dates of the caller's clock and back.

    Simulated time may run faster than the caller's and stands still while the simulator is down, but a caller
    compares `start_date` with its own clock; so every date on the wire is a real one.
    """

    simulated: float = 0.0
    real: float = 0.0
    speed: float = 1.0

    def told(self, moment: float) -> float:
        """Turn a simulated moment into Unix seconds as a caller would count them."""
        return self.real + (moment - self.simulated) / self.speed

    def meant(self, date: float) -> float:
        """Turn Unix seconds as a caller counts them into a simulated moment."""
        return self.simulated + (date - self.real) * self.speed


class Clock:
    """Give simulated time that advances `speed` times as fast as the monotonic clock."""

    def __init__(self, start: float, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self.speed = speed
        self._start = start
        self._monotonic = monotonic
        self._origin = monotonic()

    @classmethod
    def resuming(cls, moment: float | None, speed: float) -> Self:
        """Start at a saved moment, or at the wall clock's when there is none."""
        return cls(time.time() if moment is None else moment, speed)

    def __call__(self) -> float:
        """Give the simulated moment in seconds."""
        return self._start + (self._monotonic() - self._origin) * self.speed

    def calendar(self) -> Calendar:
        """Pin simulated to real dates as of now."""
        return Calendar(simulated=self(), real=time.time(), speed=self.speed)
