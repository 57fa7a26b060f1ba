"""What boxes cost: the running bill and the charges Vast shows afterwards."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from magister.simulator.market.clock import Calendar
from magister.simulator.market.contracts import Contract
from magister.simulator.market.cursors import token_for, value_of
from magister.simulator.market.errors import Refused
from magister.simulator.market.traffic import DOWN_PRICE, UP_PRICE, flow, moved

DAY = 86_400.0
HOUR = 3600.0
MOST_CHARGES = 500
DEFAULT_CHARGES = 100


@dataclass(frozen=True, slots=True)
class Line:
    """Hold one line of a bill in Vast's words; the amount is in dollars."""

    kind: str
    words: str
    amount: float


def accrue(contract: Contract, until: float, *, online: bool) -> float:
    """Bill a box up to a moment and give the dollars added.

    GPUs cost while the box is `running`, its disk from the create on in every state, its traffic by the byte,
    and nothing while the host is offline (Vast's billing guide). The bill is kept by day because charges are
    asked for by day.
    """
    added = 0.0
    start = contract.billed_until
    while contract.live and start < until:
        day = start // DAY
        end = min(until, (day + 1) * DAY)
        secs = end - start
        if online:
            entry = contract.bill.setdefault(str(int(day)), [0.0, 0.0, 0.0, 0.0])
            gpu_secs = secs if contract.status == "running" else 0.0
            amounts = (
                gpu_secs,
                gpu_secs * contract.gpu_price / HOUR,
                secs,
                secs * contract.storage_hourly / HOUR,
            )
            for column, amount in enumerate(amounts):
                entry[column] += amount
            added += amounts[1] + amounts[3] + flow(contract, int(day), secs)
        start = end
    contract.billed_until = max(contract.billed_until, until)
    return added


def spent(contract: Contract) -> float:
    """Give all the dollars a box has cost so far."""
    down, up = moved(contract)
    return sum(entry[1] + entry[3] for entry in contract.bill.values()) + down * DOWN_PRICE + up * UP_PRICE


def spend_rate(contracts: Iterable[Contract]) -> dict[str, object]:
    """Answer `GET /users/spend-rate/`: dollars per hour of all boxes there are."""
    live = [contract for contract in contracts if contract.live]
    return {
        "success": True,
        "gpu_cost_per_hour": sum(box.gpu_price for box in live if box.status == "running"),
        "container_storage_cost_per_hour": sum(box.storage_hourly for box in live),
        "volume_storage_cost_per_hour": 0.0,
        "has_active_resources": bool(live),
    }


def charges(
    contracts: Iterable[Contract],
    filters: object,
    *,
    limit: int,
    after: str | None,
    latest_first: bool,
    calendar: Calendar,
    shown_until: float | None = None,
) -> dict[str, object]:
    """Answer `GET /charges/`; of days that ended after `shown_until` nothing is shown, None = of any.

    A row per contract that cost anything in the days asked for, also after its end. Raises `Refused` without
    a range of days or with a bad token. Amounts are rounded to three decimals, as Vast does.
    """
    since, until = _range(filters, calendar)
    if shown_until is not None:
        until = min(until, shown_until // DAY * DAY - 1)
    kinds = _kinds(filters)
    rows = [(box, _lines(box, since, until)) for box in contracts]
    rows = [(box, lines) for box, lines in rows if lines and "instance" in kinds]
    rows.sort(key=lambda pair: pair[0].id, reverse=latest_first)
    total = len(rows)
    if after is not None:
        last = value_of(after, "id")
        if not isinstance(last, int):
            raise Refused(400, "invalid_token", "Invalid pagination token")
        rows = [pair for pair in rows if (pair[0].id < last if latest_first else pair[0].id > last)]
    limit = min(limit, MOST_CHARGES) if limit > 0 else DEFAULT_CHARGES
    page = rows[:limit]
    more = len(rows) > len(page)
    return {
        "success": True,
        "count": len(page),
        "total": total,
        "next_token": token_for({"id": page[-1][0].id}) if more else None,
        "results": [_row(box, lines, calendar) for box, lines in page],
    }


def _range(filters: object, calendar: Calendar) -> tuple[float, float]:
    day = filters.get("day") if isinstance(filters, dict) else None
    bounds = (day.get("gte"), day.get("lte")) if isinstance(day, dict) else (None, None)
    try:
        since, until = (float(bound) for bound in bounds if bound is not None)
    except (TypeError, ValueError):
        words = "Must provide both 'day' gte and lte filters for instance charges"
        raise Refused(400, "invalid_request", words) from None
    return calendar.meant(since), calendar.meant(until)


def _kinds(filters: object) -> list[object]:
    kind = filters.get("type") if isinstance(filters, dict) else None
    chosen = kind.get("in") if isinstance(kind, dict) else None
    return chosen if isinstance(chosen, list) and chosen else ["instance"]


def _lines(contract: Contract, since: float, until: float) -> list[Line]:
    """Give the lines of a contract's bill for some days; none if it cost nothing, no traffic if none was."""
    days = [day for day in contract.bill if since // DAY <= int(day) <= until // DAY]
    if not days:
        return []
    gpu_secs, gpu, disk_secs, disk = (sum(contract.bill[day][column] for day in days) for column in range(4))
    lines = [
        Line("gpu", f"{gpu_secs / HOUR:.3f} hours at ${contract.gpu_price:.3f}/hour", gpu),
        Line("disk", f"{disk_secs / HOUR:.3f} hours at ${contract.storage_hourly:.3f}/hour", disk),
    ]
    for kind, gb, price in zip(("bwd", "bwu"), moved(contract, days), (DOWN_PRICE, UP_PRICE), strict=True):
        if gb > 0:
            lines.append(Line(kind, f"{gb:.3f} GB at ${price:.3f}/GB", gb * price))
    return lines


def _row(contract: Contract, lines: list[Line], calendar: Calendar) -> dict[str, object]:
    start = int(calendar.told(contract.created_at))
    end = int(calendar.told(contract.billed_until if contract.ended_at is None else contract.ended_at))
    days = max(1, round((end - start) / DAY))
    metadata: dict[str, object] = {} if contract.label is None else {"label": contract.label}

    def item(line: Line) -> Mapping[str, object]:
        fixed: dict[str, object] = {"source": None, "metadata": {}, "items": []}
        return {
            "start": start,
            "end": end,
            "type": line.kind,
            "description": line.words,
            "amount": round(line.amount, 3),
            **fixed,
        }

    return {
        "start": start,
        "end": end,
        "type": "instance",
        "source": f"instance-{contract.id}",
        "description": f"Instance {contract.id} Charges - {days} day{'s' if days > 1 else ''}",
        "amount": round(sum(line.amount for line in lines), 3),
        "metadata": metadata,
        "items": [item(line) for line in lines],
    }
