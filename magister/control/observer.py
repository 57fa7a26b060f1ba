"""Read what a plan is made from: the rows, and of the rest only what is needed."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from magister.control.cache import Memory
from magister.domain.risk.failure_logs import in_a_line, legible
from magister.domain.risk.launch_breaker import Blame
from magister.domain.risk.quarantine import Trial, quarantines
from magister.domain.risk.reputation import reputation
from magister.domain.risk.suspicion import without
from magister.domain.spec import Fleet, View
from magister.planner.budget import WORTH, waited_for
from magister.planner.decision_record import Decision
from magister.planner.lifecycle import suspicious
from magister.planner.provisioning import shortage
from magister.store import bans, instances, rental_history
from magister.store.accounting import invoice
from magister.store.accounting.spending import outlay
from magister.store.pool import PoolState


def observe(
    session: Session, memory: Memory, state: PoolState, fleet: Fleet, now: datetime, *, offer_reuse: timedelta
) -> Decision:
    """Return what the planner decides by at `now`.

    What became of earlier rentals is read only when instances are short or may be lost.
    """
    held, fleet = instances.held(session), bans.under(fleet, bans.read(session))
    if memory.unknown is None:
        memory.unknown = invoice.unknown(session, now)
    view = memory.view(state, fleet, now)
    if fleet.budget.counts:
        view = replace(view, spent=outlay(session, now))
    short = shortage(fleet, held) > 0
    if short or any(suspicious(row, fleet, view, now) for row in held):
        outlook = rental_history.outlook(
            session, now, since=view.trusted_at, short_life=fleet.caution.short_life
        )
        lost = rental_history.lost(session, now, max(fleet.caution.loss_window, fleet.caution.recent))
        view = replace(view, outlook=outlook, lost=lost, canary_at=outlook.canary_at)
    if fleet.budget.any:
        view = replace(
            view, overrun=waited_for(rental_history.overruns(session, now, WORTH), fleet.budget, now)
        )
    if not short:
        return Decision(fleet, held, view, now)
    if memory.tried_until != (latest := rental_history.last_move(session)):
        tried = rental_history.trials(session, now, fleet.caution.quarantine_cap)
        if _failures(tried) != _failures(memory.tried):
            memory.judged_at = None  # or a machine that just failed would be rented again as if it had not
        memory.tried, memory.tried_until = tried, latest
    tried = memory.tried
    if memory.judged_at is None or not timedelta() <= now - memory.judged_at < fleet.search_every:
        rentals = rental_history.rentals(
            session, now, in_force=fleet.template_hash, short_life=fleet.caution.short_life
        )
        memory.reputation, memory.judged_at = reputation(rentals, now), now
    forgiven = rental_history.blamed(session, in_force=fleet.template_hash)
    view = replace(
        view,
        recent_offers=instances.recent_offers(session, now, offer_reuse),
        quarantines=quarantines(without(tried, forgiven), fleet.caution, now),
        outlook=replace(view.outlook, blame=_blame(session, fleet, view, tried)),
        reputation=memory.reputation,
    )
    return Decision(fleet, held, view, now)


def _failures(tried: tuple[Trial, ...]) -> int:
    return sum(one.failure is not None for one in tried)


def _blame(session: Session, fleet: Fleet, view: View, tried: tuple[Trial, ...]) -> Blame | None:
    """Say how the template in force fails, if it is to blame by what came after the operator's last word."""
    late = [one for one in tried if view.trusted_at is None or one.at > view.trusted_at]
    found = rental_history.suspected(
        session, (one for one in late if one.template_hash == fleet.template_hash)
    )
    if not found:
        return None
    (template, kind), hosts = max(found.items(), key=lambda one: (one[1], one[0][1]))
    return Blame(kind, hosts, in_a_line(legible(rental_history.last_words(session, template, kind), str)))
