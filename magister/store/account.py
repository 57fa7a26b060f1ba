"""Whether the Vast account that answers is the one the pool's boxes are on.

The key of another account is answered in full, and shows none of our boxes: all would be proved gone, and
rented again, while they cost on. So what an account says is evidence only once it is known to be ours: by its
id, by a listing that shows a box of ours, or because there is no box that it could lack.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from magister.domain.instance import Held
from magister.domain.observed import Listing
from magister.domain.spec import Fleet
from magister.errors import OtherAccount
from magister.planner.adoption import adoptable, key_in, recognised
from magister.store import instances, pool


@dataclass(frozen=True, slots=True)
class Recognition:
    """Say whether an account is ours, and which one that was before; None = not known."""

    ours: bool
    before: int | None


def recognise(session: Session, account: int | None) -> Recognition:
    """Say whether the account that answers is ours, before it has listed anything, and keep its id if so.

    None = Vast did not say which one it is.
    """
    before = pool.read(session).account_id
    ours = _same(before, account) or not _at_stake(session, before, account)
    if ours:
        _keep(session, before, account)
    return Recognition(ours, before)


def require_ours(
    session: Session, listing: Listing, account: int | None, *, ours: bool, fleet: Fleet
) -> None:
    """Raise OtherAccount unless a complete listing is of our account; keep the id of one that proves it.

    `account` is which one answers, None = Vast did not say; `ours` = it was known to be ours before, which
    goes for as long as the process and its key last.
    """
    before = pool.read(session).account_id
    if _same(before, account) or (ours and account is None):
        return
    lacking = _at_stake(session, before, account)
    if lacking and not _shows(session, listing, None if _differ(before, account) else fleet):
        raise OtherAccount(boxes=len(lacking), answers=account, ours=before)
    _keep(session, before, account)


def at_stake(held: Iterable[Held], before: int | None, account: int | None) -> tuple[Held, ...]:
    """Return the rows whose boxes an account must show before it is believed.

    If it is known to be another one, that is each row for which a box may exist. If not, it is the boxes that
    ought to be listed: one whose create is in doubt, or whose destroy was acknowledged, may be missing.
    """
    live = [row for row in held if row.live]
    if _differ(before, account):
        return tuple(row for row in live if row.sends or row.contract_id is not None)
    return tuple(row for row in live if row.contract_id is not None and not row.destroy_acked)


def _same(before: int | None, account: int | None) -> bool:
    return account is not None and account == before


def _differ(before: int | None, account: int | None) -> bool:
    return before is not None and account is not None and account != before


def _at_stake(session: Session, before: int | None, account: int | None) -> tuple[Held, ...]:
    return at_stake(instances.held(session, lock=True), before, account)


def _shows(session: Session, listing: Listing, fleet: Fleet | None) -> bool:
    """Say whether a listing shows a box of ours that is not gone: one that is may be on a former account.

    With `fleet`, one that no row knows is ours as well if it bears our label and our address: a backup that
    was put back may know none of those that are there now.
    """
    boxes = listing.sightings
    keys = [key for box in boxes if (key := key_in(box))]
    found, strangers = recognised(
        boxes, instances.known_boxes(session, [box.contract_id for box in boxes], keys)
    )
    unknown = (stranger for stranger in strangers if fleet is not None and adoptable(stranger, fleet))
    return any(row.live for row, _ in found) or any(unknown)


def _keep(session: Session, before: int | None, account: int | None) -> None:
    if account is not None and account != before:
        pool.note_account(session, account)
