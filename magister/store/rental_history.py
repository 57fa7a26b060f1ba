"""Read what earlier rentals showed of machines, hosts, templates and the way as a whole."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import and_, exists, func, or_, select, text
from sqlalchemy.orm import Session

from magister.domain.risk.launch_breaker import Outlook, judge
from magister.domain.risk.quarantine import Trial
from magister.domain.risk.reputation import Rental
from magister.domain.risk.short_lives import Milestone, Senses, events
from magister.domain.risk.suspicion import Kind, Tried, suspects, without
from magister.domain.spec import Loss
from magister.money import Overrun
from magister.states import DUDS, FAULTS, LOSSES, PROOFS, Failure, Reason, State, failure
from magister.store.db.models import Instance, Pool, Transition
from magister.store.db.views import BLAMED, NEWEST_TEMPLATE

VERDICTS = 64
"""How many of the last rentals are read to say how boldly to rent: as many as the longest window."""

RENTALS = 5000
"""How many of the last rentals say what may be expected of a machine."""


ONE_EVENT = timedelta(days=1)
"""What was rented so soon after many were lost at once, and is lost so as well, is not excused again."""


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
    return tuple(
        Trial(
            at=_past(at, now),
            machine_id=machine,
            host_id=host,
            failure=kind,
            verified=verified_at is not None,
            template_hash=template,
        )
        for at, machine, host, verified_at, old, new, reason, told, template in session.execute(query)
        for kind in (_failed(old, new, reason, told),)
        if machine is not None and (kind is not None or new is State.VERIFIED)
    )


def _failed(old: State | None, new: State, reason: Reason, told: str | None) -> Failure | None:
    """Return what a move says of how an instance failed, or what its logs told more exactly."""
    kind = None if new is State.VERIFIED else failure(old, reason)
    return kind if kind is None or told is None else Failure(told)


def rentals(
    session: Session,
    now: datetime,
    *,
    newest: int = RENTALS,
    in_force: str | None = None,
    short_life: timedelta = timedelta(),
) -> tuple[Rental, ...]:
    """Return what came of the `newest` rentals that verified or failed, the newest first.

    Adopted ones are left out, since nobody saw them boot, and failures that are held against nobody;
    `in_force` is the template in force, as `blamed` takes it. A life that ended among many was ended by
    nobody's fault, unless it began within ONE_EVENT after such an end. Then it counts, or machines on which
    instances soon end would be taken for the best of all wherever several end together. A life that failed
    within `short_life` is marked; zero = none is.
    """
    # columns, for most of a row is what Vast said of its offer, and nothing of that is asked
    query = (
        select(
            Instance.requested_at,
            Instance.created_at,
            Instance.verified_at,
            Instance.verify_by,
            Instance.dropped_at,
            Instance.destroyed_at,
            Instance.beaten_at,
            Instance.sick_since,
            Instance.machine_id,
            Instance.host_id,
            Instance.gpu_name,
            Instance.price,
            Instance.failure,
            Instance.excused,
            Instance.template_hash,
        )
        .where(
            Instance.sends > 0,
            Instance.contract_id.is_not(None),
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
    excused_at: dict[int, datetime] = {}  # by the place in `found`
    for (
        asked,
        made,
        verified,
        due,
        dropped,
        gone,
        beaten,
        sick,
        machine,
        host,
        gpu,
        price,
        told,
        excused,
        template,
    ) in session.execute(query):
        boot, worked = None, 0.0
        if verified is not None:
            # one that counts as verified since a backup was put back had called by its deadline, if ever
            boot = max((min(verified, due or verified) - (made or asked)).total_seconds(), 0.0)
            ended = _worked_until(told, beaten, sick, dropped or gone or now)
            worked = max((ended - verified).total_seconds(), 0.0)
        rental = Rental(
            at=asked,
            machine_id=machine or 0,
            host_id=host,
            gpu_name=gpu,
            price=price,
            boot=boot,
            worked=worked,
            failure=None if told is None else Failure(told),
            template_hash=template,
        )
        if excused:
            excused_at[len(found)] = max(dropped or gone or now, asked)
        found.append(rental)
    for place in _once(found, excused_at):
        found[place] = replace(found[place], failure=None)
    marked = (replace(one, ended_soon=_ended_soon(one, short_life)) for one in found)
    return without(marked, blamed(session, in_force=in_force))


def _worked_until(
    told: str | None, beaten: datetime | None, sick: datetime | None, ended: datetime
) -> datetime:
    """Return until when an instance worked that was kept until `ended`: the rest was paid for, but no work.

    It is given up only some time after its last heartbeat, or after Vast said that it stopped.
    """
    signs = {Failure.SILENT: (beaten,), Failure.DIED: (beaten, sick), Failure.OFFLINE: (beaten, sick)}
    known = signs.get(Failure(told), ()) if told is not None else ()
    return min(ended, max((moment for moment in known if moment is not None), default=ended))


def _once(found: Sequence[Rental], excused_at: Mapping[int, datetime]) -> Iterator[int]:
    """Yield the places of the excused that were not rented within ONE_EVENT after another such end."""
    ends = sorted(excused_at.values())
    for place in excused_at:
        earlier = bisect_left(ends, found[place].at)
        if earlier == 0 or found[place].at - ends[earlier - 1] > ONE_EVENT:
            yield place


def _ended_soon(rental: Rental, short_life: timedelta) -> bool:
    verified = rental.boot is not None
    return verified and rental.failure is not None and rental.worked < short_life.total_seconds()


def blamed(session: Session, *, in_force: str | None = None) -> Mapping[Kind, int]:
    """Return the templates that are to blame for failures, in which way, and on how many hosts.

    One that ever worked is not. Nor is the one `in_force`, which is only suspected: until it is changed its
    failures count against the machines, or the same ones would be rented again and again. None = the one
    that was rented with last, as in the view that people read of machines.
    """
    newest = in_force or session.scalar(text(f"SELECT {NEWEST_TEMPLATE}"))
    found = session.execute(text(BLAMED))
    return {(template, Failure(kind)): hosts for template, kind, hosts in found if template != newest}


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


def overruns(session: Session, now: datetime, within: timedelta) -> tuple[Overrun, ...]:
    """Return for which caps instances were given up within a time, sent intents at least."""
    query = (
        select(Transition.at, Instance.over_cap, Instance.over_limit)
        .join(Instance, Instance.id == Transition.instance_id)
        .where(
            Transition.at > now - within,
            Transition.at <= now,
            Transition.reason == Reason.BUDGET,
            Transition.to_state == State.DROPPING,
        )
    )
    found = session.execute(query)
    return tuple(Overrun(at, cap, limit) for at, cap, limit in found if cap is not None and limit is not None)


def last_move(session: Session) -> int:
    """Return the number of the newest move of all; 0 = there was none yet."""
    return session.scalar(select(func.max(Transition.id))) or 0


def lost(session: Session, now: datetime, within: timedelta) -> tuple[Loss, ...]:
    """Return the verified instances that were given up lately although nobody had asked for it."""
    query = (
        select(Transition.at, Instance.host_id, Transition.reason)
        .join(Instance, Instance.id == Transition.instance_id)
        .where(
            Transition.at > now - within,
            Transition.at <= now,
            Transition.from_state == State.VERIFIED,
            Transition.reason.in_(LOSSES),
        )
    )
    return tuple(Loss(*found) for found in session.execute(query))


def outlook(
    session: Session, now: datetime, *, since: datetime | None = None, short_life: timedelta = timedelta()
) -> Outlook:
    """Return what became of the last rentals: verified, or failed by their own fault.

    They fail before they verify, or within `short_life` afterwards; zero = only before. A moment after
    `now`, which a clock that was ahead has written, counts as long past. `since` leaves out what came
    before it; None = nothing.
    """
    failed = and_(
        Transition.from_state.in_((State.REQUESTED, State.CREATED)),
        Transition.reason.in_(DUDS),
        Instance.excused.is_(False),
    )
    verified = and_(Transition.to_state == State.VERIFIED, Transition.reason.in_((*PROOFS, Reason.BEAT)))
    ended = Transition.from_state == State.VERIFIED
    query = (
        select(
            Transition.at,
            Transition.from_state,
            Transition.to_state,
            Transition.reason,
            *(getattr(Instance, name) for name in _KNOWN),
        )
        .join(Instance, Instance.id == Transition.instance_id)
        .where(or_(verified, failed, ended))
        .order_by(Transition.id.desc())
        .limit(2 * VERDICTS)  # a worker that verified and ended made two moves
    )
    if since is not None:  # who verified before may live on or end after it
        query = query.where(or_(Transition.at > since, and_(verified, Transition.at > since - short_life)))
    moves = [
        Milestone(_past(at, now), *move, **dict(zip(_KNOWN, known, strict=True)))
        for at, *rest in session.execute(query)
        for move, known in ((rest[:3], rest[3:]),)
    ]
    state = session.execute(select(Pool.hearing_since, Pool.roster_at)).first()
    heard, roster_at = (None, None) if state is None else state
    listed = roster_at is not None and session.scalar(
        select(exists().where(Instance.state == State.VERIFIED, Instance.on_roster_at == roster_at))
    )
    senses = Senses(hearing_since=heard, roster_at=roster_at, lists_ours=bool(listed))
    return judge(events(moves[::-1], senses, short_life, now), now)


_KNOWN = (
    "id",
    "requested_at",
    "excused",
    "announced_at",
    "beaten_at",
    "sick_since",
    "absent_since",
    "on_roster_at",
    "off_roster_since",
    "end_date",
)
"""What is known of an instance that tells how long its worker lived; the names are those of Milestone."""


def excused(session: Session, now: datetime, within: timedelta) -> bool:
    """Say whether boxes that did not verify were excused within a time, and no worker verified since.

    What was rented after `now`, by a clock that was ahead, counts as long past.
    """
    tried = and_(Instance.requested_at > now - within, Instance.requested_at <= now)
    waited = select(func.max(Instance.requested_at)).where(
        tried, Instance.excused.is_(True), Instance.verified_at.is_(None)
    )
    last = session.scalar(waited)
    if last is None:
        return False
    return session.scalar(select(Instance.id).where(tried, Instance.verified_at > last).limit(1)) is None


def _past(moment: datetime, now: datetime) -> datetime:
    return moment if moment <= now else now - timedelta(days=1)
