"""The sole writer of instances: open a row, move it through the one door, learn facts about it."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Unpack

from pydantic import SecretStr
from sqlalchemy import Update, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from magister.domain.actions import Adopt
from magister.domain.callback_key import former
from magister.domain.instance import Held, Learned
from magister.domain.observed import PROVISIONING, Offer, Sighting
from magister.domain.owners import CHANCE_CHARS, FORMER_KEY_CHARS
from magister.domain.risk.failure_logs import refined
from magister.domain.spec import Fleet
from magister.errors import IllegalMove, Stale
from magister.planner import evidence
from magister.states import LOOP, LOSSES, Reason, State, failure, legal
from magister.store import cost_ledger, instances
from magister.store.db.models import Instance, Transition

TEXT_LIMIT = 4000
"""Characters kept of any text that came from outside."""


def open_row(
    session: Session,
    offer: Offer,
    *,
    callback_key: str | None,
    actor: str,
    why: str,
    at: datetime,
    owner: str | None = None,
    template_hash: str | None = None,
    traffic_reserve: int = 0,
) -> Held:
    """Write the intent to rent `offer` under a fresh random key; `template_hash` None = not known.

    `callback_key` is what its callback URL carries; None = nothing, as before there were keys. `owner` is the
    owner id that the key bears, None = none. `traffic_reserve` is what is set aside for its traffic, in
    micro-dollars.
    """
    row = Instance(
        key=_fresh_key(owner),
        state=State.REQUESTED,
        reason=Reason.SHORT,
        moved_at=at,
        requested_at=at,
        due_at=at,
        offer_id=offer.id,
        mac_required=callback_key is not None,
        callback_key=callback_key,
        machine_id=offer.machine_id,
        host_id=offer.host_id,
        gpu_name=offer.gpu_name,
        num_gpus=offer.num_gpus,
        geolocation=offer.geolocation,
        price=offer.price,
        disk_price=offer.disk_price,
        offer=offer.details,
        template_hash=template_hash,
        traffic_reserve=traffic_reserve,
    )
    return _born(session, row, actor=actor, why=why)


def adopt(session: Session, action: Adopt, *, fleet: Fleet, at: datetime, actor: str = LOOP) -> Held | None:
    """Make a row for a box of ours that has none; None = its contract has a row by now."""
    box = action.box.sighting
    known = select(Instance.id).where(Instance.contract_id == box.contract_id)
    if session.scalar(known) is not None:
        return None
    born = box.start_date or at
    row = Instance(
        key=action.box.key or _fresh_key(None),
        state=action.state,
        reason=action.reason,
        moved_at=at,
        requested_at=born,
        created_at=born,
        verified_at=at if action.state is State.VERIFIED else None,
        dropped_at=at if action.state is State.DROPPING else None,
        verify_by=_adopted_deadline(action, born, at, fleet),
        due_at=at if action.state is State.DROPPING else None,
        offer_id=action.box.offer_id,
        mac_required=action.box.callback_key is not None,
        callback_key=action.box.callback_key,
        contract_id=box.contract_id,
        machine_id=box.machine_id,
        host_id=box.host_id,
        gpu_name=box.gpu_name,
        num_gpus=box.num_gpus,
        geolocation=box.geolocation,
        price=box.price,
        disk_price=box.disk_price,
        offer=box.offer,
        template_hash=box.template_hash,
        judge_from=at,
        first_seen_at=at,
        last_seen_at=at,
        actual_status=box.actual_status,
        intended_status=box.intended_status,
        cur_state=box.cur_state,
        status_msg=clipped(box.status_msg),
        start_date=box.start_date,
        end_date=box.end_date,
    )
    made = _born(session, row, actor=actor, why=action.why)
    cost_ledger.note(session, [(made, box)], at)
    return made


def describe_offers(session: Session, found: Iterable[tuple[Held, Sighting]]) -> None:
    """Write what instances show of their offers into the rows that know nothing of theirs."""
    blank = frozenset(
        session.scalars(
            select(Instance.id).where(Instance.id.in_(instances.live_ids()), Instance.offer == "{}")
        )
    )
    for row, box in found:
        if row.id in blank and box.offer != "{}":
            session.execute(update(Instance).where(Instance.id == row.id).values(offer=box.offer))


def _fresh_key(owner: str | None) -> str:
    """Make a key that no other row has; None = it names no owner, for it is never sent."""
    if owner is None:
        return secrets.token_hex(FORMER_KEY_CHARS // 2)
    return owner + secrets.token_hex(CHANCE_CHARS // 2)


def _adopted_deadline(action: Adopt, born: datetime, at: datetime, fleet: Fleet) -> datetime:
    """Give a box that may still be being made the whole time from now on, and any other what is left of it.

    Vast says nothing of a box that it is about to make: that alone is no proof against one.
    """
    status = action.box.sighting.actual_status
    making = status is None or status in PROVISIONING
    return (at if making else born) + fleet.verify_within


def _born(session: Session, row: Instance, *, actor: str, why: str) -> Held:
    session.add(row)
    session.flush()
    _record(session, row.id, None, row.state, row.reason, actor=actor, why=why, at=row.moved_at)
    return instances.as_held(row)


def move(
    session: Session,
    row: Held,
    to: State,
    reason: Reason,
    *,
    actor: str,
    why: str,
    at: datetime,
    rests_on: Iterable[str] = (),
    **learned: Unpack[Learned],
) -> None:
    """Move `row` from the state it was seen in, and write the move into its history.

    `rests_on` names further columns that the reason rests on. Raises Stale if the row has moved since it was
    read, or one of these has changed, and IllegalMove if the table has no such move.
    """
    if not legal(row.state, to):
        raise IllegalMove(f"an instance cannot go from {row.state} to {to}")
    values: dict[str, object] = {**_on_entering(row, to, at), **learned}
    values |= {"state": to, "reason": reason, "moved_at": at}
    if (kind := failure(row.state, reason)) is not None:
        values["failure"] = refined(kind, row.status_msg)
    guarded = update(Instance).where(Instance.id == row.id, Instance.state == row.state)
    columns = Instance.__table__.c
    guarded = guarded.where(*(columns[name].is_not_distinct_from(getattr(row, name)) for name in rests_on))
    if to is State.DESTROYED:  # what was read must still be all that is known
        guarded = guarded.where(Instance.sends == row.sends, Instance.absences == row.absences)
    if session.scalar(_stated(guarded, values)) is None:
        raise Stale(f"instance {row.id} is no longer {row.state}, or what speaks for the move has changed")
    if to is State.CREATED and row.created_at is None:
        cost_ledger.open_account(session, row.id, row.disk_price, at)
    elif to is State.DESTROYED:
        cost_ledger.settle(session, row, reason, at)
    elif row.state is State.DESTROYED:
        cost_ledger.reopen(session, row)
    _record(session, row.id, row.state, to, reason, actor=actor, why=why, at=at)


def _on_entering(row: Held, to: State, at: datetime) -> dict[str, object]:
    """Return the columns that a move into `to` sets by itself."""
    match to:
        case State.CREATED:
            return {"created_at": row.created_at or at, "due_at": None}
        case State.VERIFIED:
            return {"verified_at": at, "due_at": None, "excused": False}
        case State.DROPPING:
            again = {"absences": 0, "absent_since": None, "looked_gone_at": None}
            back = {**again, "destroy_acked": False, "destroys": 0} if row.state is State.DESTROYED else {}
            return {"dropped_at": at, "due_at": at, "destroyed_at": None, **back}
        case State.DESTROYED:
            # what never was a box moves nothing, also when it was given up before that was known
            never = row.contract_id is None and row.verified_at is None
            return {"destroyed_at": at, "due_at": None, **({"traffic_reserve": 0} if never else {})}
        case State.REQUESTED:
            return {}


def learn(session: Session, row: Held, **learned: Unpack[Learned]) -> None:
    """Write facts about `row`, in whatever state it is by now; once its creation is one, its disk costs."""
    if learned:
        session.execute(_stated(update(Instance).where(Instance.id == row.id), dict(learned)))
    created_at = learned.get("created_at")
    if row.created_at is None and created_at is not None:
        cost_ledger.open_account(session, row.id, learned.get("disk_price", row.disk_price), created_at)


def hear(session: Session, row: Held, *, at: datetime) -> None:
    """Write a heartbeat of a verified instance; raises Stale if it is on its way out by now."""
    heard = update(Instance).where(Instance.id == row.id, Instance.state == State.VERIFIED)
    if session.scalar(_stated(heard, {"beaten_at": at})) is None:
        raise Stale(f"instance {row.id} is no longer {State.VERIFIED}")


def claim_send(
    session: Session, row: Held, *, fence: int, at: datetime, beat_secs: int | None = None
) -> Held:
    """Claim the one send of `row` for the holder of `fence`, before anything is sent.

    `beat_secs` is how often the instance will beat by the start text that is sent; None = it will not.
    Raises Stale if the row moved or was claimed since it was read.
    """
    claim = update(Instance).where(
        Instance.id == row.id,
        Instance.state == State.REQUESTED,
        Instance.sends == row.sends,
        Instance.unanswered == 0,
        Instance.contract_id.is_(None),
    )
    values: dict[str, object] = {
        "sends": row.sends + 1,
        "unanswered": 1,
        "sent_at": at,
        "sent_fence": fence,
        "beat_secs": beat_secs,
        "doubted_at": None,
        "judge_from": None,
        "absences": 0,
        "absent_since": None,
        "due_at": None,
    }
    if session.scalar(_stated(claim, values)) is None:
        raise Stale(f"instance {row.id} is no longer waiting to be sent")
    claimed = instances.one(session, row.id)
    if claimed is None:
        raise Stale(f"instance {row.id} is gone")
    return claimed


def withdraw_claim(session: Session, row: Held, *, judge_from: datetime, at: datetime) -> None:
    """Take back the claim of a send that was never made, unless `row` has ended meanwhile.

    Of an earlier send listings tell from `judge_from` on: the claim took away what was known of it.
    """
    withdrawn = update(Instance).where(
        Instance.id == row.id, Instance.sends == row.sends, Instance.state != State.DESTROYED
    )
    values: dict[str, object] = {
        "sends": row.sends - 1,
        "unanswered": 0,
        "doubted_at": None,
        "judge_from": judge_from if row.sends > 1 else None,
        "due_at": at,
    }
    session.scalar(_stated(withdrawn, values))


def doubt(session: Session, row: Held, *, at: datetime, fleet: Fleet, trouble: str) -> None:
    """Leave the send of `row` to the listings: those begun after the grace, counted from `at`, decide."""
    judge_from = at + fleet.create_grace
    learn(session, row, doubted_at=at, judge_from=judge_from, trouble=clipped(trouble))


def keep_former_keys(session: Session, token: SecretStr | None) -> int:
    """Give rows that were rented under a signing `api_token` the key that their instances carry.

    It is computed once, so that another token locks no worker out later. Return how many rows still may be
    called about and have no key, since there is no token to compute it with.
    """
    query = select(Instance.id, Instance.key, Instance.state).where(
        Instance.mac_required.is_(True), Instance.callback_key.is_(None)
    )
    lacking = session.execute(query).all()
    if token is None:
        return sum(state is not State.DESTROYED for _, _, state in lacking)
    for number, key, _ in lacking:
        kept = update(Instance).where(Instance.id == number).values(callback_key=former(token, key))
        session.execute(kept.execution_options(synchronize_session=False))
    return 0


def excuse_waiting(session: Session) -> None:
    """Let what becomes of the boxes that now wait for their workers count neither way.

    A worker that called while nobody was there to hear it has ended for good, and that is no fault of
    its machine or its template.
    """
    waiting = update(Instance).where(Instance.state.in_((State.REQUESTED, State.CREATED)), Instance.sends > 0)
    session.execute(waiting.values(excused=True).execution_options(synchronize_session=False))


def wait_anew(session: Session, *, since: datetime, until: datetime) -> None:
    """Let the boxes that still had time to be heard at `since` have it until `until`: nobody could hear them.

    So have those whose create was in doubt, once a listing shows them.
    """
    waiting = update(Instance).where(
        Instance.state.in_((State.REQUESTED, State.CREATED)),
        or_(Instance.sends > 0, Instance.contract_id.is_not(None)),
        or_(Instance.verify_by.is_(None), Instance.verify_by.between(since, until)),
    )
    session.execute(waiting.values(verify_by=until).execution_options(synchronize_session=False))


def wait_out(session: Session, *, since: datetime, gap: timedelta, latest: datetime) -> None:
    """Give the instances that still had time to be heard at `since` the `gap` in which nobody heard.

    No deadline becomes later than `latest` by that.
    """
    for row in instances.held(session, lock=True):
        asked = row.sends > 0 or row.contract_id is not None
        if row.state not in {State.REQUESTED, State.CREATED} or not asked:
            continue
        if row.verify_by is None:
            learn(session, row, verify_by=latest)
        elif row.verify_by > since:
            learn(session, row, verify_by=max(row.verify_by, min(row.verify_by + gap, latest)))


def excuse_losses(session: Session, *, since: datetime) -> None:
    """Let verified instances that were lost after `since` say nothing against their machines."""
    lost = select(Transition.instance_id).where(
        Transition.at > since, Transition.from_state == State.VERIFIED, Transition.reason.in_(LOSSES)
    )
    excused = update(Instance).where(Instance.id.in_(lost)).values(excused=True)
    session.execute(excused.execution_options(synchronize_session=False))


def turn_back(session: Session, *, to: datetime, fleet: Fleet) -> None:
    """Bring what lies in the future back to `to`, after the clock was set back."""
    for row in instances.held(session, lock=True):
        learn(session, row, **evidence.turned_back(row, to, fleet))
    cost_ledger.turn_back(session, to)
    ended = update(Instance).where(Instance.destroyed_at > to)
    session.execute(ended.values(destroyed_at=to).execution_options(synchronize_session=False))


def put_off(session: Session, *, since: datetime, by: timedelta) -> None:
    """Put off by `by` what lay ahead of `since`, after the clock was set forward."""
    for row in instances.held(session, lock=True):
        learn(session, row, **evidence.put_off(row, since, by))


def clipped(text: str | None) -> str | None:
    """Return at most TEXT_LIMIT characters of `text`, without NULs, which PostgreSQL refuses."""
    return None if text is None else text.replace("\x00", "")[:TEXT_LIMIT]


def _stated(statement: Update, values: Mapping[str, object]) -> ReturningUpdate[int]:
    # objects of the session are not touched: a guarded update that matched nothing must not look done
    return statement.values(**values).returning(Instance.id).execution_options(synchronize_session=False)


def _record(
    session: Session,
    instance_id: int,
    old: State | None,
    new: State,
    reason: Reason,
    *,
    actor: str,
    why: str,
    at: datetime,
) -> None:
    entry = Transition(
        instance_id=instance_id,
        at=at,
        from_state=old,
        to_state=new,
        reason=reason,
        actor=actor,
        detail=clipped(why) or "",
    )
    session.add(entry)
    session.flush()
