"""Pure: what may be expected of a machine, from our own rentals on it, on its host, and of others like it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from magister.domain.risk.life_expectancy import (
    SHARES,
    Lives,
    Shares,
    among,
    classify,
    count,
    expected_life,
    shares,
)
from magister.states import Failure

HALF_LIFE = timedelta(days=14)
"""After so long a rental counts half as much."""

BELIEF = 1.0
"""Rentals that a level has to show to weigh as much as what is known of the level above it.

It is small, for machines differ: one on which a worker never verified hardly is one that mostly works.
"""

BOOT_BELIEF = 4.0
"""The same for how long a boot takes: it differs more from time to time than between machines."""

BAND = math.log(1.1)
"""How wide a band of prices is, as a logarithm: what asks a tenth more is in the next one."""

NEAR = 0.5
"""How much a rental counts in the bands next to its own."""

ANY, SAME_MODEL, SAME_PRICE = 0.1, 0.2, 1.0
"""How much rentals on other hosts count: on any machine, on one of the model, on one that asks the same, too.

They are weak witnesses unless alike: that ten of the cheapest machines failed says that the eleventh is bad
as well, and hardly anything of one that costs a third more.
"""

EMPTY_PLACE = 5
"""What an hour of an empty place costs, in hours of an instance: an instance is wanted for what it earns."""

SHORTEST_LIFE = 60.0
"""Seconds that an instance is expected to work at least, however soon its offer ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """Tell what came of one rental that made a box; times in seconds.

    `boot` is how long it took until its worker verified, None = it never did; `worked` how long it then
    was kept. `price` is in micro-dollars per hour, None = unknown. `failure` None = it goes on, or it ended
    by nobody's fault. `ended_soon` = its worker verified, and failed so soon afterwards that the try failed.
    """

    at: datetime
    machine_id: int
    host_id: int | None
    gpu_name: str | None
    boot: float | None
    price: int | None = None
    worked: float = 0.0
    failure: Failure | None = None
    template_hash: str | None = None
    ended_soon: bool = False


@dataclass(frozen=True, slots=True)
class Expectation:
    """Say what may be expected of a rental.

    `verify` is the probability that its worker verifies and does not end soon, `boot` how long that takes,
    and `life` how long it then works; both in seconds.
    """

    verify: float
    boot: float
    life: float


NOTHING_KNOWN = Expectation(verify=0.8, boot=180.0, life=expected_life(SHARES))
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
        if not rental.ended_soon:
            self.verified += weight
            self.boot += weight * rental.boot
        self.worked += weight * rental.worked
        self.ended += weight * (rental.failure is not None)

    def __iadd__(self, part: "Tally") -> "Tally":
        """Count the rentals of another as well."""
        self.tried += part.tried
        self.verified += part.verified
        self.boot += part.boot
        self.worked += part.worked
        self.ended += part.ended
        return self

    def __add__(self, other: "Tally") -> "Tally":
        """Return the sums of both."""
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __mul__(self, share: float) -> "Tally":
        """Return the sums as if each rental counted for a share of one."""
        return Tally(*(getattr(self, name) * share for name in self.__dataclass_fields__))

    def __sub__(self, part: "Tally") -> "Tally":
        """Return the sums less those of a part, so that nothing is counted at two levels.

        A machine whose host was not known once is no part of it: then nothing is left, not less.
        """
        names = self.__dataclass_fields__
        return Tally(*(max(getattr(self, name) - getattr(part, name), 0.0) for name in names))

    def shrunk(self, above: Expectation) -> Expectation:
        """Return what this shows of boots, drawn towards what is expected one level above."""
        return Expectation(
            verify=(self.verified + BELIEF * above.verify) / (self.tried + BELIEF),
            boot=(self.boot + BOOT_BELIEF * above.boot) / (self.verified + BOOT_BELIEF),
            life=above.life,
        )

    @property
    def lives(self) -> Lives:
        """Return how long the verified ones worked."""
        return Lives(self.worked, self.ended)


NONE = Tally()
"""What a level shows on which nothing was rented."""


@dataclass(slots=True)
class Group:
    """Hold the sums of many rentals: of all, by GPU model, and by the band of the price within a model.

    What is wrong with machines often shows in what is asked for them: a dozen failures among the cheapest
    say little of dearer ones.
    """

    all: Tally = field(default_factory=Tally)
    gpus: dict[str, Tally] = field(default_factory=dict)
    bands: dict[str, dict[int, Tally]] = field(default_factory=dict)

    def add(self, gpu_name: str | None, asked: int | None, part: Tally) -> None:
        """Count rentals of one GPU model in one band of the price; None = not known."""
        self.all += part
        if gpu_name is None:
            return
        model = self.gpus.setdefault(gpu_name, Tally())
        model += part
        if asked is not None:
            alike = self.bands.setdefault(gpu_name, {}).setdefault(asked, Tally())
            alike += part

    def of(self, gpu_name: str, price: int) -> tuple[Tally, Tally]:
        """Return the sums of a GPU model, and of its band of the price with less of the bands beside it."""
        bands, middle = self.bands.get(gpu_name, {}), band(price)
        beside = bands.get(middle - 1, NONE) + bands.get(middle + 1, NONE)
        return self.gpus.get(gpu_name, NONE), bands.get(middle, NONE) + beside * NEAR


NOBODY = Group()
"""A host on which nothing was rented."""


@dataclass(frozen=True, slots=True)
class Reputation:
    """Hold the sums of all rentals, of those on each host, and of those on each machine."""

    everywhere: Group = field(default_factory=Group)
    hosts: Mapping[int, Group] = field(default_factory=dict)
    machines: Mapping[int, Tally] = field(default_factory=dict)
    lives: Shares = SHARES  # the share of the machines in each class of MEAN_LIVES
    classes_on: Mapping[int, Shares] = field(
        default_factory=dict
    )  # how many of a host's machines are in each

    def of(self, machine_id: int, host_id: int, gpu_name: str, price: int) -> Expectation:
        """Return what may be expected of a machine that asks `price`, in micro-dollars per hour.

        What was seen on the machine counts most, then what was on its host, and then what was elsewhere.
        """
        host, machine = self.hosts.get(host_id, NOBODY), self.machines.get(machine_id, NONE)
        model, alike = self.everywhere.of(gpu_name, price)
        model_here, alike_here = host.of(gpu_name, price)
        elsewhere = (
            (self.everywhere.all - host.all) * ANY
            + (model - model_here) * (SAME_MODEL - ANY)
            + (alike - alike_here) * (SAME_PRICE - SAME_MODEL)
        )
        expected = machine.shrunk((host.all - machine).shrunk(elsewhere.shrunk(NOTHING_KNOWN)))
        return replace(expected, life=self._life(machine_id, host_id))

    def _life(self, machine_id: int, host_id: int) -> float:
        """Return how long an instance is expected to work: by its machine, then its host, then all others."""
        own = self.machines.get(machine_id, NONE).lives
        on_host = self.classes_on.get(host_id)
        if on_host is None:
            return expected_life(classify(self.lives, own))
        return expected_life(classify(among(self.lives, on_host, but=classify(self.lives, own)), own))


def reputation(rentals: Iterable[Rental], now: datetime) -> Reputation:
    """Sum up rentals that made a box, whether they are over or go on."""
    everywhere = Group()
    hosts: dict[int, Group] = {}
    machines: dict[int, Tally] = {}
    machines_of: dict[int, set[int]] = {}
    for (machine, host, gpu_name, asked), part in _alike(rentals, now).items():
        everywhere.add(gpu_name, asked, part)
        seen = machines.setdefault(machine, Tally())
        seen += part
        if host is not None:
            hosts.setdefault(host, Group()).add(gpu_name, asked, part)
            machines_of.setdefault(host, set()).add(machine)
    lives = shares(tally.lives for tally in machines.values())
    counted = {
        host: count(classify(lives, machines[machine].lives) for machine in on_host)
        for host, on_host in machines_of.items()
    }
    return Reputation(everywhere, hosts, machines, lives, counted)


def _alike(
    rentals: Iterable[Rental], now: datetime
) -> Mapping[tuple[int, int | None, str | None, int | None], Tally]:
    """Return the sums of what is alike: by machine, host, GPU model and band of the price.

    They are few, and each of them counts at seven levels.
    """
    found: dict[tuple[int, int | None, str | None, int | None], Tally] = {}
    for rental in rentals:
        weight = 0.5 ** (max(now - rental.at, timedelta()) / HALF_LIFE)
        asked = None if rental.price is None else band(rental.price)
        alike = (rental.machine_id, rental.host_id, rental.gpu_name, asked)
        found.setdefault(alike, Tally()).add(rental, weight)
    return found


def band(price: int) -> int:
    """Return the band of a price in micro-dollars per hour."""
    return round(math.log(max(price, 1)) / BAND)


def cost_per_verified_hour(
    price: float, expected: Expectation, trial: timedelta, *, empty: float, left: float | None = None
) -> float:
    """Return what an hour of work is expected to cost at `price`, in the unit of `price`.

    A rental that fails takes all the `trial`, and one that verifies its boot. It is paid for meanwhile, and
    its place in the pool is empty, which costs `empty` an hour. `left` is for how many seconds the machine is
    still offered, None = not known: a life that its end cuts short has fewer hours to pay for the start.
    """
    failures = (1 - expected.verify) / expected.verify
    idle = expected.boot + failures * trial.total_seconds()
    life = expected.life if left is None else _cut_short(expected.life, max(left - idle, SHORTEST_LIFE))
    return price + (price + empty) * idle / life


def _cut_short(life: float, left: float) -> float:
    """Return the mean of lives that average `life`, each ended after `left` seconds at the latest."""
    return life * -math.expm1(-left / life)
