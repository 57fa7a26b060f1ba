"""Read what a plan is made from: the rows, and of the rest only what is needed."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from magister import bans, bills, rows
from magister.decision import Decision
from magister.facts import Fleet
from magister.judgement import suspicious
from magister.memory import Memory
from magister.pool import PoolState
from magister.quarantine import quarantines
from magister.reputation import reputation
from magister.shortage import shortage
from magister.spending import outlay


def observe(
    session: Session, memory: Memory, state: PoolState, fleet: Fleet, now: datetime, *, offer_reuse: timedelta
) -> Decision:
    """Return what the planner decides by at `now`.

    What became of earlier rentals is read only when instances are short or may be lost.
    """
    held, fleet = rows.held(session), bans.under(fleet, bans.read(session))
    if memory.unknown is None:
        memory.unknown = bills.unknown(session, now)
    view = memory.view(state, now)
    if fleet.budget.counts:
        view = replace(view, spent=outlay(session, now))
    short = shortage(fleet, held) > 0
    if short or any(suspicious(row, fleet, view, now) for row in held):
        outlook = rows.outlook(session, now, since=view.trusted_at)
        lost = rows.lost(session, now, fleet.caution.loss_window)
        view = replace(view, outlook=outlook, lost=lost, canary_at=outlook.canary_at)
    if not short:
        return Decision(fleet, held, view, now)
    tried = rows.trials(session, now, fleet.caution.quarantine_cap)
    if memory.judged_at is None or not timedelta() <= now - memory.judged_at < fleet.search_every:
        memory.reputation, memory.judged_at = reputation(rows.rentals(session, now), now), now
    view = replace(
        view,
        recent_offers=rows.recent_offers(session, now, offer_reuse),
        quarantines=quarantines(tried, fleet.caution, now),
        reputation=memory.reputation,
    )
    return Decision(fleet, held, view, now)
