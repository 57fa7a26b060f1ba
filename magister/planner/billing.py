"""Pure: when the bill is read, and of which days."""

from datetime import UTC, datetime, timedelta

from magister.domain.actions import ReadBill
from magister.domain.cost import day_of
from magister.domain.spec import Fleet, View

RETRY = timedelta(hours=1)
"""How soon the bill is asked for again when it could not be read."""

LONGEST = 31
"""Days that are read at most, after a long time without the service."""


def bill_due(fleet: Fleet, view: View) -> datetime | None:
    """Return when the bill is to be read next; None = never.

    Once a period, or at once if it never was; after a reading that failed not before an hour has passed.
    """
    if fleet.bills_every is None:
        return None
    due = None if view.bills_read_at is None else view.bills_read_at + fleet.bills_every
    failed = view.bills_tried_at
    if failed is not None and (view.bills_read_at is None or failed > view.bills_read_at):
        due = failed + RETRY if due is None else max(due, failed + RETRY)
    return due or datetime.min.replace(tzinfo=UTC)


def read_bill(fleet: Fleet, view: View, now: datetime) -> ReadBill:
    """Ask for the days before today: the last few again, and what passed since the last reading."""
    today = day_of(now)
    missed = 0 if view.bills_read_at is None else (today - day_of(view.bills_read_at)).days
    count = min(max(missed, 0) + fleet.bills_reread, LONGEST)
    days = tuple(today - timedelta(days=back) for back in range(count, 0, -1))
    return ReadBill(days, "the charges of the last days")
