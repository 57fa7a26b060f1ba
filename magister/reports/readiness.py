"""Whether the pool is being kept, and if not why."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from magister.domain.times import age
from magister.planner.conditions import Condition
from magister.store import pool
from magister.store.db.lease import Acting, acting, ended
from magister.store.pool import PoolState

BLIND_AFTER = timedelta(minutes=10)
"""Without a complete listing for so long, nobody is keeping the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Show whether the pool is being kept, and if not why; ages in seconds, None = not known."""

    ready: bool
    why: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    target: int | None = None
    heartbeat_age_secs: float | None = None
    listing_age_secs: float | None = None
    acting: Acting | None = None  # the loop that acts; None = none does, or it is not known


def readiness(session: Session, now: datetime, stale_after: timedelta) -> Readiness:
    """Return whether somebody keeps the pool: see `judged`."""
    actor, gone = acting(session, now), ended(session, now)
    return judged(pool.read(session), actor, now, stale_after, gone=gone)


def judged(
    state: PoolState, actor: Acting | None, now: datetime, stale_after: timedelta, *, gone: bool = False
) -> Readiness:
    """Say whether somebody keeps the pool: a loop that beat within `stale_after` and sees its boxes.

    `gone` = the loop that acted last has ended, and no other took its place.

    Not ready is a pool nobody keeps: no loop steps, or it has been blind so long that it can neither
    replace nor end anything (a wrong key and an outage of Vast come to that). Lack of credit or offers and
    refusals are shown only: what is rented is still watched and ended, and no restart would cure them.
    """
    why: list[str] = []
    # a heartbeat from the future tells as little as an old one: the clock was set back since
    if state.heartbeat_at is None:
        why.append("the loop has never run on this database")
    elif abs(now - state.heartbeat_at) > stale_after:
        why.append(f"the loop last gave a sign of life at {state.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC")
    elif gone:
        why.append("no loop acts: the last one has ended")
    if state.listed_at is None:
        why.append("there has been no complete listing from Vast yet, and before that nothing is rented")
    elif now - state.listed_at > BLIND_AFTER:
        why.append(f"the last complete listing from Vast is of {state.listed_at:%Y-%m-%d %H:%M:%S} UTC")
    return Readiness(
        ready=not why,
        why=tuple(why),
        conditions=state.conditions,
        target=state.target,
        heartbeat_age_secs=age(state.heartbeat_at, now),
        listing_age_secs=age(state.listed_at, now),
        acting=actor,
    )


def late(seen: Readiness, stale_after: timedelta) -> bool:
    """Say whether the loop has been silent long enough to ask whether the database can be written at all."""
    return (seen.heartbeat_age_secs or 0.0) > stale_after.total_seconds() / 2


def obstructed(seen: Readiness, obstacle: str) -> Readiness:
    """Return the readiness of a pool whose database cannot be written; "" = it can."""
    return replace(seen, ready=False, why=(*seen.why, obstacle)) if obstacle else seen


def unreachable() -> Readiness:
    """Return the readiness of a pool whose database does not answer."""
    return Readiness(ready=False, why=("the database does not answer",))
