"""Read what the stories are made of: one instance's life, and the pool at a moment."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.domain.spec import Fleet, View
from magister.money import Outlay
from magister.planner.budget import WORTH, caps, dearest, reserved, waited_for
from magister.reports.instance_story import Life, Moved
from magister.reports.overview import Glance, unsigned
from magister.reports.pool_story import Banned, Leaving, Standing
from magister.states import Failure, State
from magister.store import bans, decisions, machines, rental_history
from magister.store.accounting.spending import costs_of, outlay, traffic_of
from magister.store.db.models import Instance, Transition


@dataclass(frozen=True, slots=True)
class Meant:
    """Say which instance a number means, and as what: the id of its row, its contract or its offer."""

    id: int
    kind: str


_SAME = tuple(
    name
    for name in Life.__dataclass_fields__
    if name
    not in {
        "now",
        "gpu",
        "cost",
        "traffic",
        "excused",
        "moves",
        "candidates",
        "status_msg",
        "trouble",
        "autopsy",
    }
)


def meant(session: Session, number: int) -> tuple[Meant, ...]:
    """Return the instances that a number may mean: the row first, then the contract, then the offer.

    Of an offer that was rented more than once it is the newest.
    """
    columns = (("row", Instance.id), ("contract", Instance.contract_id), ("offer", Instance.offer_id))
    found: dict[int, Meant] = {}
    for kind, column in columns:
        query = select(Instance.id).where(column == number).order_by(Instance.id.desc()).limit(1)
        row = session.scalar(query)
        if row is not None:
            found.setdefault(row, Meant(row, kind))
    return tuple(found.values())


def life(session: Session, instance_id: int, now: datetime) -> Life | None:
    """Return the life of one instance until `now`; None = there is no such row."""
    row = session.get(Instance, instance_id, populate_existing=True)
    if row is None:
        return None
    query = select(Transition).where(Transition.instance_id == row.id).order_by(Transition.id)
    return Life(
        now=now,
        gpu=row.gpu_name,
        status_msg=unsigned(row.status_msg),
        trouble=unsigned(row.trouble),
        autopsy=unsigned(row.autopsy),
        excused=row.excused or _template_blamed(session, row),
        cost=costs_of(session, (row.id,), now)[row.id],
        traffic=traffic_of(session, row.id),
        moves=tuple(_moved(move) for move in session.scalars(query)),
        candidates=decisions.candidates(session, row.id),
        **{name: getattr(row, name) for name in _SAME},
    )


def _template_blamed(session: Session, row: Instance) -> bool:
    """Say whether it is not the machine, but the template that is to blame for a failure."""
    if row.failure is None or row.template_hash is None:
        return False
    return (row.template_hash, Failure(row.failure)) in rental_history.blamed(session)


def _moved(move: Transition) -> Moved:
    return Moved(
        at=move.at,
        old=move.from_state,
        new=move.to_state,
        reason=move.reason,
        actor=move.actor,
        why=unsigned(move.detail) or "",
    )


def standing(session: Session, fleet: Fleet, seen: Glance, stale_after: timedelta) -> Standing:
    """Return the pool as it was `seen`, and as `fleet` wants it; its target is that of a loop that lives."""
    now, state = seen.at, seen.state
    beats = state.heartbeat_at is not None and abs(now - state.heartbeat_at) <= stale_after
    kept = state.target if beats else fleet.target
    outlook = rental_history.outlook(
        session, now, since=state.trusted_at, short_life=fleet.caution.short_life
    )
    tries = [
        moment for moment in (state.rent_not_before, outlook.rent_from(fleet.caution)) if moment is not None
    ]
    view = View(
        spent=outlay(session, now) if fleet.budget.counts else Outlay(),
        credit=state.credit,
        overrun=waited_for(rental_history.overruns(session, now, WORTH), fleet.budget, now),
    )
    return Standing(
        now=now,
        target=kept,
        unread=None if kept == fleet.target else fleet.target,
        states=seen.states,
        conditions=state.conditions,
        troubles=seen.readiness(stale_after).why,
        leaving=tuple(_leaving(seen.held)),
        next_try=max(tries, default=None),
        rate=seen.cost,
        hourly=fleet.budget.per_hour,
        caps=caps(fleet, view.spent, reserved(seen.held, now), now),
        dearest=dearest(fleet, seen.held, view, now) if fleet.budget.any else None,
        credit=state.credit,
        quarantines=machines.quarantined(session, fleet.caution, now, template_hash=fleet.template_hash),
        bans=tuple(_banned(session, fleet)),
    )


def _leaving(held: tuple[Held, ...]) -> Iterator[Leaving]:
    """Yield what is on its way out, the longest first."""
    found = [row for row in held if row.state is State.DROPPING]
    for row in sorted(found, key=lambda row: row.moved_at):
        yield Leaving(row.id, row.contract_id, row.moved_at, row.reason, row.destroys)


def _banned(session: Session, fleet: Fleet) -> Iterator[Banned]:
    for kind, numbers in (("machine", fleet.bad_machines), ("host", fleet.bad_hosts)):
        for number in sorted(numbers):
            yield Banned(kind, number, f"it stands in bad_{kind}s")
    for one in bans.read(session):
        yield Banned(one.kind, one.id, one.why)
