"""The JSON of what the command line shows: moments as ISO 8601 in UTC, money in dollars."""

from datetime import UTC, datetime

from magister.reports.overview import Event


def event(told: Event) -> dict[str, object]:
    """Return one move."""
    return {
        "at": moment(told.at),
        "id": told.instance,
        "instance_id": told.instance_id,
        "offer_id": told.offer_id,
        "machine_id": told.machine_id,
        "from": told.from_state,
        "to": told.to_state,
        "reason": told.reason,
        "actor": told.actor,
        "why": told.detail,
    }


def moment(at: datetime) -> str:
    """Return a moment to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
