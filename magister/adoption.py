"""Pure: which boxes of the account are ours although no row knows them, and as what they come in."""

import re
from datetime import datetime

from magister.actions import Adopt
from magister.evidence import PROVISIONING, STOPPED
from magister.facts import Adoptable, Fleet, Stranger
from magister.states import Reason, State

OLDER_LABEL = "magister"
"""The label that the older tool of the same name gives to every box."""

LARGEST_ID = 2**63 - 1

_KEY = re.compile(r"[0-9a-f]{16,64}")


def adoptable(stranger: Stranger, fleet: Fleet) -> Adoptable | None:
    """Read whether a box is ours from its label and the drop URL in its onstart; None = leave it alone."""
    box = stranger.sighting
    found = re.search(re.escape(fleet.drop_prefix) + r"([0-9]{1,19})(\?key=)?", box.onstart or "")
    if found is not None and int(found[1]) > LARGEST_ID:
        found = None
    tag, _, key = (box.label or "").partition(":")
    keyed = tag == fleet.label_tag and _KEY.fullmatch(key) is not None
    if stranger.twin:
        return Adoptable(box, int(found[1]) if found else 0, None, bool(found and found[2]))
    if found is None or not (keyed or box.label == OLDER_LABEL):
        return None
    return Adoptable(box, int(found[1]), key if keyed else None, found[2] is not None)


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
