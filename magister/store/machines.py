"""What our own rentals showed of machines, read from the view that people read, and who is in quarantine."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from magister.domain.risk.launch_breaker import Caution
from magister.domain.risk.quarantine import Quarantines, quarantines
from magister.domain.risk.suspicion import without
from magister.states import Failure
from magister.store import rental_history


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """Hold what one machine did for us: counts, seconds, and its cost in micro-dollars; None = not known.

    What is counted by way of failing is held against the machine; `excused` failures are held against nobody.
    The last three are ends that are no failures.
    """

    machine_id: int
    host_id: int | None
    gpu_name: str | None
    rentals: int
    adopted: int  # boxes beside the rentals that were there already
    verified: int
    mean_seconds_to_verify: int | None
    never_booted: int
    never_verified: int
    image_pull: int
    driver_oci: int
    disk_full: int
    died: int
    silent: int
    offline: int
    given_up: int
    excused: int
    vanished: int
    dropped_by_operator: int
    dropped_for_cost: int
    worked_seconds: int
    idle_seconds: int  # paid, and not at work
    micros: int

    @property
    def failures(self) -> dict[Failure, int]:
        """Return how often it failed, by the ways in which it did."""
        return {kind: count for kind in Failure if (count := getattr(self, kind.value))}


_MACHINES = text(
    f"SELECT {', '.join(MachineRecord.__dataclass_fields__)} FROM machine_record "  # noqa: S608, our own names
    "ORDER BY micros DESC, machine_id LIMIT :limit"
)


def machines(session: Session, limit: int) -> tuple[MachineRecord, ...]:
    """Return the record of the `limit` machines that cost most, the dearest first."""
    return tuple(MachineRecord(*line) for line in session.execute(_MACHINES, {"limit": limit}))


def quarantined(
    session: Session, caution: Caution, now: datetime, *, template_hash: str | None = None
) -> Quarantines:
    """Return who is in quarantine at `now`; what a former template is to blame for holds nobody.

    `template_hash` is the one in force; None = the one that was rented with last.
    """
    tried = rental_history.trials(session, now, caution.quarantine_cap)
    return quarantines(without(tried, rental_history.blamed(session, in_force=template_hash)), caution, now)
