"""What our own rentals showed of machines, read from the view that people read."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """Hold what one machine did for us: counts, seconds, and its cost in micro-dollars; None = not known."""

    machine_id: int
    host_id: int | None
    gpu_name: str | None
    rentals: int
    verified: int
    mean_seconds_to_verify: int | None
    never_booted: int
    never_verified: int
    died: int
    offline: int
    given_up: int
    worked_seconds: int
    idle_seconds: int  # paid, and not at work
    micros: int


_MACHINES = text(
    f"SELECT {', '.join(MachineRecord.__dataclass_fields__)} FROM machine_record "  # noqa: S608, our own names
    "ORDER BY micros DESC, machine_id LIMIT :limit"
)


def machines(session: Session, limit: int) -> tuple[MachineRecord, ...]:
    """Return the record of the `limit` machines that cost most, the dearest first."""
    return tuple(MachineRecord(*line) for line in session.execute(_MACHINES, {"limit": limit}))
