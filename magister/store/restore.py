"""What can still be said of rows that come from a backup: it knows nothing of what happened since."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.domain.spec import Fleet
from magister.states import Reason, State
from magister.store import instances, pool, transitions

ACTOR = "restore"


@dataclass(frozen=True, slots=True)
class Doubted:
    """Count the rows of which more may have happened than they tell."""

    sent: int
    verified: int


def doubt(session: Session, *, fleet: Fleet, at: datetime) -> Doubted:
    """Bring the rows to what holds at `at`, when the database comes back in use.

    1. An intent that stood unsent may have been sent since: it counts as sent without an answer, so that
       listings decide and it is not sent again.
    2. A worker calls only once. One that has had its time to call may have done so: its box counts as
       verified, as an adopted one of that age does, and its health is judged by what Vast says of it.
    3. A box that no row knows may have been rented since: its calls wait until a listing has told.
    """
    sent = verified = 0
    for row in instances.held(session, lock=True):
        if row.unsent:
            claimed = transitions.claim_send(session, row, fence=0, at=at)
            transitions.doubt(
                session, claimed, at=at, fleet=fleet, trouble="it may have been sent after the backup"
            )
            sent += 1
        if row.state in {State.REQUESTED, State.CREATED} and _had_its_time(row, fleet, at):
            why = "from a backup: since then its worker has had the time to call"
            transitions.move(session, row, State.VERIFIED, Reason.RESTORED, actor=ACTOR, why=why, at=at)
            verified += 1
    pool.forget_listing(session)
    return Doubted(sent, verified)


def _had_its_time(row: Held, fleet: Fleet, at: datetime) -> bool:
    return at >= (row.verify_by or (row.created_at or row.requested_at) + fleet.verify_within)
