"""Read rows of the store as facts; nothing here writes."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from magister.facts import Held, Record
from magister.models import Instance, Transition
from magister.states import FAULTS, Reason, State

REFUSAL_REST = timedelta(minutes=10)
"""How long an offer that Vast refused is not asked for again."""

_FACTS = tuple(name for name in Held.__dataclass_fields__ if name != "id")


def as_held(row: Instance) -> Held:
    """Return a row as the frozen value that the planner works with."""
    return Held(id=row.id, **{name: getattr(row, name) for name in _FACTS})


def held(session: Session, *, lock: bool = False) -> tuple[Held, ...]:
    """Return the rows that may cost or need something, oldest first.

    These are all that are not destroyed, and the destroyed ones that a listing has shown again.
    `lock` keeps others from changing them until the transaction ends (PostgreSQL; SQLite has one writer).
    """
    query = (
        select(Instance)
        .where(or_(Instance.state != State.DESTROYED, Instance.due_at.is_not(None)))
        .order_by(Instance.id)
    )
    if lock:
        query = query.with_for_update()
    return tuple(as_held(row) for row in session.scalars(query))


def known_boxes(session: Session, contracts: Iterable[int], keys: Iterable[str]) -> tuple[Held, ...]:
    """Return the rows, in any state, that bear one of the contracts or one of the keys."""
    query = select(Instance).where(or_(Instance.contract_id.in_(contracts), Instance.key.in_(keys)))
    return tuple(as_held(row) for row in session.scalars(query))


def anything_due(session: Session, now: datetime) -> bool:
    """Say whether a row asks for the loop; one look at a small partial index."""
    due = select(exists().where(and_(Instance.due_at.is_not(None), Instance.due_at <= now)))
    return bool(session.scalar(due))


def recent_offers(session: Session, now: datetime, within: timedelta) -> frozenset[int]:
    """Return the offers that may not be rented now.

    A live row holds its offer. One that took effect, or may have, keeps it for `within` after its end,
    since the coordinator's DELETE for its worker can come late. A refused one is left alone for a while.
    """
    ended = Instance.state == State.DESTROYED
    had_effect = or_(
        Instance.contract_id.is_not(None),
        Instance.verified_at.is_not(None),
        Instance.reason == Reason.NEVER_TOOK_EFFECT,
    )
    refused = Instance.reason.in_((Reason.OFFER_GONE, Reason.REFUSED))
    query = select(Instance.offer_id).where(
        or_(
            ~ended,
            and_(ended, Instance.moved_at > now - within, had_effect),
            and_(ended, Instance.moved_at > now - REFUSAL_REST, refused),
        )
    )
    return frozenset(session.scalars(query))


def records(session: Session, now: datetime, within: timedelta) -> dict[int, Record]:
    """Return what speaks against machines: their failures since the last worker verified on them."""
    verified = (
        select(Instance.machine_id, func.max(Instance.verified_at).label("at"))
        .where(Instance.verified_at > now - within)
        .group_by(Instance.machine_id)
        .subquery()
    )
    failed = (
        select(Instance.machine_id, func.count().label("failures"), func.max(Transition.at).label("last"))
        .join(Transition, Transition.instance_id == Instance.id)
        .outerjoin(verified, verified.c.machine_id == Instance.machine_id)
        .where(
            Transition.at > now - within,
            Transition.reason.in_(FAULTS),
            Instance.machine_id.is_not(None),
            or_(verified.c.at.is_(None), Transition.at >= verified.c.at),
        )
        .group_by(Instance.machine_id)
    )
    return {
        machine: Record(machine, failures, last)
        for machine, failures, last in session.execute(failed)
        if machine is not None
    }


def by_offer(session: Session, offer_id: int) -> tuple[Held, ...]:
    """Return the rows of one offer that took effect or still may, the newest first."""
    never = and_(Instance.state == State.DESTROYED, Instance.contract_id.is_(None))
    query = select(Instance).where(Instance.offer_id == offer_id, ~never).order_by(Instance.id.desc())
    return tuple(as_held(row) for row in session.scalars(query))


def one(session: Session, instance_id: int) -> Held | None:
    """Return one row as it stands now; None = there is no such row."""
    row = session.get(Instance, instance_id, populate_existing=True)
    return None if row is None else as_held(row)
