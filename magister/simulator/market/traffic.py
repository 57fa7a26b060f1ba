"""What boxes download and upload, how Vast counts it in its listing, and what it costs.

Vast's documents name the price per GB and the two lines of the bill, `bwd` and `bwu`. The running totals in
the listing, `inet_down_billed` and `inet_up_billed`, are in none of them: users saw them null at first, then
growing, and measured that they are kilobytes.
"""

import random
from collections.abc import Iterable

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Contract

DOWN_PRICE = 0.002
UP_PRICE = 0.003
"""Dollars per GB, on every machine."""
PULL_SPEED = 0.1
"""GB per second at which an image comes; what is still to come at `running` comes at once."""
KB_PER_GB = 1024 * 1024
HOUR = 3600.0


def habits(plan: MarketPlan, contract_id: int, host_id: int) -> tuple[float, float, float, bool]:
    """Draw the GB that a box pulls at its first boot, the GB per hour that it downloads and uploads.

    With them goes whether listings count it, which is the same for all boxes of a host.
    """
    own = random.Random(f"traffic {plan.seed} {contract_id}")  # noqa: S311 - reproducible, and no other draw shifts
    down, up = own.uniform(*plan.traffic_gb_hourly), own.uniform(*plan.traffic_gb_hourly)
    host = random.Random(f"counting {plan.seed} {host_id}")  # noqa: S311 - as above
    return plan.image_gb, down, up, host.random() >= plan.uncounted_share


def flow(contract: Contract, day: int, secs: float) -> float:
    """Let a box that is online move what it moves in some seconds of a day, and give the dollars added."""
    running = contract.status == "running"
    if not running and contract.status != "loading":
        return 0.0
    pulled = contract.to_pull if running else min(contract.to_pull, secs * PULL_SPEED)
    contract.to_pull -= pulled
    down = pulled + (contract.down_hourly * secs / HOUR if running else 0.0)
    up = contract.up_hourly * secs / HOUR if running else 0.0
    entry = contract.traffic.setdefault(str(day), [0.0, 0.0])
    entry[0] += down
    entry[1] += up
    return down * DOWN_PRICE + up * UP_PRICE


def moved(contract: Contract, days: Iterable[str] | None = None) -> tuple[float, float]:
    """Give the GB that a box downloaded and uploaded on some days, None = ever."""
    entries = [contract.traffic[day] for day in contract.traffic if days is None or day in days]
    return sum(entry[0] for entry in entries), sum(entry[1] for entry in entries)


def count(plan: MarketPlan, contract: Contract, now: float) -> None:
    """Bring up to date what listings say that a box moved, if it is time to."""
    due = contract.counted_at is None or now - contract.counted_at >= plan.traffic_count_secs
    if contract.is_counted and contract.traffic and due:
        contract.counted, contract.counted_at = list(moved(contract)), now


def totals(contract: Contract) -> dict[str, float | None]:
    """Give the running totals of the listing; null before anything was counted."""
    down, up = contract.counted or (None, None)
    return {"inet_down_billed": _kilobytes(down), "inet_up_billed": _kilobytes(up)}


def _kilobytes(gb: float | None) -> float | None:
    return None if gb is None else float(int(gb * KB_PER_GB))
