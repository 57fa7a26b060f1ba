"""Pure: how boldly to rent, after what became of the last rentals."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from magister.states import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Say how failures in a row slow the renting down.

    `backoff` is how long to rent nothing after so many tries failed, the last repeats; `recent` is how long
    a failure counts if no worker verifies before; `trip` failures among the last `window` rentals open
    the breaker, since it is then the template or the network, and not a machine. Another one opens when
    more than `loss_share` of the verified, and more than one, are lost within `loss_window`; its first
    canary is tried `canary_after` the first loss. `quarantine` is how long a machine that failed is tried
    last, four times longer each time, `quarantine_cap` at most; so is a host with `host_trip` such machines.
    """

    backoff: tuple[timedelta, ...] = tuple(timedelta(minutes=minutes) for minutes in (0, 1, 2, 5, 10, 30))
    recent: timedelta = timedelta(minutes=30)
    window: int = 6
    trip: int = 4
    loss_window: timedelta = timedelta(minutes=10)
    loss_share: float = 0.34
    canary_after: timedelta = timedelta(minutes=2)
    quarantine: timedelta = timedelta(hours=1)
    quarantine_cap: timedelta = timedelta(days=7)
    host_trip: int = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Tell what became of one rental that made a box: its worker verified, or it failed by its own fault."""

    at: datetime
    rented_at: datetime
    verified: bool


@dataclass(frozen=True, slots=True)
class Blame:
    """Say that boxes failed in the same way on so many hosts, and that the template never worked anywhere.

    `words` is what the logs of the last one say, in a line; "" = nothing.
    """

    failure: Failure
    hosts: int
    words: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Hold the last verdicts, the newest first; `blame` None = nothing speaks against the template."""

    verdicts: tuple[Verdict, ...] = ()
    blame: Blame | None = None

    @property
    def failures(self) -> int:
        """Count the failures since a worker last verified."""
        return next((n for n, verdict in enumerate(self.verdicts) if verdict.verified), len(self.verdicts))

    @property
    def tries(self) -> int:
        """Count the failures since a worker last verified, those rented before any was known as one try.

        A pool that is filled rents all it wants at once; that the machines first in line are bad may be
        learned of all of them together, and is no reason to wait as if each had been tried after the other.
        """
        failed = self.verdicts[: self.failures]
        known_at = min((verdict.at for verdict in failed), default=None)
        again = sum(known_at is not None and verdict.rented_at > known_at for verdict in failed)
        return again + bool(failed)

    @property
    def canary_at(self) -> datetime | None:
        """Return when the youngest box was rented whose worker verified; None = not among the last."""
        return max((verdict.rented_at for verdict in self.verdicts if verdict.verified), default=None)

    def tripped(self, caution: Caution) -> bool:
        """Say whether the breaker is open; one worker that verifies closes it."""
        if self.failures and self.blame is not None:
            return True
        window = self.verdicts[: caution.window]
        return self.failures > 0 and sum(not verdict.verified for verdict in window) >= caution.trip

    def rent_from(self, caution: Caution) -> datetime | None:
        """Return when renting may go on after the last failure; None = nothing failed last."""
        if self.failures == 0:
            return None
        return self.verdicts[0].at + caution.backoff[min(self.tries, len(caution.backoff)) - 1]

    def unverified_at_once(self, target: int, caution: Caution, now: datetime) -> int | None:
        """Return how many boxes may wait for their workers at the same time; None = any number."""
        if self.tripped(caution):
            return 1
        if self.failures and now - self.verdicts[0].at < caution.recent:
            return max(2, target // 4)
        return None
