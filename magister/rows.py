"""Read rows of the store as facts; nothing here writes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text
from sqlalchemy.orm import Session

from magister.facts import Held, Trial
from magister.models import Instance, Pool, Transition
from magister.models_money import Rate
from magister.outlook import Outlook, Verdict
from magister.rates import Interval, Line
from magister.reputation import Rental
from magister.states import DUDS, FAULTS, LOSSES, PROOFS, Failure, Reason, State, failure
from magister.suspicion import Kind, Tried, suspects, without
from magister.views import BLAMED

REFUSAL_REST = timedelta(minutes=10)
"""How long an offer that Vast refused is not asked for again."""

VERDICTS = 64
"""How many of the last rentals are read to say how boldly to rent: as many as the longest window."""

RENTALS = 5000
"""How many of the last rentals say what may be expected of a machine."""

FRESH = {"populate_existing": True}
"""Read what the database holds now, not what the session saw before."""


@dataclass(frozen=True, slots=True)
class Name:
    """Hold what a listed box is recognised by as that of a row."""

    id: int
    key: str
    contract_id: int | None
    state: State


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

    A live row holds its offer. One that took effect, or may have, keeps it for `within` after its end,
    since the coordinator's DELETE for its worker can come late. A refused one is left alone for a while.
    """
    live = select(Instance.offer_id).where(Instance.id.in_(live_ids()))
    refused = Instance.reason.in_((Reason.OFFER_GONE, Reason.REFUSED))
    ended = select(Instance.offer_id).where(
        Instance.moved_at > now - within,
        or_(_had_effect(), and_(Instance.moved_at > now - REFUSAL_REST, refused)),
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


def trials(session: Session, now: datetime, within: timedelta) -> tuple[Trial, ...]:
    """Return what rentals showed of their machines, oldest first: workers that verified, and failures.

    A moment after `now`, which a clock that was ahead has written, counts as long past.
    """
    query = (
        select(
            Transition.at,
            Instance.machine_id,
            Instance.host_id,
            Instance.verified_at,
            Transition.from_state,
            Transition.to_state,
            Transition.reason,
            Instance.failure,
            Instance.template_hash,
        )
        .join(Transition, Transition.instance_id == Instance.id)
        .where(
            Transition.at > now - within,
            Instance.machine_id.is_not(None),
            or_(
                Transition.to_state == State.VERIFIED,
                and_(Transition.reason.in_(FAULTS), Instance.excused.is_(False)),
            ),
        )
        .order_by(Transition.at, Transition.id)
    )
    found: list[Trial] = []
    for at, machine, host, verified_at, old, new, reason, told, template in session.execute(query):
        kind = None if new is State.VERIFIED else failure(old, reason)
        if kind is not None and told is not None:
            kind = Failure(told)  # its logs may have told more than the move
        if machine is not None and (kind is not None or new is State.VERIFIED):
            trial = Trial(
                at=_past(at, now),
                machine_id=machine,
                host_id=host,
                failure=kind,
                worked=max((at - (verified_at or at)).total_seconds(), 0.0),
                template_hash=template,
            )
            found.append(trial)
    return tuple(found)


def rentals(session: Session, now: datetime, *, newest: int = RENTALS) -> tuple[Rental, ...]:
    """Return what came of the `newest` rentals that verified or failed, the newest first.

    Adopted ones are left out, since nobody saw them boot, and failures that are held against nobody.
    """
    # columns, for most of a row is what Vast said of its offer, and nothing of that is asked
    query = (
        select(
            Instance.requested_at,
            Instance.created_at,
            Instance.verified_at,
            Instance.dropped_at,
            Instance.destroyed_at,
            Instance.machine_id,
            Instance.host_id,
            Instance.gpu_name,
            Instance.failure,
            Instance.excused,
            Instance.template_hash,
        )
        .where(
            Instance.sends > 0,
            Instance.machine_id.is_not(None),
            or_(
                Instance.verified_at.is_not(None),
                and_(Instance.failure.is_not(None), Instance.excused.is_(False)),
            ),
        )
        .order_by(Instance.id.desc())
        .limit(newest)
    )
    found: list[Rental] = []
    for asked, made, verified, dropped, gone, machine, host, gpu, told, excused, template in session.execute(
        query
    ):
        boot, worked = None, 0.0
        if verified is not None:
            boot = max((verified - (made or asked)).total_seconds(), 0.0)
            worked = max(((dropped or gone or now) - verified).total_seconds(), 0.0)
        rental = Rental(
            at=asked,
            machine_id=machine or 0,
            host_id=host,
            gpu_name=gpu,
            boot=boot,
            worked=worked,
            failure=None if excused or told is None else Failure(told),
            template_hash=template,
        )
        found.append(rental)
    return without(found, blamed(session))


def blamed(session: Session) -> Mapping[Kind, int]:
    """Return the templates that are to blame for failures, in which way, and on how many hosts.

    One that ever worked is not. The view that people read of machines asks the same question.
    """
    found = session.execute(text(BLAMED))
    return {(template, Failure(kind)): hosts for template, kind, hosts in found}


def suspected(session: Session, tried: Iterable[Tried]) -> Mapping[Kind, int]:
    """Return the templates that are to blame by what was `tried` alone; one that ever worked is not."""
    found = suspects(tried)
    worked = _proved(session, {template for template, _ in found})
    return {kind: hosts for kind, hosts in found.items() if kind[0] not in worked}


def _proved(session: Session, templates: Iterable[str]) -> frozenset[str]:
    """Return those of the templates with which a worker ever verified: a look at an index for each."""
    return frozenset(
        template
        for template in templates
        if session.scalar(
            select(exists().where(Instance.template_hash == template, Instance.verified_at.is_not(None)))
        )
    )


def last_words(session: Session, template: str, kind: Failure) -> str:
    """Return what the last box said that failed in this way with this template: its logs, or Vast of it."""
    query = (
        select(Instance.autopsy, Instance.status_msg)
        .where(Instance.template_hash == template, Instance.failure == kind)
        .order_by(Instance.id.desc())
        .limit(1)
    )
    found = session.execute(query).first()
    return "" if found is None else found.autopsy or found.status_msg or ""


def given_up(session: Session, now: datetime, within: timedelta, reason: Reason) -> datetime | None:
    """Return when an instance was last given up for `reason`; None = not lately."""
    query = select(func.max(Transition.at)).where(
        Transition.at > now - within, Transition.at <= now, Transition.reason == reason
    )
    return session.scalar(query)


def last_move(session: Session) -> int:
    """Return the number of the newest move of all; 0 = there was none yet."""
    return session.scalar(select(func.max(Transition.id))) or 0


def lost(session: Session, now: datetime, within: timedelta) -> tuple[datetime, ...]:
    """Return when verified instances were given up lately although nobody had asked for it."""
    query = select(Transition.at).where(
        Transition.at > now - within,
        Transition.at <= now,
        Transition.from_state == State.VERIFIED,
        Transition.reason.in_(LOSSES),
    )
    return tuple(session.scalars(query))


def outlook(session: Session, now: datetime, *, since: datetime | None = None) -> Outlook:
    """Return what became of the last rentals: verified, or failed by their own fault before that.

    A moment after `now`, which a clock that was ahead has written, counts as long past. `since` leaves
    out what came before it; None = nothing.
    """
    failed = and_(
        Transition.from_state.in_((State.REQUESTED, State.CREATED)),
        Transition.reason.in_(DUDS),
        Instance.excused.is_(False),
    )
    verified = and_(Transition.to_state == State.VERIFIED, Transition.reason.in_(PROOFS))
    query = (
        select(Transition.at, Instance.requested_at, Transition.to_state)
        .join(Instance, Instance.id == Transition.instance_id)
        .where(or_(verified, failed))
        .order_by(Transition.id.desc())
        .limit(VERDICTS)
    )
    if since is not None:
        query = query.where(Transition.at > since)
    told = session.execute(query)
    return Outlook(
        tuple(
            Verdict(_past(at, now), _past(rented_at, now), verified=state is State.VERIFIED)
            for at, rented_at, state in told
        )
    )


def _past(moment: datetime, now: datetime) -> datetime:
    return moment if moment <= now else now - timedelta(days=1)


def by_offer(session: Session, offer_id: int) -> tuple[Held, ...]:
    """Return the rows of one offer that took effect or still may, the newest first."""
    query = select(Instance).where(Instance.offer_id == offer_id, _had_effect()).order_by(Instance.id.desc())
    return tuple(as_held(row) for row in session.scalars(query, execution_options=FRESH))


def one(session: Session, instance_id: int) -> Held | None:
    """Return one row as it stands now; None = there is no such row."""
    row = session.get(Instance, instance_id, populate_existing=True)
    return None if row is None else as_held(row)


def failure_of(session: Session, instance_id: int) -> Failure | None:
    """Return in which way an instance failed; None = it did not, or there is no such row."""
    said = session.scalar(select(Instance.failure).where(Instance.id == instance_id))
    return None if said is None else Failure(said)


def intervals(
    session: Session, ids: Collection[int] | Select[int], *, last_rate: int | None = None
) -> dict[int, list[Interval]]:
    """Return what instances cost, oldest first on each line; one that never cost anything is left out.

    `last_rate` leaves out what was written after it; None = nothing.
    """
    query = select(Rate).where(Rate.instance_id.in_(ids)).order_by(Rate.id)
    if last_rate is not None:
        query = query.where(Rate.id <= last_rate)
    found: dict[int, list[Interval]] = {}
    for rate in session.scalars(query, execution_options=FRESH):
        found.setdefault(rate.instance_id, []).append(_interval(rate))
    return found


def last_intervals(session: Session, ids: Collection[int]) -> dict[int, dict[Line, Interval]]:
    """Return the last interval of each line of instances; one that never cost anything is left out."""
    last = select(func.max(Rate.id)).where(Rate.instance_id.in_(ids)).group_by(Rate.instance_id, Rate.line)
    found: dict[int, dict[Line, Interval]] = {}
    for rate in session.scalars(select(Rate).where(Rate.id.in_(last)), execution_options=FRESH):
        interval = _interval(rate)
        found.setdefault(rate.instance_id, {})[interval.line] = interval
    return found


def last_rate(session: Session, instance_id: int) -> int:
    """Return the number of the newest rate of an instance; 0 = it never cost anything."""
    return session.scalar(select(func.max(Rate.id)).where(Rate.instance_id == instance_id)) or 0


def _interval(rate: Rate) -> Interval:
    return Interval(Line(rate.line), rate.micros, rate.begins_at, rate.ends_at)
