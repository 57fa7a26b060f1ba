"""What was spent on some days, as asked for in words, and the same as JSON and CSV."""

import csv
import io
import re
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.orm import Session

from magister.domain import cost as rates
from magister.money import MICROS_PER_USD
from magister.reports.overview import usd
from magister.store.accounting import spending
from magister.store.accounting.invoice import Reconciliation
from magister.store.accounting.spending import By, Key, Spent

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Wish:
    """Say what is asked for: the UTC days from `first` to `last`, and by what the sums are told apart."""

    by: By
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Statement:
    """Hold what was spent, by key; see `spending.report`."""

    wish: Wish
    costs: tuple[Spent, ...]

    @property
    def micros(self) -> int:
        """Return the sum on GPUs and disk, in micro-dollars."""
        return sum(cost.micros for cost in self.costs)

    @property
    def traffic(self) -> int:
        """Return the sum on traffic, in micro-dollars."""
        return sum(cost.traffic for cost in self.costs)


def wish(now: datetime, *, first: str | None, last: str | None, by: str | None) -> Wish:
    """Read what is asked for; None = by day, this month so far. Raises ValueError that says what is right."""
    today = rates.day_of(now)
    end = today if last is None else day(last, "to")
    begin = end.replace(day=1) if first is None else day(first, "from")
    if begin > end:
        raise ValueError(f"from = {begin} is after to = {end}")
    if by is not None and by not in set(By):
        raise ValueError(f"by must be one of {', '.join(By)}")
    return Wish(By.DAY if by is None else By(by), begin, end)


def day(text: str, name: str) -> date:
    """Read a day; raises ValueError that names the parameter."""
    try:
        found = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"{name} must be a day in UTC such as 2026-11-24")
    return found


def statement(session: Session, asked: Wish, now: datetime) -> Statement:
    """Return what was spent until `now`."""
    return Statement(asked, spending.report(session, asked.by, asked.first, asked.last, now))


def jsonable(told: Statement) -> dict[str, object]:
    """Return the statement as JSON values, in dollars."""
    by = told.wish.by.value
    return {
        "from": told.wish.first.isoformat(),
        "to": told.wish.last.isoformat(),
        "by": by,
        "usd": usd(told.micros),
        "traffic_usd": usd(told.traffic),
        "costs": [
            {by: plain(cost.key), "usd": usd(cost.micros), "traffic_usd": usd(cost.traffic)}
            for cost in told.costs
        ],
    }


def as_csv(told: Statement) -> str:
    """Return the statement as CSV: a line of names, then a line for each key, dollars to the micro-dollar."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow((told.wish.by.value, "usd", "traffic_usd"))
    writer.writerows((plain(cost.key), exact(cost.micros), exact(cost.traffic)) for cost in told.costs)
    return lines.getvalue()


def bill_jsonable(told: Reconciliation) -> dict[str, object]:
    """Return the bill beside the estimate as JSON values, in dollars."""
    unknown = told.unknown
    return {
        "from": None if told.first is None else told.first.isoformat(),
        "to": None if told.last is None else told.last.isoformat(),
        "estimated_usd": usd(told.estimated),
        "billed_usd": usd(told.billed),
        "estimated_traffic_usd": usd(told.estimated_traffic),
        "billed_traffic_usd": usd(told.billed_traffic),
        "unknown": unknown.contracts,
        "unknown_usd": usd(unknown.micros),
        "instances": [
            {
                "id": line.instance,
                "instance_id": line.contract_id,
                "label": line.label,
                "estimated_usd": usd(line.estimated),
                "billed_usd": usd(line.billed),
                "estimated_traffic_usd": usd(line.estimated_traffic),
                "billed_traffic_usd": usd(line.billed_traffic),
            }
            for line in told.lines
        ],
    }


def bill_as_csv(told: Reconciliation) -> str:
    """Return the bill beside the estimate as CSV, a line for each contract."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    money = ("estimated", "billed", "estimated_traffic", "billed_traffic")
    writer.writerow(("id", "instance_id", "label", *(f"{name}_usd" for name in money)))
    for line in told.lines:
        amounts = (exact(getattr(line, name)) for name in money)
        writer.writerow((line.instance, line.contract_id, line.label, *amounts))
    return lines.getvalue()


def plain(key: Key) -> int | str | None:
    """Return a key as JSON and CSV can hold it."""
    return key.isoformat() if isinstance(key, date) else key


def exact(micros: int) -> str:
    """Write micro-dollars as dollars with all their digits."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), MICROS_PER_USD)
    return f"{sign}{whole}.{rest:06}"
