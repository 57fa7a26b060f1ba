"""Pure: moments as conditions write them."""

from datetime import UTC, datetime, time, timedelta


def said(at: datetime, now: datetime) -> str:
    """Return a moment in UTC as people read it, with its date unless that is today's."""
    at = at.astimezone(UTC)
    today = at.date() == now.astimezone(UTC).date()
    return f"{at:%H:%M:%S} UTC" if today else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def next_day(now: datetime) -> datetime:
    """Return when the next UTC day begins."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def next_month(now: datetime) -> datetime:
    """Return when the next UTC month begins."""
    first = now.astimezone(UTC).date().replace(day=1)
    return datetime.combine((first + timedelta(days=31)).replace(day=1), time(), UTC)


def age(moment: datetime | None, now: datetime) -> float | None:
    """Return how many seconds ago `moment` was; None = it has not been yet."""
    return None if moment is None else (now - moment).total_seconds()
