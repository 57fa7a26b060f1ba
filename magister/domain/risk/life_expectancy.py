"""Pure: how long an instance is expected to work, from how long others did.

Machines differ in kind: on most of them an instance works for hours, on some it ends within minutes. So one
early end says much where instances live for days, and little where all of them live for minutes. Machines are
sorted into classes by their mean life. Which share of them is in which class is learned from all machines;
then the instances of one machine tell to which class it probably belongs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MEAN_LIVES: tuple[float, ...] = tuple(60.0 * 2.0**n for n in range(12))
"""The mean life in each class of machines: 1 min to 34 h, in seconds."""

SHARES: tuple[float, ...] = (*(0.02,) * 6, *(0.06,) * 3, 0.28, 0.28, 0.14)
"""The share of the machines in each class, before anything was rented; the mean over all is half a day."""

PRIOR_MACHINES = 0.3
"""How many machines have to be seen to weigh as much as `SHARES`.

With many, a market in which all instances end soon would be recognised late.
"""

NEIGHBOURS = 2.0
"""How many machines of the same host have to be seen to weigh as much as all others."""

ROUNDS = 25
"""How often the shares are adapted to what the machines show; more rounds change little."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Hold how long instances worked, in seconds, and how many of them ended by a failure.

    Both may be fractions, where old lives count less.
    """

    worked: float = 0.0
    ended: float = 0.0


Shares = tuple[float, ...]
"""A number for each class of MEAN_LIVES: a share of the machines, or how probable a class is."""


def shares(machines: Iterable[Lives]) -> Shares:
    """Return the share of the machines in each class, by what is known of each machine."""
    known = [_likelihoods(lives) for lives in machines if lives.worked or lives.ended]
    found = SHARES
    for _ in range(ROUNDS):
        sums = [PRIOR_MACHINES * share for share in SHARES]
        for likelihoods in known:
            for n, share in enumerate(_posterior(found, likelihoods)):
                sums[n] += share
        found = tuple(part / (PRIOR_MACHINES + len(known)) for part in sums)
    return found


def classify(prior: Shares, lives: Lives) -> Shares:
    """Return how probable it is that a machine is in each class, by the `prior` and by its own lives."""
    return _posterior(prior, _likelihoods(lives))


def count(machines: Iterable[Shares]) -> Shares:
    """Return how many machines are in each class, if these are the probabilities of each machine."""
    return tuple(sum(column) for column in zip(*machines, strict=True))


def among(prior: Shares, counted: Shares, *, but: Shares) -> Shares:
    """Return the shares that are expected among the machines of a host, for one machine that is left out.

    `prior` are the shares among all machines, `counted` says how many of the host's machines are in each
    class, and `but` is what the machine that is left out contributed to that.
    """
    found = [
        NEIGHBOURS * share + max(known - own, 0.0)
        for share, known, own in zip(prior, counted, but, strict=True)
    ]
    whole = sum(found)
    return tuple(part / whole for part in found)


def expected_life(probable: Shares) -> float:
    """Return how long the next instance is expected to work, in seconds, by how probable each class is."""
    return sum(share * mean for share, mean in zip(probable, MEAN_LIVES, strict=True))


def _likelihoods(lives: Lives) -> Shares:
    """Return how likely such lives are in each class, relative to the likeliest; lives are exponential."""
    logs = [-lives.ended * math.log(mean) - lives.worked / mean for mean in MEAN_LIVES]
    top = max(logs)
    return tuple(math.exp(log - top) for log in logs)


def _posterior(prior: Shares, likelihoods: Shares) -> Shares:
    """Return how probable each class is, by how probable it was before and how likely the lives are in it."""
    joint = [share * likelihood for share, likelihood in zip(prior, likelihoods, strict=True)]
    whole = sum(joint)
    return tuple(part / whole for part in joint)
