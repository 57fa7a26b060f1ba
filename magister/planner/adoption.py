"""Pure: which boxes of the account are ours although no row knows them, and as what they come in."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from magister.domain.actions import Adopt
from magister.domain.observed import LARGEST_ID, PROVISIONING, STOPPED, Adoptable, Sighting, Stranger
from magister.domain.spec import Fleet
from magister.states import Reason, State

OLDER_LABEL = "magister"
"""The label that the older tool of the same name gives to every box."""

_KEY = re.compile(r"[0-9a-f]{16,64}")


class Named(Protocol):
    """Bear what a listed box is recognised by."""

    @property
    def id(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def contract_id(self) -> int | None: ...


Row = TypeVar("Row", bound=Named)


def recognised(
    boxes: Iterable[Sighting], known: Iterable[Row]
) -> tuple[list[tuple[Row, Sighting]], tuple[Stranger, ...]]:
    """Tell the listed boxes that `known` rows stand for from those that no row stands for.

    A box is a row's by its contract, or by its key if the row has no contract yet.
    """
    rows = list(known)
    by_contract = {row.contract_id: row for row in rows if row.contract_id is not None}
    by_key = {row.key: row for row in rows}
    taken: set[int] = set()
    found: list[tuple[Row, Sighting]] = []
    strangers: list[Stranger] = []
    for box in boxes:
        row = by_contract.get(box.contract_id) or by_key.get(key_in(box))
        if row is None or row.id in taken or row.contract_id not in {None, box.contract_id}:
            strangers.append(Stranger(box, twin=row is not None))
            continue
        taken.add(row.id)
        found.append((row, box))
    return found, tuple(strangers)


def key_in(box: Sighting) -> str:
    """Return what may be the key of a row, under whatever tag it was rented."""
    return (box.label or "").partition(":")[2]


def adoptions(strangers: Iterable[Stranger], fleet: Fleet, now: datetime) -> Iterator[Adopt]:
    """Take in what is ours; of two unknown boxes under one key the second is a twin of the first."""
    keys: set[str] = set()
    for stranger in strangers:
        box = adoptable(stranger, fleet)
        if box is None:
            continue
        twin = stranger.twin or box.key in keys
        if box.key is not None:
            keys.add(box.key)
        yield adopt(replace(box, key=None) if twin else box, twin=twin, fleet=fleet, now=now)


def objection(box: Sighting, fleet: Fleet) -> str:
    """Say why a box that is not adoptable is left alone."""
    label, onstart = box.label or "", box.onstart or ""
    tag, _, key = label.partition(":")
    address = fleet.drop_prefix.removesuffix("/drop/")
    if not label:
        return "it has no label"
    if label != OLDER_LABEL and tag != fleet.label_tag:
        return f"its label is not {fleet.label_tag}:<key>"
    if label != OLDER_LABEL and _KEY.fullmatch(key) is None:
        return f"what follows {fleet.label_tag}: in its label is no key"
    if elsewhere := re.search(r"https?://[^\s'\"]+(?=/drop/[0-9])", onstart):
        if elsewhere[0] != address:
            return f"its drop address is {elsewhere[0]}, another Magister's; ours is {address}"
        return "the offer id in its drop address is too large to be one"
    return "no drop address is in its onstart"


def adoptable(stranger: Stranger, fleet: Fleet) -> Adoptable | None:
    """Read whether a box is ours from its label and the drop URL in its onstart; None = leave it alone."""
    box = stranger.sighting
    found = re.search(
        re.escape(fleet.drop_prefix) + r"([0-9]{1,19})(?:\?key=([0-9a-f]{1,64}))?", box.onstart or ""
    )
    if found is not None and int(found[1]) > LARGEST_ID:
        found = None
    tag, _, key = (box.label or "").partition(":")
    keyed = tag == fleet.label_tag and _KEY.fullmatch(key) is not None
    if stranger.twin:
        return Adoptable(box, int(found[1]) if found else 0, None, found[2] if found else None)
    if found is None or not (keyed or box.label == OLDER_LABEL):
        return None
    return Adoptable(box, int(found[1]), key if keyed else None, found[2])


def adopt(box: Adoptable, *, twin: bool, fleet: Fleet, now: datetime) -> Adopt:
    """Decide as what a box of ours comes in, by its status and its age."""
    contract = box.sighting.contract_id
    if twin:
        why = f"contract {contract} bears the key of an instance that has another contract"
        return Adopt(box, State.DROPPING, Reason.TWIN, why)
    status = box.sighting.actual_status
    if status in STOPPED:
        why = f"contract {contract} is ours, unknown and {status}"
        return Adopt(box, State.DROPPING, Reason.ADOPTED, why)
    born = box.sighting.start_date or now
    if now - born >= fleet.verify_within and status is not None and status not in PROVISIONING:
        why = f"contract {contract} is ours and unknown; it has run longer than a worker has to verify"
        return Adopt(box, State.VERIFIED, Reason.ADOPTED, why)
    why = f"contract {contract} is ours and unknown; its worker may still verify"
    return Adopt(box, State.CREATED, Reason.ADOPTED, why)
