"""What the loop would take in at its next start, shown beforehand; and what the operator takes in by name."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import click
from sqlalchemy.orm import Session

from magister.domain import owners
from magister.domain.actions import Adopt
from magister.domain.observed import Foreign, Listing, Sighting
from magister.domain.owners import Tenure, told_apart
from magister.domain.spec import Fleet
from magister.errors import Unusable
from magister.money import MICROS_PER_USD
from magister.planner import adoption
from magister.service import wiring
from magister.settings import spec
from magister.settings.model import Settings, load
from magister.states import WANTED
from magister.store import instances, pool, transitions
from magister.store.db import migrations
from magister.store.db.engine import Sessions, open_database, plain_words
from magister.store.db.sqlite import sqlite_file
from magister.vast import Vast

BY_ITSELF = (
    "the service takes in by itself, at its start and before it rents anything, every box of ours without a "
    "row: run `magister serve`; `magister adopt --dry-run` shows beforehand what that comes to, and "
    "`magister adopt CONTRACT` takes in what another Magister rented"
)


NEW = Tenure(since=None, kin=frozenset())
"""What a database knows of owners on which no loop has acted yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Hold what a complete listing would come to; `database` says what was read of the rows."""

    at: datetime
    database: str
    target: int
    known: tuple[instances.Name, ...]  # the rows that listed boxes belong to
    adopt: tuple[Adopt, ...]
    leave: tuple[tuple[Sighting, str], ...]  # each with the reason

    @property
    def excess(self) -> int:
        """Count what would be given up again because it exceeds the target."""
        taken_in = sum(action.state in WANTED for action in self.adopt)
        return max(sum(name.state in WANTED for name in self.known) + taken_in - self.target, 0)


def take_in(config: Path | None, contracts: Sequence[int]) -> str:
    """Make rows for instances that another Magister rented, as the operator wishes, and say what came in.

    Raises Unusable, and changes nothing, if one of them is not there, has a row, or is not ours by its label
    and its address; VastError without a complete listing.
    """
    settings = load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    fleet = spec.fleet(settings)
    with migrations.existing(url, busy_timeout=patience) as sessions:
        listing = wiring.vast(settings, nap=time.sleep).listing(wiring.now())
        with sessions.write() as session:
            actions = [_by_name(session, listing, contract, fleet) for contract in dict.fromkeys(contracts)]
            for action in actions:
                transitions.adopt(session, action, fleet=fleet, at=listing.begun_at, actor="operator")
            pool.ask_for_listing(session, listing.begun_at)
    came = ", ".join(f"{action.box.sighting.contract_id} as {action.state}" for action in actions)
    return f"taken in: {came}"


def _by_name(session: Session, listing: Listing, contract: int, fleet: Fleet) -> Adopt:
    """Decide as what one contract comes in. Raises Unusable if it cannot."""
    boxes = [box for box in listing.sightings if box.contract_id == contract]
    if not boxes:
        raise Unusable(f"the account has no instance with contract {contract}")
    keys = [adoption.key_in(box) for box in boxes]
    found, strangers = adoption.recognised(boxes, instances.known_boxes(session, [contract], keys))
    if found:
        raise Unusable(f"contract {contract} has a row already: #{found[0][0].id}")
    box = adoption.adoptable(strangers[0], fleet)
    if box is None or strangers[0].twin:
        why = "its key is that of a row" if box else adoption.objection(strangers[0].sighting, fleet)
        raise Unusable(f"contract {contract} cannot be taken in: {why}")
    action = adoption.adopt(box, twin=False, fleet=fleet, now=listing.begun_at)
    return replace(action, why=f"the operator took it in; {action.why}")


def run(config: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Show what would be taken in and return the exit code. Raises Unusable, and VastError without a listing.

    Without `dry_run` there is nothing to do that the service does not do by itself.
    """
    if not dry_run:
        raise Unusable(BY_ITSELF)
    settings = load(config).settings
    found = preview(settings, wiring.vast(settings, nap=time.sleep), wiring.now())
    if as_json:
        click.echo(json.dumps(jsonable(found), ensure_ascii=False, indent=2))
        return 0
    for line in lines(found):
        click.echo(line)
    return 0


def preview(settings: Settings, vast: Vast, now: datetime) -> Preview:
    """Compare a complete listing with the rows, as the loop does. Raises VastError, DatabaseUnusable."""
    fleet = spec.fleet(settings)
    shown, names, tenure = _names(settings, fleet, now)
    return previewed(vast.listing(now), names, fleet, now, database=shown, tenure=tenure)


def previewed(
    listing: Listing,
    names: Sequence[instances.Name],
    fleet: Fleet,
    now: datetime,
    *,
    database: str,
    tenure: Tenure = NEW,
) -> Preview:
    """Decide about every listed box as the loop would."""
    found, unknown = adoption.recognised(listing.sightings, names)
    ours = {one.sighting.contract_id for one in unknown if adoption.adoptable(one, fleet) is not None}
    strangers, foreign = told_apart(unknown, ours, tenure)
    boxes = {box.contract_id: box for box in listing.sightings}
    return Preview(
        at=now,
        database=database,
        target=fleet.target,
        known=tuple(name for name, _ in found),
        adopt=tuple(adoption.adoptions(strangers, fleet, now)),
        leave=tuple(
            (stranger.sighting, adoption.objection(stranger.sighting, fleet))
            for stranger in strangers
            if adoption.adoptable(stranger, fleet) is None
        )
        + tuple((boxes[one.contract_id], _rented_by_another(one)) for one in foreign),
    )


def _rented_by_another(one: Foreign) -> str:
    return (
        f"another Magister rented it (owner {owners.shown(one.owner)}); `magister adopt {one.contract_id}` "
        "takes it in all the same"
    )


def _names(settings: Settings, fleet: Fleet, now: datetime) -> tuple[str, tuple[instances.Name, ...], Tenure]:
    """Read what rows are recognised by, from a database of any revision, or none; nothing is made of it."""
    url = settings.database_url.get_secret_value()
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return "there is none, as after a loss", (), NEW
    if file is not None and file.stat().st_size == 0:
        return "it is empty", (), NEW
    if file is not None:
        url = f"sqlite:///file:{quote(str(file))}?mode=ro&uri=true"
    opened = open_database(url, busy_timeout=settings.web.busy_timeout_secs)
    sessions = replace(opened, called=settings.database_url_shown)
    try:
        return _names_in(sessions, fleet, now)
    finally:
        sessions.engine.dispose()


def _names_in(
    sessions: Sessions, fleet: Fleet, now: datetime
) -> tuple[str, tuple[instances.Name, ...], Tenure]:
    found = migrations.revision(sessions)
    if found is None:
        return "it is empty", (), NEW
    with plain_words(sessions), sessions.read() as session:
        names = instances.names(session)
        tenure = _tenure(session, names, fleet, now) if found == migrations.head() else NEW
    return f"it has {len(names)} rows at revision {found}", names, tenure


def _tenure(session: Session, names: Sequence[instances.Name], fleet: Fleet, now: datetime) -> Tenure:
    state = pool.read(session)
    kin = {owners.owner_in(name.key) for name in names} | {state.owner_id}
    since = pool.acted_since(state, now, gap=fleet.create_grace)
    return Tenure(since=since, kin=frozenset(owner for owner in kin if owner is not None))


def lines(found: Preview) -> Iterator[str]:
    """Write a preview for people."""
    listed = len(found.known) + len(found.adopt) + len(found.leave)
    yield f"the database: {found.database}"
    yield (
        f"{listed} boxes at Vast: {len(found.known)} have a row, {len(found.adopt)} would be taken in, "
        f"{len(found.leave)} left alone; nothing has been changed"
    )
    if found.adopt:
        yield ""
        header = ("contract", "gpu", "machine", "USD/h", "label", "offer", "status", "comes in as", "why")
        yield from _columns([header, *(_cells(action) for action in found.adopt)])
    if found.leave:
        yield ""
        left = [(str(box.contract_id), box.label or "-", why) for box, why in found.leave]
        yield from _columns([("contract", "label", "left alone, because"), *left])
    if found.excess:
        yield ""
        yield f"{found.excess} more than the target of {found.target}: so many would be given up again"


def _cells(action: Adopt) -> tuple[str, ...]:
    box = action.box.sighting
    gpus = f"{box.num_gpus}x " if box.num_gpus and box.num_gpus > 1 else ""
    return (
        str(box.contract_id),
        gpus + (box.gpu_name or "-"),
        "-" if box.machine_id is None else str(box.machine_id),
        "-" if box.price is None else f"{box.price / MICROS_PER_USD:.4f}",
        label_kind(action),
        str(action.box.offer_id),
        box.actual_status or "-",
        f"{action.state}, {action.reason}",
        action.why,
    )


def label_kind(action: Adopt) -> str:
    """Name how a box is labelled: under a key of its own, as by the older tool, or under a taken key."""
    if action.box.key is not None:
        return "key"
    return "older tool" if action.box.sighting.label == adoption.OLDER_LABEL else "taken key"


def _columns(table: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def jsonable(found: Preview) -> dict[str, object]:
    """Return a preview as JSON values: dollars, ISO 8601 in UTC."""
    return {
        "at": found.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "database": found.database,
        "target": found.target,
        "known": len(found.known),
        "adopt": [_adopted(action) for action in found.adopt],
        "leave": [
            {"instance_id": box.contract_id, "machine_id": box.machine_id, "label": box.label, "why": why}
            for box, why in found.leave
        ],
        "excess": found.excess,
    }


def _adopted(action: Adopt) -> dict[str, object]:
    box = action.box.sighting
    return {
        "instance_id": box.contract_id,
        "offer_id": action.box.offer_id,
        "machine_id": box.machine_id,
        "host_id": box.host_id,
        "gpu": box.gpu_name,
        "num_gpus": box.num_gpus,
        "cost_per_hour": None if box.price is None else box.price / MICROS_PER_USD,
        "label": label_kind(action),
        "actual_status": box.actual_status,
        "state": action.state,
        "reason": action.reason,
        "why": action.why,
    }
