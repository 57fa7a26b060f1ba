"""The one row about the pool as a whole: what the loop last knew, and what it was asked."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Update, and_, case, func, select, update
from sqlalchemy.orm import Session

from magister.domain.owners import OWNER_CHARS
from magister.planner.conditions import OTHER_ACCOUNT, OTHER_ACTOR, Condition
from magister.store.db.models import Pool

DEAF_AFTER = timedelta(seconds=60)
"""Without a sign of life of the web side for so long, silence proves nothing of a worker."""


def deaf_after(beat_timeout: timedelta) -> timedelta:
    """Return the longest gap of the web side that leaves a box time to be heard before it is held silent.

    A gap loses the beats in it, and the last one before it may have been due: that and two of the three
    beats that the timeout has room for.
    """
    return min(DEAF_AFTER, beat_timeout / 5)


def missed_after(deaf_after: timedelta) -> timedelta:
    """Return after which gap a web side that begins to sign takes it that nobody was there to hear.

    In a running one so long a gap may be signs that were lost to a busy database.
    """
    return deaf_after / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """Hold the row of `pool` as it was read; a moment that is None has not been yet."""

    target: int
    heartbeat_at: datetime | None
    listed_at: datetime | None  # when the last listing began of which each box of ours has its row
    listing_wanted_at: datetime | None
    rent_not_before: datetime | None
    rent_refusals: int
    credit: int | None  # micro-dollars
    account_id: int | None  # the Vast account that the boxes are on; None = not learnt yet
    hearing_since: datetime | None  # since when the web side has been up without a gap
    heard_at: datetime | None  # its last sign of life
    roster_at: datetime | None
    trusted_at: datetime | None
    bills_read_at: datetime | None
    owner_id: str | None  # None = no loop has acted on this database yet
    acting_since: datetime | None  # the first listing that told of all, if loops acted throughout since
    conditions: tuple[Condition, ...]


def read(session: Session) -> PoolState:
    """Return the pool's row."""
    row = session.scalars(select(Pool).where(Pool.id == 1)).one()
    return PoolState(
        target=row.target,
        heartbeat_at=row.heartbeat_at,
        listed_at=row.listed_at,
        listing_wanted_at=row.listing_wanted_at,
        rent_not_before=row.rent_not_before,
        rent_refusals=row.rent_refusals,
        credit=row.credit,
        account_id=row.account_id,
        hearing_since=row.hearing_since,
        heard_at=row.heard_at,
        roster_at=row.roster_at,
        trusted_at=row.trusted_at,
        bills_read_at=row.bills_read_at,
        owner_id=row.owner_id,
        acting_since=row.acting_since,
        conditions=tuple(Condition(**entry) for entry in json.loads(row.conditions)),
    )


def alone(session: Session) -> None:
    """Let nobody else reserve money until the transaction ends (PostgreSQL; SQLite has one writer)."""
    session.execute(select(Pool.id).where(Pool.id == 1).with_for_update())


def beat(session: Session, now: datetime, *, target: int, conditions: tuple[Condition, ...]) -> None:
    """Write that the loop is alive, what it aims at and what stands in its way."""
    shown = json.dumps([asdict(condition) for condition in conditions], ensure_ascii=False)
    session.execute(_pool().values(heartbeat_at=now, target=target, conditions=shown))


def callback_secret(session: Session) -> str:
    """Return the secret that signs callback keys; the first who asks makes it. Commit what this wrote."""
    made = update(Pool).where(Pool.id == 1, Pool.callback_secret.is_(None))
    session.execute(made.values(callback_secret=secrets.token_hex(32)))
    return session.scalars(select(Pool.callback_secret).where(Pool.id == 1)).one() or ""


def made_secret(session: Session) -> str | None:
    """Return the secret that signs callback keys, without making one; None = nobody has asked for it yet."""
    return session.scalar(select(Pool.callback_secret).where(Pool.id == 1))


def ask_for_listing(session: Session, now: datetime) -> None:
    """Ask the loop for a listing at once."""
    session.execute(_pool().values(listing_wanted_at=now))


def note_answered(session: Session, wish: datetime | None) -> None:
    """Write that a listing came of a wish that had been made before it began; None = there was none.

    A wish made meanwhile stands. Whose clock it bears does not matter: wishes are only told apart.
    """
    if wish is not None:
        session.execute(_pool().where(Pool.listing_wanted_at == wish).values(listing_wanted_at=None))


def note_listed(session: Session, begun_at: datetime) -> None:
    """Write when the last complete listing began of which each box of ours has its row."""
    since = func.coalesce(Pool.acting_since, begun_at)
    session.execute(_pool().values(listed_at=begun_at, acting_since=since))


def forget_listing(session: Session) -> None:
    """Let a box without a row be one that is not known yet, until a listing has told of all."""
    session.execute(_pool().values(listed_at=None, acting_since=None))


def owner_id(session: Session) -> str:
    """Return the owner id of this database, which is made when it is first asked for."""
    found = session.scalar(select(Pool.owner_id).where(Pool.id == 1))
    if found is not None:
        return found
    mine = secrets.token_hex(OWNER_CHARS // 2)
    session.execute(_pool().where(Pool.owner_id.is_(None)).values(owner_id=mine))
    return session.scalars(select(Pool.owner_id).where(Pool.id == 1)).one() or mine


def begin_to_act(session: Session, now: datetime, *, gap: timedelta) -> None:
    """Let what the next listing finds have been there before, unless loops acted throughout."""
    owner_id(session)
    if acted_since(read(session), now, gap=gap) is None:
        session.execute(_pool().values(acting_since=None))


def acted_since(state: PoolState, now: datetime, *, gap: timedelta) -> datetime | None:
    """Return since when loops on this database acted throughout, if one begins `now`; None = they did not.

    While another Magister is known to rent, no gap matters: what it rented meanwhile is its own.
    """
    here = state.heartbeat_at is not None and abs(now - state.heartbeat_at) <= gap
    contested = any(found.kind == OTHER_ACTOR for found in state.conditions)
    return state.acting_since if here or contested else None


def note_credit(session: Session, credit: int | None) -> None:
    """Write what the account can spend, in micro-dollars."""
    session.execute(_pool().values(credit=credit))


def note_account(session: Session, account_id: int) -> None:
    """Write which Vast account the boxes are on."""
    session.execute(_pool().values(account_id=account_id))


def forget_account(session: Session) -> None:
    """Let the next Vast account that answers be the pool's, and tell no more of another one."""
    left = [asdict(one) for one in read(session).conditions if one.kind != OTHER_ACCOUNT]
    session.execute(_pool().values(account_id=None, conditions=json.dumps(left, ensure_ascii=False)))


def note_bills(session: Session, now: datetime) -> None:
    """Write when the bill was last read in full."""
    session.execute(_pool().values(bills_read_at=now))


def note_hearing(session: Session, now: datetime, *, deaf_after: timedelta = DEAF_AFTER) -> None:
    """Write that the web side can hear workers; after a gap, or a clock set back, it hears since now.

    The sign before may be another process's, whose clock is ahead, or which was written in between.
    """
    unbroken = and_(Pool.heard_at > now - deaf_after, Pool.heard_at < now + deaf_after)
    since = case((unbroken, func.coalesce(Pool.hearing_since, now)), else_=now)
    session.execute(_pool().values(hearing_since=since, heard_at=now))


def missed_from(session: Session, now: datetime, *, deaf_after: timedelta) -> datetime | None:
    """Return the last sign of life of the web side before a gap that ends at `now`; None = there is none."""
    last = session.scalars(select(Pool.heard_at).where(Pool.id == 1)).one()
    return last if last is not None and now - last > deaf_after else None


def told_by(state: PoolState, *, ahead: timedelta) -> PoolState:
    """Return the signs of the web side by a clock that the one which they were written by is `ahead` of."""
    since, last = state.hearing_since, state.heard_at
    return replace(
        state,
        hearing_since=None if since is None else since - ahead,
        heard_at=None if last is None else last - ahead,
    )


def hearing_since(state: PoolState, now: datetime, *, deaf_after: timedelta = DEAF_AFTER) -> datetime | None:
    """Return since when workers have been heard without a gap; None = nobody listens at `now`."""
    if state.heard_at is None or abs(now - state.heard_at) > deaf_after:
        return None
    return state.hearing_since


def note_roster(session: Session, begun_at: datetime) -> None:
    """Write when the last roster of Hierophant was asked for that came."""
    session.execute(_pool().values(roster_at=begun_at))


def trust(session: Session, now: datetime) -> None:
    """Let failures and losses before `now` hold nothing back any more."""
    session.execute(_pool().values(trusted_at=now, rent_not_before=None, rent_refusals=0))


def hold_renting(session: Session, *, until: datetime | None, refusals: int) -> None:
    """Rent nothing before `until`; None = rent again."""
    session.execute(_pool().values(rent_not_before=until, rent_refusals=refusals))


def turn_back(session: Session, *, to: datetime, latest: datetime) -> None:
    """End at `to` a hold that reaches beyond `latest`, as after the clock was set back.

    The signs of the web side are by another clock, and see to themselves.
    """
    session.execute(_pool().where(Pool.rent_not_before > latest).values(rent_not_before=to))
    for moment in (Pool.roster_at, Pool.trusted_at, Pool.bills_read_at, Pool.acting_since):
        session.execute(_pool().where(moment > to).values({moment: to}))


def _pool() -> Update:
    return update(Pool).where(Pool.id == 1)
