"""A listing of the account that is complete, or none at all.

A retired route, a wrong question or a page left unread look like fewer instances, and whoever believes that
rents again or forgets what it pays for. So every page is read and everything is counted.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from magister.domain.observed import Sighting
from magister.errors import IncompleteListing
from magister.vast import schemas, values
from magister.vast.response import Answer

READINGS = 3
"""Times that the whole listing is read before it is given up."""

PAGES = 1000
"""Pages after which a listing is taken for endless."""

log = logging.getLogger("magister.vast")


@dataclass(frozen=True, slots=True)
class Page:
    """Hold one page: its rows, how many instances Vast counts in all, and the token of the next page.

    None = it is the last one.
    """

    rows: tuple[Sighting, ...]
    total: int
    token: str | None
    odd: frozenset[str] = frozenset()  # fields that were unusable in some row


def page(answer: Answer, *, first: bool) -> Page:
    """Read one page; raises IncompleteListing when it proves nothing."""
    fields = answer.fields or {}
    total = values.whole(fields.get("total_instances"))
    if total is None:
        raise IncompleteListing("Vast did not count the instances")
    token = fields.get("next_token") or None
    if token is not None and not isinstance(token, str):
        raise IncompleteListing("Vast named the next page in an unknown way")
    rows = values.sequence(fields.get("instances"))
    if rows is None:
        nothing = "instances" in fields and fields["instances"] is None and total == 0
        if not (nothing and first and token is None):
            raise IncompleteListing("Vast sent no list of instances")
        rows = ()
    read = [schemas.sighting(row) for row in rows]
    seen = tuple(sighting for sighting, _ in read if sighting is not None)
    if len(seen) != len(rows):
        raise IncompleteListing("Vast listed an instance without a usable id")
    return Page(seen, total, token, frozenset().union(*(odd for _, odd in read)))


def complete(fetch: Callable[[str | None], Page]) -> tuple[Sighting, ...]:
    """Read all pages by `fetch(token)`, again at once if they do not add up.

    Raises IncompleteListing after the last reading, and what `fetch` raises.
    """
    for reading in range(1, READINGS):
        try:
            return _once(fetch)
        except IncompleteListing as gap:
            log.info("listing %d of %d was not complete: %s", reading, READINGS, gap)
    return _once(fetch)


def _once(fetch: Callable[[str | None], Page]) -> tuple[Sighting, ...]:
    seen: dict[int, Sighting] = {}
    asked: set[str | None] = set()
    odd: set[str] = set()
    token: str | None = None
    while True:
        asked.add(token)
        page = fetch(token)
        rows = {row.contract_id: row for row in page.rows}
        if len(rows) != len(page.rows) or rows.keys() & seen.keys():
            raise IncompleteListing("Vast listed an instance twice")
        seen |= rows
        odd |= page.odd
        token = page.token
        if token is None:
            break
        if token in asked or not rows or len(asked) >= PAGES:
            raise IncompleteListing("Vast's pages of instances do not end")
    if len(seen) != page.total:
        raise IncompleteListing(f"Vast counts {page.total} instances and listed {len(seen)}")
    if odd:
        log.debug("unusable values in the listing, taken as unknown: %s", ", ".join(sorted(odd)))
    return tuple(seen.values())
