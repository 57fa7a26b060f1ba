"""Drop one instance by the word of the operator, beside the database."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.orm import Session

from magister.domain.observed import LARGEST_ID
from magister.errors import BadUsage
from magister.service import wiring
from magister.settings.model import load
from magister.store import instances, requests
from magister.store.db.migrations import existing

ACTOR = "operator"
NO_REASON = "the operator gave no reason"

Kind = Literal["row", "offer", "contract"]


@dataclass(frozen=True, slots=True)
class Which:
    """Name an instance: by its row, or by its offer or contract at Vast."""

    kind: Kind
    number: int


def run(config: Path | None, which: str, reason: str) -> str:
    """Drop the instance that `which` names, and say so; again is harmless.

    The loop destroys it within a second, or when it runs again. Raises BadUsage if there is no such instance.
    """
    named, settings = read(which), load(config).settings
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.write() as session:
        row_id = _row_id(session, named)
        why = requests.legible(reason) or NO_REASON
        row, moved = requests.drop_row(session, row_id, why=why, now=wiring.now(), actor=ACTOR)
    if not moved:
        return f"instance #{row.id} on offer {row.offer_id} is {row.state} already: nothing was changed"
    return f"instance #{row.id} on offer {row.offer_id} is dropping: the loop destroys it now"


def read(which: str) -> Which:
    """Read ROW, #ROW, offer:ID or contract:ID. Raises BadUsage for anything else."""
    found = re.fullmatch(r"(?:#|(offer|contract):)?([0-9]{1,19})", which)
    if found is None or not 0 < int(found[2]) <= LARGEST_ID:
        raise BadUsage(f"{which!r} names no instance: give the number of its row, offer:ID or contract:ID")
    kinds: dict[str | None, Kind] = {None: "row", "offer": "offer", "contract": "contract"}
    return Which(kinds[found[1]], int(found[2]))


def _row_id(session: Session, which: Which) -> int:
    match which.kind:
        case "row":
            found = [row for row in (instances.one(session, which.number),) if row is not None]
        case "contract":
            found = list(instances.known_boxes(session, [which.number], []))
        case "offer":
            found = [row for row in instances.by_offer(session, which.number) if row.live]
    if not found:
        what = "live instance of ours is on" if which.kind == "offer" else "instance of ours has"
        raise BadUsage(f"no {what} {which.kind} {which.number}: `magister status` lists them")
    return found[0].id
