"""Pure: which database rented an instance, told by the first part of the key in its label.

A key with an owner id is shorter than one from before: so the two are told apart by their length, the label
has room for it under every tag, and a version that knows no owner ids still reads it as a key.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from magister.domain.instance import Held
from magister.domain.observed import Foreign, Stranger
from magister.states import Reason

OWNER_CHARS = 12
"""Hex characters of an owner id: 48 bits tell databases apart; nobody guesses them for gain."""

CHANCE_CHARS = 18
"""Hex characters of a key after the owner id: 72 bits, which no database draws twice."""

SHOWN_CHARS = 8
"""Characters of an owner id that a person is shown."""

FORMER_KEY_CHARS = 32
"""Hex characters of a key without an owner id, as it was made before there were any."""

_OWNED = re.compile(f"[0-9a-f]{{{OWNER_CHARS + CHANCE_CHARS}}}")

SPARED_FOR = timedelta(hours=1)
"""So long a person has to say whose instances are that another database rented and nobody here heard."""

UNHEARD_ENDS = frozenset({Reason.UNVERIFIED, Reason.SILENT, Reason.OFFLINE, Reason.SURPLUS})
"""Reasons to give up an instance that do not stand if another Magister keeps it."""


def owner_in(key: str) -> str | None:
    """Return the owner id that a key bears; None = it was made before there were any, or is no key."""
    return key[:OWNER_CHARS] if _OWNED.fullmatch(key) else None


def owner_of(stranger: Stranger) -> str | None:
    """Return the owner id in the label of an instance; None = it bears none."""
    return owner_in((stranger.sighting.label or "").partition(":")[2])


def shown(owner: str | None) -> str:
    """Return as much of an owner id as tells a person which one is meant."""
    return "unknown" if owner is None else owner[:SHOWN_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """Say since when loops on one database have acted throughout, and whose instances they knew by then.

    `since` is when the first complete listing began after which each of ours had its row; None = there was
    none yet, so whatever is found was there before. `kin` are the owner ids of this database and of those
    whose instances it took over.
    """

    since: datetime | None
    kin: frozenset[str]


def told_apart(
    strangers: Iterable[Stranger], ours: Collection[int], tenure: Tenure
) -> tuple[tuple[Stranger, ...], tuple[Foreign, ...]]:
    """Tell what another Magister rented from the other instances that no row knows.

    `ours` are the contracts that bear our label and our address. One of these that appears while we act
    throughout, and that we did not ask for, is another's, unless Vast says that it is older than that and its
    owner id is none or one that we knew.
    """
    left: list[Stranger] = []
    foreign: list[Foreign] = []
    for stranger in strangers:
        box = stranger.sighting
        if tenure.since is None or stranger.twin or box.contract_id not in ours:
            left.append(stranger)
            continue
        owner = owner_of(stranger)
        older = box.start_date is not None and box.start_date < tenure.since
        if older and (owner is None or owner in tenure.kin):
            left.append(stranger)
        else:
            foreign.append(Foreign(box.contract_id, owner))
    return tuple(left), tuple(foreign)


def spared(
    held: Iterable[Held], owner: str | None, now: datetime, *, contested: bool, trusted_at: datetime | None
) -> frozenset[int]:
    """Return the rows that are not given up for what only their keeper can know.

    They were taken over from another database, whose Magister may still keep them: that no worker of theirs
    was heard here then says that they call there. The first that is heard here shows that they call here, and
    so does the operator's word. `contested` = another Magister rents at this moment; else an hour is enough.
    """
    rows = [row for row in held if row.wanted]
    if any(_heard(row) for row in rows):
        return frozenset()
    return frozenset(
        row.id
        for row in rows
        if row.reason is Reason.ADOPTED
        and owner_in(row.key) not in {None, owner}
        and (contested or now < row.moved_at + SPARED_FOR)
        and (trusted_at is None or trusted_at < row.moved_at)
    )


def _heard(row: Held) -> bool:
    """Say whether an instance or its worker ever called here."""
    called = row.reason in {Reason.CALLED, Reason.BEAT}
    return called or row.beaten_at is not None or row.announced_at is not None
