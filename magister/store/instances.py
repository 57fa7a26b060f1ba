"""Read rows of `instances` as facts; nothing here writes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select, text
from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.states import Failure, Reason, State
from magister.store.db.models import Instance, Pool, Transition

REFUSAL_REST = timedelta(minutes=10)
"""How long an offer that Vast refused, or whose create had no effect, is not asked for again."""

FRESH = {"populate_existing": True}
"""Read what the database holds now, not what the session saw before."""


@dataclass(frozen=True, slots=True)
class Name:
    """Hold what a listed box is recognised by as that of a row."""

    id: int
    key: str
    contract_id: int | None
    state: State


@dataclass(frozen=True, slots=True)
class Callback:
    """Hold what the callback URL of a live row is made from."""

    offer_id: int
    mac_required: bool
    callback_key: str | None = field(repr=False)

    @property
    def keyless(self) -> bool:
        """Say whether it has no key."""
        return self.callback_key is None and not self.mac_required


_FACTS = tuple(name for name in Held.__dataclass_fields__ if name != "id")


def as_held(row: Instance) -> Held:
    """Return a row as the frozen value that the planner works with."""
    return Held(id=row.id, **{name: getattr(row, name) for name in _FACTS})


def held(session: Session, *, lock: bool = False) -> tuple[Held, ...]:
    """Return the rows that may cost or need something, oldest first.

    These are all that are not destroyed, and the destroyed ones that a listing has shown again.
    `lock` keeps others from changing them until the transaction ends (PostgreSQL; SQLite has one writer).
    """
    due = select(Instance.id).where(Instance.due_at.is_not(None))
    query = select(Instance).where(Instance.id.in_(live_ids().union(due))).order_by(Instance.id)
    if lock:
        query = query.with_for_update()
    return tuple(as_held(row) for row in session.scalars(query, execution_options=FRESH))


def live_ids() -> Select[int]:
    """Select the ids of the rows that are not destroyed, in words that the partial index answers to."""
    return select(Instance.id).where(text("state <> 'destroyed'"))


def known_boxes(session: Session, contracts: Iterable[int], keys: Iterable[str]) -> tuple[Held, ...]:
    """Return the rows, in any state, that bear one of the contracts or one of the keys."""
    query = select(Instance).where(or_(Instance.contract_id.in_(contracts), Instance.key.in_(keys)))
    return tuple(as_held(row) for row in session.scalars(query, execution_options=FRESH))


def names(session: Session) -> tuple[Name, ...]:
    """Return what every row is recognised by, from columns that each revision of the database has."""
    query = select(Instance.id, Instance.key, Instance.contract_id, Instance.state)
    return tuple(Name(*found) for found in session.execute(query))


def live_callbacks(session: Session) -> tuple[Callback, ...]:
    """Return what the callback URLs of the rows are made from that are not destroyed."""
    query = select(Instance.offer_id, Instance.mac_required, Instance.callback_key)
    return tuple(Callback(*found) for found in session.execute(query.where(Instance.id.in_(live_ids()))))


def owners(session: Session, wanted: Iterable[str]) -> frozenset[str]:
    """Return those of the owner ids that a row bears, in whatever state it is."""
    return frozenset(
        owner for owner in wanted if session.scalar(select(exists().where(Instance.key.startswith(owner))))
    )


def anything_due(session: Session, since: datetime, now: datetime) -> bool:
    """Say whether a row became due after `since`, or somebody wants a listing: one look at small indexes."""
    due = exists().where(Instance.due_at > since, Instance.due_at <= now)
    dropped = exists().where(
        Instance.id.in_(live_ids()),
        Instance.state == State.DROPPING,
        Instance.destroys == 0,
        Instance.contract_id.is_not(None),
    )  # whatever the clock of the host says that heard the drop
    wanted = exists().where(Pool.listing_wanted_at.is_not(None))
    return bool(session.scalar(select(or_(due, dropped, wanted))))


def recent_offers(session: Session, now: datetime, within: timedelta) -> frozenset[int]:
    """Return the offers that may not be rented now.

    A live row holds its offer. One without a callback key that took effect, or may have, keeps it for
    `within` after its end, since the coordinator's DELETE for its worker can come late and would mean the
    next instance on the offer. A key means one instance only. An offer that was refused, or whose create had
    no effect, is left alone for a while: the create may still arrive.
    """
    live = select(Instance.offer_id).where(Instance.id.in_(live_ids()))
    refused = Instance.reason.in_((Reason.OFFER_GONE, Reason.REFUSED, Reason.NEVER_TOOK_EFFECT))
    ended = select(Instance.offer_id).where(
        Instance.moved_at > now - within,
        or_(
            and_(_had_effect(), Instance.callback_key.is_(None)),
            and_(Instance.moved_at > now - REFUSAL_REST, refused),
        ),
    )
    return frozenset(session.scalars(live.union(ended)))


def _had_effect() -> ColumnElement[bool]:
    """Tell a row for which a box was made, or may have been, from one that was refused or never sent."""
    return or_(
        Instance.state != State.DESTROYED,
        Instance.contract_id.is_not(None),
        Instance.verified_at.is_not(None),
        Instance.reason == Reason.NEVER_TOOK_EFFECT,
    )


def _twin() -> ColumnElement[bool]:
    """Tell a row that was made for a second box under the key of another row."""
    return exists().where(Transition.instance_id == Instance.id, Transition.reason == Reason.TWIN)


def by_offer(session: Session, offer_id: int) -> tuple[Held, ...]:
    """Return the rows of one offer that took effect or still may, the newest first.

    A twin is left out, also when it is gone: it bears the address of the instance whose key it has.
    """
    query = select(Instance).where(Instance.offer_id == offer_id, _had_effect(), ~_twin())
    query = query.order_by(Instance.id.desc())
    return tuple(as_held(row) for row in session.scalars(query, execution_options=FRESH))


def one(session: Session, instance_id: int) -> Held | None:
    """Return one row as it stands now; None = there is no such row."""
    row = session.get(Instance, instance_id, populate_existing=True)
    return None if row is None else as_held(row)


def failure_of(session: Session, instance_id: int) -> Failure | None:
    """Return in which way an instance failed; None = it did not, or there is no such row."""
    said = session.scalar(select(Instance.failure).where(Instance.id == instance_id))
    return None if said is None else Failure(said)


def last_refusal(session: Session) -> Reason | None:
    """Return why Vast refused the last create that ended as one; None = it refused none."""
    refused = (Reason.REFUSED, Reason.NO_CREDIT, Reason.BAD_KEY)
    query = select(Instance.reason).where(Instance.state == State.DESTROYED, Instance.reason.in_(refused))
    return session.scalar(query.order_by(Instance.moved_at.desc(), Instance.id.desc()).limit(1))
