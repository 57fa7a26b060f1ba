"""What is shown of the pool, as frozen values that JSON, the command line and metrics are made from."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.domain.times import age
from magister.money import MICROS_PER_USD
from magister.planner.conditions import Condition
from magister.reports.readiness import Readiness, judged
from magister.states import LIVE, WANTED, Reason, State
from magister.store import instances as rows
from magister.store import pool
from magister.store.db.lease import Acting, acting, ended
from magister.store.db.models import Instance, Transition
from magister.store.pool import PoolState

_KEY_IN_URL = re.compile(r"([?&]key=)[0-9A-Fa-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """Show one instance; None = not known, or not yet."""

    id: int  # of the row, as the history names it
    instance_id: int | None  # the contract, as Vast names it
    offer_id: int
    state: State
    reason: Reason
    why: str | None  # the sentence beside its last move
    gpu: str | None
    num_gpus: int | None
    location: str | None
    machine_id: int | None
    host_id: int | None
    price: int | None  # micro-dollars per hour
    actual_status: str | None
    intended_status: str | None
    cur_state: str | None
    status_msg: str | None
    trouble: str | None
    requested_at: datetime
    moved_at: datetime
    created_at: datetime | None
    verified_at: datetime | None
    verify_by: datetime | None
    dropped_at: datetime | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    announced_at: datetime | None  # when its heartbeat loop said that it runs
    beaten_at: datetime | None  # the last heartbeat
    end_date: datetime | None
    offer: Mapping[str, object] = field(repr=False)  # all Vast said of the offer

    @property
    def should_drop(self) -> bool:
        """Say whether it is on its way out."""
        return self.state is State.DROPPING

    @property
    def kept(self) -> bool:
        """Say whether Vast has made it and it is to stay."""
        return self.instance_id is not None and self.state in WANTED

    @property
    def billed(self) -> bool:
        """Say whether it is known to exist, and so to cost money."""
        return self.instance_id is not None or self.verified_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Show what is kept, what it costs in micro-dollars per hour, and how many have no contract yet."""

    cost: int
    instances: tuple[InstanceView, ...]
    pending: int
    target: int
    states: Mapping[State, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Show one move of one instance; `instance` is the id of its row, None in `from_state` is its birth."""

    at: datetime
    instance: int
    offer_id: int
    instance_id: int | None
    machine_id: int | None
    gpu: str | None
    from_state: State | None
    to_state: State
    reason: Reason
    actor: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Show the whole pool at a moment; money in micro-dollars, ages in seconds, None = not known."""

    at: datetime
    target: int
    states: Mapping[State, int]
    cost: int  # per hour, of all that is billed now, what is on its way out as well
    credit: int | None
    heartbeat_age_secs: float | None
    listing_age_secs: float | None
    conditions: tuple[Condition, ...]
    events: tuple[Event, ...]  # the last ones, the newest last
    instances: tuple[InstanceView, ...]
    acting: Acting | None = None  # the loop that acts; None = none does


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """Hold what is read once of the pool, for all that is told of it at a moment."""

    at: datetime
    state: PoolState
    acting: Acting | None  # the loop that acts; None = none does
    ended: bool  # the loop that acted last has ended
    held: tuple[Held, ...]
    instances: tuple[InstanceView, ...]

    @property
    def states(self) -> Mapping[State, int]:
        """Return how many instances are in each state, destroyed ones left out."""
        return _counts(self.instances)

    @property
    def cost(self) -> int:
        """Return what all that is billed costs, in micro-dollars per hour."""
        return sum(view.price or 0 for view in self.instances if view.billed)

    def readiness(self, stale_after: timedelta) -> Readiness:
        """Return whether somebody keeps the pool."""
        return judged(self.state, self.acting, self.at, stale_after, gone=self.ended)

    def overview(self, events: tuple[Event, ...]) -> Overview:
        """Return the whole pool, with its last moves."""
        return Overview(
            at=self.at,
            target=self.state.target,
            states=self.states,
            cost=self.cost,
            credit=self.state.credit,
            heartbeat_age_secs=age(self.state.heartbeat_at, self.at),
            listing_age_secs=age(self.state.listed_at, self.at),
            conditions=self.state.conditions,
            events=events,
            instances=self.instances,
            acting=self.acting,
        )


def summary(session: Session) -> Summary:
    """Return what is kept and what it costs."""
    views = instances(session)
    kept = tuple(view for view in views if view.kept)
    return Summary(
        cost=sum(view.price or 0 for view in kept),
        instances=kept,
        pending=sum(view.instance_id is None and view.state in WANTED for view in views),
        target=pool.read(session).target,
        states=_counts(views),
    )


def instances(session: Session) -> tuple[InstanceView, ...]:
    """Return the instances that are not proved gone, oldest first."""
    last = (
        select(func.max(Transition.id))
        .where(Transition.instance_id == Instance.id)
        .correlate(Instance)
        .scalar_subquery()
    )
    query = (
        select(Instance, Transition.detail)
        .outerjoin(Transition, Transition.id == last)
        .where(Instance.id.in_(rows.live_ids()))
        .order_by(Instance.id)
    )
    return tuple(_view(row, why) for row, why in session.execute(query))


def glance(session: Session, now: datetime) -> Glance:
    """Read the pool as it is at `now`."""
    return Glance(
        at=now,
        state=pool.read(session),
        acting=acting(session, now),
        ended=ended(session, now),
        held=rows.held(session),
        instances=instances(session),
    )


def overview(session: Session, now: datetime, *, last: int = 20) -> Overview:
    """Return the whole pool at `now`, with the `last` moves."""
    return glance(session, now).overview(history(session, last))


def history(
    session: Session, limit: int, since: datetime | None = None, instance: int | None = None
) -> tuple[Event, ...]:
    """Return the newest `limit` moves, the newest last.

    `since` None = however long ago; `instance` = of one row only, None = of all.
    """
    query = (
        select(Transition, Instance)
        .join(Instance, Instance.id == Transition.instance_id)
        .order_by(Transition.id.desc())
        .limit(limit)
    )
    if since is not None:
        query = query.where(Transition.at >= since)
    if instance is not None:
        query = query.where(Transition.instance_id == instance)
    return tuple(_event(move, row) for move, row in reversed(session.execute(query).all()))


def usd(micros: int) -> float:
    """Return micro-dollars as dollars, for showing only."""
    return micros / MICROS_PER_USD


def _event(move: Transition, row: Instance) -> Event:
    return Event(
        at=move.at,
        instance=row.id,
        offer_id=row.offer_id,
        instance_id=row.contract_id,
        machine_id=row.machine_id,
        gpu=row.gpu_name,
        from_state=move.from_state,
        to_state=move.to_state,
        reason=move.reason,
        actor=move.actor,
        detail=unsigned(move.detail) or "",
    )


def _view(row: Instance, why: str | None) -> InstanceView:
    return InstanceView(
        id=row.id,
        instance_id=row.contract_id,
        offer_id=row.offer_id,
        state=row.state,
        reason=row.reason,
        why=unsigned(why),
        gpu=row.gpu_name,
        num_gpus=row.num_gpus,
        location=row.geolocation,
        machine_id=row.machine_id,
        host_id=row.host_id,
        price=row.price,
        actual_status=row.actual_status,
        intended_status=row.intended_status,
        cur_state=row.cur_state,
        status_msg=unsigned(row.status_msg),
        trouble=unsigned(row.trouble),
        requested_at=row.requested_at,
        moved_at=row.moved_at,
        created_at=row.created_at,
        verified_at=row.verified_at,
        verify_by=row.verify_by,
        dropped_at=row.dropped_at,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        announced_at=row.announced_at,
        beaten_at=row.beaten_at,
        end_date=row.end_date,
        offer=_offer(row),
    )


def _offer(row: Instance) -> dict[str, object]:
    """Return what Vast said of the offer, or else what the row knows; of an adopted one a listing says it."""
    known: dict[str, object] = {
        "id": row.offer_id,
        "machine_id": row.machine_id,
        "host_id": row.host_id,
        "gpu_name": row.gpu_name,
        "num_gpus": row.num_gpus,
        "geolocation": row.geolocation,
        "dph_total": None if row.price is None else usd(row.price),
    }
    try:
        # NaN and Infinity are no JSON, though Python reads and writes them
        said: object = json.loads(row.offer, parse_constant=lambda _: None)
    except ValueError:
        return known
    return known | {str(name): value for name, value in said.items()} if isinstance(said, dict) else known


def unsigned(text: str | None) -> str | None:
    """Mask the mac of a drop address: hosts repeat parts of the command that started a box."""
    return None if text is None else _KEY_IN_URL.sub(r"\1***", text)


def _counts(views: tuple[InstanceView, ...]) -> dict[State, int]:
    found = Counter(view.state for view in views)
    return {state: found[state] for state in State if state in LIVE}
