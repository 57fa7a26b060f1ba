"""Keep why each instance was chosen: the candidates, and of the latest rentals all that was decided by."""

from sqlalchemy import delete, text, update
from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.planner import decision_record
from magister.planner.decision_record import Candidate, Decision
from magister.store import instances
from magister.store.db.models_accounting import Choice

REPLAYABLE = 500
"""How many of the last rentals keep all that was decided by; older ones keep the candidates only."""

EXPLAINED = 5000
"""How many of the last rentals keep the candidates; of older ones only those that are not gone."""


def note(session: Session, row: Held, known: Decision) -> None:
    """Keep why `row` was chosen: all candidates, and of the latest rentals all that was decided by."""
    facts, considered = (
        decision_record.written(known),
        decision_record.listed(decision_record.considered(known)),
    )
    session.add(Choice(instance_id=row.id, at=known.now, facts=facts, candidates=considered))
    long = update(Choice).where(Choice.instance_id <= row.id - REPLAYABLE, text("facts <> ''"))
    session.execute(long.values(facts="").execution_options(synchronize_session=False))
    longer = delete(Choice).where(
        Choice.instance_id <= row.id - EXPLAINED, Choice.instance_id.not_in(instances.live_ids())
    )
    session.execute(longer.execution_options(synchronize_session=False))


def candidates(session: Session, instance_id: int) -> tuple[Candidate, ...]:
    """Return the candidates of a choice; what another version wrote and this cannot read counts as none."""
    kept = session.get(Choice, instance_id)
    if kept is None:
        return ()
    try:
        return decision_record.read_candidates(kept.candidates)
    except ValueError:
        return ()
