"""Take the account of the key for the pool's by the word of the operator, and let go of what is not on it."""

import time
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from magister.errors import Refused, Unusable
from magister.planner.conditions import OTHER_ACCOUNT
from magister.service import wiring
from magister.settings.model import load
from magister.states import Reason, State
from magister.store import instances, pool, transitions
from magister.store.db.migrations import existing
from magister.vast import Vast

NO_OTHER = (
    "no other account has answered, so there is none to accept: `magister status` says so when the key is of "
    "another account than the boxes of the pool"
)

NOT_SEEN = (
    "no loop has said lately whether the key is still of another account: start Magister with this key, and "
    "accept the account once `magister status` says so"
)


def run(config: Path | None) -> str:
    """Accept the account that answers, and return what was let go of.

    Raises Unusable if none needs it, or a VastError if Vast does not say which one answers.
    """
    settings = load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    stale_after = timedelta(seconds=settings.web.heartbeat_stale_secs)
    with existing(url, busy_timeout=patience) as sessions:
        answers = _answering(wiring.vast(settings, nap=time.sleep))
        with sessions.write() as session:
            left = accept(session, wiring.now(), answers=answers, stale_after=stale_after)
    if not left:
        return "accepted: the next account that answers is the pool's"
    boxes = ", ".join(str(contract or "one whose contract is not known") for contract in left)
    return (
        "accepted: the next account that answers is the pool's; these contracts on the former are let go of, "
        f"and may cost on until you destroy them there: {boxes}"
    )


def accept(
    session: Session, now: datetime, *, answers: int | None, stale_after: timedelta
) -> tuple[int | None, ...]:
    """Close the rows of all boxes that are not gone, and return their contracts; None = it was never known.

    `answers` is the account of the key, None = Vast does not say. Raises Unusable unless it is another one
    than that of the boxes, by the word of a loop whose last sign of life is not `stale_after` ago.
    """
    live = [row for row in instances.held(session, lock=True) if row.live]
    state = pool.read(session)
    before = state.account_id
    if answers is not None and answers == before:
        raise Unusable(
            f"vast_api_key is of account {before}, which the boxes are on: there is none to accept"
        )
    if all(found.kind != OTHER_ACCOUNT for found in state.conditions):
        raise Unusable(NO_OTHER)
    if state.heartbeat_at is None or abs(now - state.heartbeat_at) > stale_after:
        raise Unusable(NOT_SEEN)
    account = "the former account" if before is None else f"account {before}"
    for row in live:
        why = f"the operator is done with {account}; nobody has seen it end there, and it may cost on"
        transitions.move(session, row, State.DESTROYED, Reason.LEFT_BEHIND, actor="operator", why=why, at=now)
    pool.forget_account(session)
    return tuple(row.contract_id for row in live if row.sends or row.contract_id is not None)


def _answering(vast: Vast) -> int | None:
    """Return whose key it is; None = it may not ask that, or Vast does not say."""
    try:
        return vast.account().id
    except Refused:
        return None
