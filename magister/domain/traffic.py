"""Pure: what boxes download and upload, as Vast's listings count it, and what that costs.

A listing shows running totals, `inet_down_billed` and `inet_up_billed`. Vast's documents do not name them;
users saw them null for some boxes, and measured that they are kilobytes. The lines `bwd` and `bwu` of the
bill, which the documents do name, tell whether that holds: `magister cost --bill` shows both.

The totals are taken as a high-water mark: null, a decrease or a count that began anew loses nothing that
was noted, and adds nothing until the mark is passed. So this estimate, unlike that of rates, may be too low:
for a box whose count began anew, for what it moved after the last listing that showed it, and for less than
STEP.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from magister.domain.instance import Held
from magister.domain.observed import RUNNING, Sighting

KB_PER_GB = 1024 * 1024
"""Kilobytes in the GB that Vast's prices are for; its own client counts 1024 GB to a TB."""

STEP = KB_PER_GB // 8
"""Kilobytes by which the totals of a running box must have grown to be noted, or each listing would be."""

MOST_KB = 2**36
MOST_PRICE = 2**25
"""Totals above 64 TB, and prices above 33 USD per GB, are taken for an error of Vast's and not believed."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Hold kilobytes, and what they cost in micro-dollars per GB times kilobytes, which adds up exactly."""

    down_kb: int = 0
    up_kb: int = 0
    fractions: int = 0

    @property
    def micros(self) -> int:
        """Return what it cost, in whole micro-dollars."""
        return self.fractions // KB_PER_GB


def total(parts: Iterable[Traffic]) -> Traffic:
    """Return the sum."""
    kept = tuple(parts)
    return Traffic(
        sum(part.down_kb for part in kept),
        sum(part.up_kb for part in kept),
        sum(part.fractions for part in kept),
    )


def by_day(days: Mapping[date, Traffic]) -> dict[date, int]:
    """Return what the traffic of one instance cost on each UTC day, in micro-dollars.

    Each day takes what is whole by its end and was not by the end before, so the days add up to the cost.
    """
    found: dict[date, int] = {}
    fractions = 0
    for day in sorted(days):
        before, fractions = fractions, fractions + days[day].fractions
        found[day] = fractions // KB_PER_GB - before // KB_PER_GB
    return found


def spread(row: Held, more: Traffic, at: datetime, *, reserve: int = 0) -> dict[date, Traffic]:
    """Return on which UTC days the first that is noted of a box counts: evenly on all since it was made.

    It was moved while nobody looked: before the box was adopted, or while Magister was not there. On one day
    it would all count against the cap of that day. But what is set aside for it, `reserve` micro-dollars, is
    so on the day it is seen, and as much counts there: all of it may have been moved on that day.
    """
    seen = at.astimezone(UTC).date()
    born = min((row.created_at or row.requested_at).astimezone(UTC).date(), seen)
    earlier = [born + timedelta(days=n) for n in range((seen - born).days)]
    if not earlier or more.micros <= reserve:
        return {seen: more}
    before = min(Fraction(len(earlier), len(earlier) + 1), 1 - Fraction(reserve, more.micros))
    share = Traffic(
        *(int(total * before / len(earlier)) for total in (more.down_kb, more.up_kb, more.fractions))
    )
    last = Traffic(
        more.down_kb - len(earlier) * share.down_kb,
        more.up_kb - len(earlier) * share.up_kb,
        more.fractions - len(earlier) * share.fractions,
    )
    return {**dict.fromkeys(earlier, share), seen: last}


def shown(box: Sighting) -> bool:
    """Say whether a sighting counts any traffic."""
    return bool(box.inet_down_billed or box.inet_up_billed)


def grown(row: Held, box: Sighting, at: datetime, noted: Traffic) -> Traffic | None:
    """Return what a sighting at `at` adds to what is `noted` of a box in all; None = nothing worth a write.

    A way whose price Vast does not say waits for a listing that says it. A sighting older than one that was
    noted already adds nothing, nor does one of before the end of a row that is gone.
    """
    known = max((m for m in (row.last_seen_at, row.destroyed_at) if m is not None), default=at)
    if at < known:
        return None
    down, down_price = _beyond(box.inet_down_billed, box.inet_down_cost, noted.down_kb)
    up, up_price = _beyond(box.inet_up_billed, box.inet_up_cost, noted.up_kb)
    enough = STEP if row.wanted and box.actual_status == RUNNING else 1
    if down + up < enough:
        return None
    return Traffic(down, up, down * down_price + up * up_price)


def _beyond(total: int | None, price: int | None, noted: int) -> tuple[int, int]:
    """Return the kilobytes beyond those that are noted, and their price."""
    if total is None or price is None or total > MOST_KB or price > MOST_PRICE:
        return 0, 0
    return max(total - noted, 0), price
