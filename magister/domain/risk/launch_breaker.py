"""Pure: how boldly to rent, after what became of the last rentals."""

from collections.abc import Iterable
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
    A worker that verifies and ends within `short_life` by its own fault has failed; zero = it has not.
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
    short_life: timedelta = timedelta(minutes=5)


SERIES = 3
"""From so many short lives on a verification shows nothing new; a single one is that of a machine."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Tell what became of one rental that made a box: its worker verified, or it failed by its own fault.

    `ended_soon` = it failed although its worker had verified, since that ended shortly afterwards.
    """

    at: datetime
    rented_at: datetime
    verified: bool
    ended_soon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Tell one thing that happened to an instance: it failed, its worker verified, or ended soon after that.

    Of a worker that verified, `outlived_at` is when it had lived for longer than a short life; None = it has
    not. `on_trial` = it has not yet, and may still do so. An end is `excused` if many were lost at once.
    """

    instance: int
    at: datetime
    rented_at: datetime
    verified: bool = False
    ended_soon: bool = False
    excused: bool = False
    outlived_at: datetime | None = None
    on_trial: bool = False


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
    """Hold the last verdicts, the newest first; `blame` None = nothing speaks against the template.

    `canary_at` is when the youngest instance was rented whose worker verified, however long that lived;
    None = not among the last. `on_trial` is since when the workers verified that may still end soon.
    """

    verdicts: tuple[Verdict, ...] = ()
    blame: Blame | None = None
    canary_at: datetime | None = None
    on_trial: tuple[datetime, ...] = ()

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
    def short_lives(self) -> int:
        """Count the failures since a worker last verified whose own workers had verified and ended soon."""
        return sum(verdict.ended_soon for verdict in self.verdicts[: self.failures])

    def tripped(self, caution: Caution) -> bool:
        """Say whether the breaker is open; one worker that verifies closes it.

        After short lives it is one that lives on for longer than these: see `judge`.
        """
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

    def waiting(self, caution: Caution) -> int:
        """Count the verified workers that an open breaker waits for, to see whether they end soon as well."""
        return len(self.on_trial) if self.short_lives and self.tripped(caution) else 0

    def trial_ends(self, caution: Caution) -> datetime | None:
        """Return when the first of the workers that are waited for has lived long enough; None = none is."""
        if not self.waiting(caution):
            return None
        return min(self.on_trial) + caution.short_life


def judge(happened: Iterable[Event], now: datetime) -> Outlook:
    """Give each rental its verdict; the events come in the order in which they `happened`.

    1. An instance that failed before its worker verified is a failure.
    2. A worker that verified is a success at once, unless several have ended soon and none has outlived the
       threshold since. Then it is a success once it has: its verification alone shows nothing new.
    3. A worker that ended soon turns its verification into a failure.
    4. One that ended soon among many losses is none: something else is at fault. It is a failure all the
       same if it was rented after an earlier short life, and no worker has outlived the threshold since:
       then the trouble is not over, and each event would excuse the next.
    """
    events = tuple(happened)
    verdicts: dict[int, Verdict] = {}
    survivors = sorted(
        ((event.outlived_at, event) for event in events if event.outlived_at is not None),
        key=lambda one: one[0],
        reverse=True,
    )
    first_short: datetime | None = None
    short_lives = 0

    for event in (*events, None):
        until = now if event is None else event.at
        while survivors and survivors[-1][0] <= until:
            outlived_at, survivor = survivors.pop()
            if short_lives:  # it is the newest success, and closes the breaker
                verdicts.pop(survivor.instance, None)
                verdicts[survivor.instance] = Verdict(outlived_at, survivor.rented_at, verified=True)
            first_short, short_lives = None, 0
        if event is None:
            break
        if event.ended_soon:
            counts = not event.excused or (first_short is not None and event.rented_at > first_short)
            first_short = first_short or event.at
            if counts:
                verdicts.pop(event.instance, None)
                verdicts[event.instance] = Verdict(event.at, event.rented_at, verified=False, ended_soon=True)
                short_lives += 1
        elif not event.verified or short_lives < SERIES:
            verdicts[event.instance] = Verdict(event.at, event.rented_at, event.verified)
    verified = [event for event in events if event.verified]
    return Outlook(
        tuple(reversed(verdicts.values())),
        canary_at=max((event.rented_at for event in verified), default=None),
        on_trial=tuple(event.at for event in verified if event.on_trial),
    )
