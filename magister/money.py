"""Money as whole micro-dollars, so that sums are exact; what may be spent, and what was."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

MICROS_PER_USD = 1_000_000
"""How many make a dollar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Hold the caps in micro-dollars; None = no such cap.

    `per_day` and `per_month` are of UTC days and months. `traffic_gb` is how many GB each new box is thought
    to download, for which its offer's price is set aside.
    `runway` is how long the credit has to last after a rental.
    """

    per_hour: int | None = None
    per_day: int | None = None
    per_month: int | None = None
    total: int | None = None
    traffic_gb: float = 0.0
    runway: timedelta | None = None

    @property
    def any(self) -> bool:
        """Say whether there is any cap."""
        return self.per_hour is not None or self.counts

    @property
    def counts(self) -> bool:
        """Say whether it matters what was spent."""
        return any(cap is not None for cap in (self.per_day, self.per_month, self.total))


@dataclass(frozen=True, slots=True)
class Outlay:
    """Hold what all instances cost since the UTC day and month began, and ever, in micro-dollars.

    With it goes what they may have cost that no sighting has shown yet, and what is set aside for traffic.
    """

    day: int = 0
    month: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Overrun:
    """Say that an instance was given up at a moment for a cap: its name, and what it was in micro-dollars."""

    at: datetime
    cap: str
    limit: int


def cost(rate: int, lasting: timedelta) -> int:
    """Return what a rate of micro-dollars per hour comes to, in micro-dollars, rounded up."""
    return -(-rate * (lasting // timedelta(seconds=1)) // 3600)


def traffic(gb: float, price: int | None) -> int:
    """Return what `gb` cost at a price in micro-dollars per GB, rounded up; None = unknown: nothing."""
    return math.ceil(gb * (price or 0))


def usd(micros: int) -> str:
    """Return micro-dollars as dollars, for a sentence."""
    return f"{micros / 1e6:.2f}"


def price(micros: int) -> str:
    """Return micro-dollars as dollars to the hundredth of a cent, as prices per hour are told."""
    return f"{micros / 1e6:.4f}"


def total(micros: int) -> str:
    """Return micro-dollars as dollars: to the cent, or as a price where cents would say too little."""
    return price(micros) if 0 < abs(micros) < 1_000_000 else f"{micros / 1e6:,.2f}"


def at_least(micros: int) -> str:
    """Return micro-dollars as dollars, rounded up to a cent: so much is enough."""
    return f"{-(-micros // 10_000) / 100:.2f}"
