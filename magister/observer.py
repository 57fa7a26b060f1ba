"""Read what a plan is made from: the rows, and of the rest only what is needed."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from magister import bans, bills, experience, rows
from magister.autopsy import in_a_line, legible
from magister.budget import WORTH, waited_for
from magister.decision import Decision
from magister.fleet import Fleet, View
from magister.judgement import suspicious
from magister.memory import Memory
from magister.outlook import Blame
from magister.pool import PoolState
from magister.quarantine import Trial, quarantines
from magister.reputation import reputation
from magister.shortage import shortage
from magister.spending import outlay
from magister.suspicion import without


def observe(
    session: Session, memory: Memory, state: PoolState, fleet: Fleet, now: datetime, *, offer_reuse: timedelta
) -> Decision:
    """Return what the planner decides by at `now`.

    What became of earlier rentals is read only when instances are short or may be lost.
    """
    held, fleet = rows.held(session), bans.under(fleet, bans.read(session))
    if memory.unknown is None:
        memory.unknown = bills.unknown(session, now)
    view = memory.view(state, fleet, now)
    if fleet.budget.counts:
        view = replace(view, spent=outlay(session, now))
    short = shortage(fleet, held) > 0
    if short or any(suspicious(row, fleet, view, now) for row in held):
        outlook = experience.outlook(session, now, since=view.trusted_at, short_life=fleet.caution.short_life)
        lost = experience.lost(session, now, max(fleet.caution.loss_window, fleet.caution.recent))
        view = replace(view, outlook=outlook, lost=lost, canary_at=outlook.canary_at)
    if fleet.budget.any:
        view = replace(view, overrun=waited_for(experience.overruns(session, now, WORTH), fleet.budget, now))
    if not short:
        return Decision(fleet, held, view, now)
    if memory.tried_until != (latest := experience.last_move(session)):
        tried = experience.trials(session, now, fleet.caution.quarantine_cap)
        if _failures(tried) != _failures(memory.tried):
            memory.judged_at = None  # or a machine that just failed would be rented again as if it had not
        memory.tried, memory.tried_until = tried, latest
    tried = memory.tried
    if memory.judged_at is None or not timedelta() <= now - memory.judged_at < fleet.search_every:
        rentals = experience.rentals(
            session, now, in_force=fleet.template_hash, short_life=fleet.caution.short_life
        )
        memory.reputation, memory.judged_at = reputation(rentals, now), now
    forgiven = experience.blamed(session, in_force=fleet.template_hash)
    view = replace(
        view,
        recent_offers=rows.recent_offers(session, now, offer_reuse),
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
    found = experience.suspected(session, (one for one in late if one.template_hash == fleet.template_hash))
    if not found:
        return None
    (template, kind), hosts = max(found.items(), key=lambda one: (one[1], one[0][1]))
    return Blame(kind, hosts, in_a_line(legible(experience.last_words(session, template, kind), str)))
