"""Write what listings, looks by id and Hierophant's lists show, or lack, into the rows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from magister.domain import owners
from magister.domain.instance import Held
from magister.domain.observed import KNOWN_STATUSES, Foreign, Listing, Roster, Sighting, Stranger
from magister.domain.owners import owner_of
from magister.domain.spec import Fleet
from magister.onstart.callback_url import Endpoint
from magister.planner import coordinator, evidence
from magister.planner.adoption import adoptable, key_in, recognised
from magister.planner.schedule import contests
from magister.store import cost_ledger, instances, pool, transitions
from magister.store.db.engine import DATABASE_TROUBLE, refusal

log = structlog.get_logger("magister.worker")

Seen = Sequence[tuple[Held, Sighting]]
"""Rows, each with the instance that a listing shows for it."""

NAMED = 5
"""Instances that one line of the log names."""


def note_listing(session: Session, listing: Listing, *, fleet: Fleet) -> tuple[Stranger, ...]:
    """Write what a complete listing shows and lacks into the rows; return the boxes no row knows."""
    mine = instances.held(session, lock=True)
    boxes = listing.sightings
    keys = [key for box in boxes if (key := key_in(box))]
    known = instances.known_boxes(session, [box.contract_id for box in boxes], keys)
    found, strangers = recognised(boxes, known)
    _note_seen(session, found, listing.begun_at, fleet=fleet)
    seen = {row.id for row, _ in found}
    lacking = [row for row in mine if row.id not in seen]
    if any(contests(row) for row, _ in found):
        lacking = _acquitted(session, lacking)
    for row in lacking:
        transitions.learn(session, row, **evidence.missing(row, listing.begun_at, fleet))
    return strangers


def _note_seen(session: Session, found: Seen, begun_at: datetime, *, fleet: Fleet) -> None:
    """Write what a listing shows of its rows, so that a value which cannot be written stops no other row.

    1. All rows are written at once, within a savepoint.
    2. If that fails, each row is written within a savepoint of its own.
    3. Of a row that fails, only that Vast lists it and in which status is written.
    4. A row for which that fails as well stays as it was. If that is so for every row, the cause is no
       value of one row, and the error is raised. So is trouble of the database.
    """
    first = _try_to_write(session, found, begun_at, fleet)
    if first is None:
        return
    refused: list[tuple[Held, Exception]] = []
    left = 0
    for row, box in found:
        error = _try_to_write(session, [(row, box)], begun_at, fleet)
        if error is not None:
            refused.append((row, error))
            left += _try_to_write(session, [(row, _without_details(box))], begun_at, fleet) is not None
    if left == len(found):
        raise first
    if refused:
        _log_refused(refused)


def _try_to_write(session: Session, found: Seen, begun_at: datetime, fleet: Fleet) -> Exception | None:
    """Write what is seen of rows, all or nothing; return what prevented it, None = it is written."""
    try:
        with session.begin_nested():
            for row, box in found:
                _note_sighting(session, row, box, begun_at, fleet=fleet)
            transitions.describe_offers(session, found)
            cost_ledger.note(session, found, begun_at)
    except DATABASE_TROUBLE:
        raise
    except Exception as error:
        return error
    return None


def _without_details(box: Sighting) -> Sighting:
    """Return what has to be known of a listed instance: that it exists, and its status if that is known."""
    status = box.actual_status if box.actual_status in KNOWN_STATUSES else None
    return Sighting(contract_id=box.contract_id, actual_status=status)


def _log_refused(refused: Sequence[tuple[Held, Exception]]) -> None:
    """Log which rows could not be written, and why the first could not, without any value of theirs."""
    _, error = refused[0]
    log.warning(
        "listing.rows_not_written",
        instances=[row.id for row, _ in refused[:NAMED]],
        contracts=[row.contract_id for row, _ in refused[:NAMED]],
        more=max(len(refused) - NAMED, 0),
        why=refusal(error),
        next="these instances keep what was known of them, and all others are written; look at them in the "
        "console of Vast, and report this line",
    )


def told_apart(
    session: Session, unknown: Sequence[Stranger], *, fleet: Fleet
) -> tuple[tuple[Stranger, ...], tuple[Foreign, ...]]:
    """Tell the listed boxes that another Magister rented from the others that no row knows."""
    ours = [one for one in unknown if adoptable(one, fleet) is not None]
    if not ours:
        return tuple(unknown), ()
    state = pool.read(session)
    named = {owner for one in ours if (owner := owner_of(one)) is not None}
    kin = instances.owners(session, named) | ({state.owner_id} if state.owner_id is not None else set())
    contracts = {one.sighting.contract_id for one in ours}
    return owners.told_apart(unknown, contracts, owners.Tenure(since=state.acting_since, kin=kin))


def _acquitted(session: Session, suspected: Sequence[Held]) -> list[Held]:
    """Let the listings so far prove nothing of rows without a contract: they lacked a box that exists."""
    nameless = {row.id for row in suspected if row.contract_id is None and row.absences}
    for row in suspected:
        if row.id in nameless:
            transitions.learn(session, row, absences=0, absent_since=None)
    return [replace(row, absences=0, absent_since=None) if row.id in nameless else row for row in suspected]


def note_look(session: Session, row: Held, box: Sighting | None, begun_at: datetime, *, fleet: Fleet) -> None:
    """Write what a look by id, begun at `begun_at`, says of one row; None = there is no such box.

    A box that is found although listings lack it proves these listings wrong.
    """
    if box is not None:
        if contests(row):
            _acquitted(session, instances.held(session, lock=True))
        _note_sighting(session, row, box, begun_at, fleet=fleet)
        cost_ledger.note(session, [(row, box)], begun_at)
        return
    overtaken = row.last_seen_at is not None and row.last_seen_at >= begun_at
    if row.absences >= 2 and not overtaken:
        transitions.learn(session, row, looked_gone_at=begun_at)


def _note_sighting(session: Session, row: Held, box: Sighting, begun_at: datetime, *, fleet: Fleet) -> None:
    """Write what an answer begun at `begun_at` shows of one row."""
    learned = evidence.seen(row, box, begun_at, fleet)
    learned["status_msg"] = transitions.clipped(box.status_msg)
    transitions.learn(session, row, **learned)


def note_roster(session: Session, called: Roster) -> None:
    """Write what Hierophant's lists show and lack into the rows; entries not understood may be anybody."""
    living, dead = coordinator.living(called), coordinator.dead(called)
    for row in instances.held(session, lock=True):
        its = Endpoint(row.offer_id, row.callback_key)
        if row.live and (its in living or not called.unread):
            learned = coordinator.called_out(
                row,
                living=its in living,
                deaths=dead.get(its, 0),
                begun_at=called.begun_at,
            )
            transitions.learn(session, row, **learned)
