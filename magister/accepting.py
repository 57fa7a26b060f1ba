"""Take the account of the key for the pool's by the word of the operator, and let go of what is not on it."""

from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from magister import assembly, ledger, pool, rows
from magister.conditions import OTHER_ACCOUNT
from magister.errors import Unusable
from magister.schema import existing
from magister.settings import load
from magister.states import Reason, State

NO_OTHER = (
    "no other account has answered, so there is none to accept: `magister status` says so when the key is of "
    "another account than the boxes of the pool"
)


def run(config: Path | None) -> str:
    """Accept the account that answers, and return what was let go of. Raises Unusable if none needs it."""
    settings = load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.write() as session:
        left = accept(session, assembly.now())
    if not left:
        return "accepted: the next account that answers is the pool's"
    boxes = ", ".join(str(contract or "one whose contract is not known") for contract in left)
    return (
        "accepted: the next account that answers is the pool's; these contracts on the former are let go of, "
        f"and may cost on until you destroy them there: {boxes}"
    )


def accept(session: Session, now: datetime) -> tuple[int | None, ...]:
    """Close the rows of all boxes that are not gone, and return their contracts; None = it was never known.

    Raises Unusable unless the loop has told that the key is of another account.
    """
    if all(found.kind != OTHER_ACCOUNT for found in pool.read(session).conditions):
        raise Unusable(NO_OTHER)
    live = [row for row in rows.held(session, lock=True) if row.live]
    before = pool.read(session).account_id
    account = "the former account" if before is None else f"account {before}"
    for row in live:
        why = f"the operator is done with {account}; nobody has seen it end there, and it may cost on"
        ledger.move(session, row, State.DESTROYED, Reason.LEFT_BEHIND, actor="operator", why=why, at=now)
    pool.forget_account(session)
    return tuple(row.contract_id for row in live if row.sends or row.contract_id is not None)
