"""Pure: how boldly to rent, after what became of the last rentals."""

from dataclasses import dataclass
from datetime import datetime, timedelta

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (0, 1, 2, 5, 10, 30))
"""How long to rent nothing after so many failures in a row; the last repeats."""

RECENT = timedelta(minutes=30)
"""How long a failure makes the loop careful, unless a worker verifies before."""

WINDOW = 6
"""The last rentals that are looked at together."""

TRIP = 4
"""So many failures among those open the breaker: it is the template or the network, not a machine."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Tell what became of one rental that made a box: its worker verified, or it failed by its own fault."""

    at: datetime
    verified: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """Hold the last verdicts, the newest first."""

    verdicts: tuple[Verdict, ...] = ()

    @property
    def failures(self) -> int:
        """Count the failures since a worker last verified."""
        return next((n for n, verdict in enumerate(self.verdicts) if verdict.verified), len(self.verdicts))

    @property
    def tripped(self) -> bool:
        """Say whether the breaker is open; one worker that verifies closes it."""
        window = self.verdicts[:WINDOW]
        return self.failures > 0 and sum(not verdict.verified for verdict in window) >= TRIP

    def rent_from(self) -> datetime | None:
        """Return when renting may go on after the last failure; None = nothing failed last."""
        if self.failures == 0:
            return None
        return self.verdicts[0].at + BACKOFF[min(self.failures, len(BACKOFF)) - 1]

    def unverified_at_once(self, target: int, now: datetime) -> int | None:
        """Return how many boxes may wait for their workers at the same time; None = any number."""
        if self.tripped:
            return 1
        if self.failures and now - self.verdicts[0].at < RECENT:
            return max(2, target // 4)
        return None
