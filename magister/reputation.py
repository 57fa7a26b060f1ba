"""Pure: what may be expected of a machine, from our own rentals on it, on its host, of its GPU and of all."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from magister.states import Failure

HALF_LIFE = timedelta(days=14)
"""After so long a rental counts half as much."""

SHORTEST_LIFE = 60.0
"""Seconds: no box is expected to work for less."""

NEGLIGIBLE = 1e-6
"""What rounding leaves of a sum when all of it is taken away."""

BELIEF = 1.0
"""Rentals that a level has to show to weigh as much as what is known of the level above it.

It is small, for machines differ: one on which a worker never verified hardly is one that mostly works.
"""

EMPTY_PLACE = 5
"""By how much an hour of an empty place is dearer than one of a box: it is wanted for what it earns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """Tell what came of one rental that made a box; times in seconds.

    `boot` is how long it took until its worker verified, None = it never did; `worked` how long it then
    was kept. `failure` None = it goes on, or it ended by nobody's fault.
    """

    at: datetime
    machine_id: int
    host_id: int | None
    gpu_name: str | None
    boot: float | None
    worked: float = 0.0
    failure: Failure | None = None
    template_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """Say what may be expected of a rental.

    `verify` is the probability that its worker verifies, `boot` how long that takes, and `life` how long
    it then works; both in seconds.
    """

    verify: float
    boot: float
    life: float


NOTHING_KNOWN = Expectation(verify=0.8, boot=180.0, life=12 * 3600.0)
"""What is expected before anything was rented."""


@dataclass(slots=True)
class Tally:
    """Sum up rentals, each with the weight that its age leaves it."""

    tried: float = 0.0
    verified: float = 0.0
    boot: float = 0.0
    worked: float = 0.0
    ended: float = 0.0  # verified ones whose life is over by a failure

    def add(self, rental: Rental, weight: float) -> None:
        """Count one rental."""
        self.tried += weight
        if rental.boot is None:
            return
        self.verified += weight
        self.boot += weight * rental.boot
        self.worked += weight * rental.worked
        self.ended += weight * (rental.failure is not None)

    def without(self, part: "Tally") -> "Tally":
        """Return the sums less those of a part, so that nothing is counted at two levels.

        A machine whose host was not known once is no part of it: then nothing is left, not less.
        """
        names = self.__dataclass_fields__
        return Tally(*(max(getattr(self, name) - getattr(part, name), 0.0) for name in names))

    def shrunk(self, above: Expectation) -> Expectation:
        """Return what this shows, drawn towards what is expected one level above."""
        return Expectation(
            verify=(self.verified + BELIEF * above.verify) / (self.tried + BELIEF),
            boot=(self.boot + BELIEF * above.boot) / (self.verified + BELIEF),
            life=self._life(above.life),
        )

    def _life(self, above: float) -> float:
        """Average orders of magnitude: ten deaths within minutes weigh more than a guess of half a day."""
        if self.ended < NEGLIGIBLE:
            return max(self.worked, above)
        shown = max(self.worked / self.ended, SHORTEST_LIFE)
        return math.exp((self.ended * math.log(shown) + BELIEF * math.log(above)) / (self.ended + BELIEF))


NONE = Tally()
"""What a level shows on which nothing was rented."""


@dataclass(frozen=True, slots=True)
class Reputation:
    """Hold the sums by machine, host and GPU model, and of all rentals."""

    overall: Tally = field(default_factory=Tally)
    gpus: Mapping[str, Tally] = field(default_factory=dict)
    hosts: Mapping[int, Tally] = field(default_factory=dict)
    machines: Mapping[int, Tally] = field(default_factory=dict)

    def of(self, machine_id: int, host_id: int, gpu_name: str) -> Expectation:
        """Return what may be expected of a machine, from what it showed, its host, its GPU, and all."""
        levels = (
            self.overall,
            self.gpus.get(gpu_name, NONE),
            self.hosts.get(host_id, NONE),
            self.machines.get(machine_id, NONE),
        )
        expected = NOTHING_KNOWN
        for level, below in pairwise((*levels, NONE)):
            expected = level.without(below).shrunk(expected)
        return expected


def reputation(rentals: Iterable[Rental], now: datetime) -> Reputation:
    """Sum up rentals that made a box, whether they are over or go on."""
    overall = Tally()
    gpus: dict[str, Tally] = {}
    hosts: dict[int, Tally] = {}
    machines: dict[int, Tally] = {}
    for rental in rentals:
        weight = 0.5 ** (max(now - rental.at, timedelta()) / HALF_LIFE)
        overall.add(rental, weight)
        machines.setdefault(rental.machine_id, Tally()).add(rental, weight)
        if rental.host_id is not None:
            hosts.setdefault(rental.host_id, Tally()).add(rental, weight)
        if rental.gpu_name is not None:
            gpus.setdefault(rental.gpu_name, Tally()).add(rental, weight)
    return Reputation(overall, gpus, hosts, machines)


def cost_per_verified_hour(price: int, expected: Expectation, trial: timedelta) -> float:
    """Return what an hour of work is expected to cost at `price`, in the unit of `price`.

    A rental that fails takes all the `trial`, and one that verifies its boot. It is paid for meanwhile, and
    the place in the pool stands empty, which costs EMPTY_PLACE times as much.
    """
    failures = (1 - expected.verify) / expected.verify
    idle = expected.boot + failures * trial.total_seconds()
    return price * (expected.life + (1 + EMPTY_PLACE) * idle) / expected.life
