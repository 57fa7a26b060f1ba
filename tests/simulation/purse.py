"""What Vast really bills a pool, held against the caps of its budget."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

from magister.domain.traffic import KB_PER_GB, STEP
from magister.planner.budget import EXIT
from magister.simulator.market.contracts import Contract
from magister.simulator.market.traffic import DOWN_PRICE, UP_PRICE, moved, totals
from tests.simulation.clock import VirtualTime

PROMPT = EXIT.total_seconds()
"""Seconds within which an instance has to be gone once it has to go."""

UNSEEN = 90.0
"""Seconds without a complete listing after which Vast counts as out of reach."""

ROUNDING = 0.001
"""USD by which the estimate and the bill may differ for their rounding."""

UNNOTED = STEP / KB_PER_GB * UP_PRICE
"""USD by which the traffic of a running box may have grown without being noted."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Hold caps in USD; None = no such cap."""

    per_hour: float | None = None
    per_day: float | None = None
    per_month: float | None = None
    total: float | None = None

    def settings(self) -> dict[str, float]:
        """Return them as the settings of the budget."""
        known = {
            "usd_per_hour": self.per_hour,
            "usd_per_day": self.per_day,
            "usd_per_month": self.per_month,
            "usd_total": self.total,
        }
        return {name: usd for name, usd in known.items() if usd is not None}

    def of(self, period: str) -> float | None:
        """Return the cap on a period by its name; None = there is none."""
        return {"day": self.per_day, "month": self.per_month}.get(period.partition(" ")[0], self.total)


@dataclass(slots=True)
class Purse:
    """Follow the bill of a pool and judge it by `caps`.

    Of traffic that counts which is within the `reserve_gb` of its box; of the `bare`, who came or came back
    when their row had rightly ended, none. What is above shows in `counted`, which is what the listings that
    Magister read say of each box in USD, and from that on nothing more may be rented: `over_total_since`.
    `excused` is what was billed outside the promise, in USD: by boxes that no row knew, by those that Vast
    would not destroy for longer than PROMPT, and by all while no listing came. `most` is what may be billed
    in each period, by its name: the cap in force, or what was billed when caps were lowered, and was still to
    be until all is gone. Nothing is judged once a clock was wrong: by it the days and what was spent are
    wrong as well.
    """

    time: VirtualTime
    reserve_gb: float = 0.0
    caps: Caps = field(default_factory=Caps)
    excused: float = 0.0
    most: dict[str, float] = field(default_factory=dict)
    leaving: float = 0.0
    leaving_until: float = 0.0
    billed: dict[int, float] = field(default_factory=dict)
    dropping_since: dict[int, float] = field(default_factory=dict)
    listed: float = 0.0
    over_since: float | None = None
    counted: dict[int, float] = field(default_factory=dict)
    bare: set[int] = field(default_factory=set)
    over_total_since: float | None = None
    wrong_clock: bool = False

    def set(self, caps: Caps, boxes: Collection[Contract]) -> None:
        """Hold the bill against other caps from now on: what is there may take its time to go."""
        self.leaving = sum(map(rate, boxes)) * PROMPT / 3600 + sum(map(self._set_aside, boxes))
        self.leaving_until = self.time.now + PROMPT
        self.caps, self.over_since, self.over_total_since = caps, None, None
        spent = self._spent(boxes)
        for period in self._now():
            cap = caps.of(period)
            self.most[period] = inf if cap is None else max(cap, spent[period] + self.leaving)

    def watch(self, boxes: Collection[Contract], going: Mapping[int, bool]) -> None:
        """Take in what was billed since the last time; `going` = whether a box that a row knows is to go."""
        now = self.time.now
        self.wrong_clock = self.wrong_clock or self.time.skew != 0
        for box in boxes:
            paid = sum(usd for _, usd in self._costs(box))
            new, self.billed[box.id] = paid - self.billed.get(box.id, 0.0), paid
            if going.get(box.id):
                self.dropping_since.setdefault(box.id, now)
            else:
                self.dropping_since.pop(box.id, None)
            if self._outside(box, going):
                self.excused += new
        live = [box for box in boxes if box.live and not self._outside(box, going)]
        hourly = self.caps.per_hour
        if hourly is None or sum(map(rate, live)) <= hourly + ROUNDING or now - self.listed > UNSEEN:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = now
        if self.caps.total is None or self._shown(boxes) <= self.caps.total + ROUNDING:
            self.over_total_since = None
        elif self.over_total_since is None:
            self.over_total_since = now

    def passed(self, boxes: Collection[Contract]) -> str:
        """Say which cap was passed; "" = none."""
        if self.wrong_clock:
            return ""
        if self.over_since is not None and self.time.now - self.over_since > PROMPT:
            return f"more than {self.caps.per_hour} USD per hour since {self.over_since:.0f}"
        for period in self._now():
            cap = self.caps.of(period)
            if period not in self.most:  # it has just begun
                left = self.leaving if self.time.now < self.leaving_until else 0.0
                self.most[period] = inf if cap is None else max(cap, left)
        for period, spent in self._spent(boxes).items():
            most = self.most.get(period, inf)
            if spent > most + self.excused + ROUNDING:
                return f"{spent:.4f} USD were billed in the {period}, {most:.4f} are allowed"
        return ""

    def _now(self) -> tuple[str, ...]:
        return (*_periods(int(self.time.now // 86_400)), "total")

    def _spent(self, boxes: Collection[Contract]) -> dict[str, float]:
        """Return what was billed in each period there was, in USD: that of those that are over must stand."""
        sums: dict[str, float] = defaultdict(float, dict.fromkeys(self._now(), 0.0))
        for box in boxes:
            for day, usd in self._costs(box):
                for period in (*_periods(day), "total"):
                    sums[period] += usd
        return sums

    def _costs(self, box: Contract) -> Iterator[tuple[int, float]]:
        """Give what a box was billed on each day since 1970, in USD, of traffic what was set aside for it."""
        left = 0.0 if box.id in self.bare else self.reserve_gb * DOWN_PRICE
        for day, entry in box.bill.items():
            usd = min(traffic(box, [day]), left)
            left -= usd
            yield int(day), entry[1] + entry[3] + usd

    def _set_aside(self, box: Contract) -> float:
        left = 0.0 if box.id in self.bare else self.reserve_gb * DOWN_PRICE
        return max(left - traffic(box), 0.0) if box.live else 0.0

    def _shown(self, boxes: Collection[Contract]) -> float:
        """Return what Magister must know was spent, in USD: the bill, and the traffic that was counted."""
        bill = sum(entry[1] + entry[3] for box in boxes for entry in box.bill.values())
        known = [self.counted.get(box.id, 0.0) for box in boxes if box.id not in self.bare]
        return bill + sum(max(usd - UNNOTED, 0.0) for usd in known) - self.excused

    def _outside(self, box: Contract, going: Mapping[int, bool]) -> bool:
        since = self.dropping_since.get(box.id, self.time.now)
        return box.id not in going or self.time.now - max(since, 0.0) > PROMPT or self._unseen

    @property
    def _unseen(self) -> bool:
        return self.time.now - self.listed > UNSEEN


def _periods(day: int) -> tuple[str, str]:
    """Name the UTC day and month of a day since 1970."""
    date = datetime.fromtimestamp(day * 86_400, UTC)
    return f"day {date:%Y-%m-%d}", f"month {date:%Y-%m}"


def traffic(box: Contract, days: Collection[str] | None = None) -> float:
    """Return what a box was billed for traffic on some days, None = ever, in USD."""
    down, up = moved(box, days)
    return down * DOWN_PRICE + up * UP_PRICE


def counted(box: Contract) -> float:
    """Return what a listing says that the traffic of a box costs so far, in USD."""
    kilobytes = totals(box)
    down, up = kilobytes["inet_down_billed"] or 0.0, kilobytes["inet_up_billed"] or 0.0
    return (down * DOWN_PRICE + up * UP_PRICE) / KB_PER_GB


def rate(box: Contract) -> float:
    """Return what a box costs now, USD per hour."""
    return (box.gpu_price if box.status == "running" else 0.0) + box.storage_hourly
