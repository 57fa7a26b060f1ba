"""What is asked of the market, and its offers page by page.

Vast gives at most 64 offers to a search and counts the rows it gave against a daily quota, so a further page,
which is asked for by price, is worth it only while machines are short.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from magister.errors import Transient, VastError
from magister.facts import Offer
from magister.vast import values, wire
from magister.vast.answer import Answer

CAP = 64
"""The most offers that Vast gives to one search, whatever `limit` says."""

PAGES = 5
"""The most pages of one search."""

log = logging.getLogger("magister.vast")


@dataclass(frozen=True, slots=True)
class Page:
    """Hold one page: its usable offers, whether there may be more, and its highest price in dollars per hour.

    None = no offer had a price.
    """

    offers: tuple[Offer, ...]
    full: bool
    highest: float | None


def query(
    filters: Mapping[str, object], *, storage: float, limit: int, from_price: float | None = None
) -> dict[str, object]:
    """Write the query: the filters over Vast's usual ones, priced for `storage` GB, from dollars per hour up.

    Vast's server does not set all of the usual ones by itself, so all are sent.
    """
    asked: dict[str, object] = {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        **filters,
        "type": "on-demand",
        "order": [["dph_total", "asc"]],
        "limit": limit,
        "allocated_storage": storage,
    }
    if from_price is not None:
        asked["dph_total"] = {**(values.mapping(filters.get("dph_total")) or {}), "gte": from_price}
    return asked


def page(answer: Answer, limit: int) -> Page:
    """Read one page; an offer without what choosing needs is left out and counted in the log."""
    found = (answer.fields or {}).get("offers")
    rows = values.sequence(found)
    if rows is None and values.mapping(found) is not None:
        rows = (found,)
    if rows is None:
        raise Transient("Vast sent no list of offers")
    read = [wire.offer(row) for row in rows]
    skipped = Counter(why for why in read if isinstance(why, str))
    if skipped:
        reasons = ", ".join(f"{why} ({count})" for why, count in sorted(skipped.items()))
        log.info("skipped %d of %d offers, unusable: %s", skipped.total(), len(rows), reasons)
    prices = [values.number((values.mapping(row) or {}).get("dph_total")) for row in rows]
    full = len(rows) >= min(limit, CAP)
    highest = max((price for price in prices if price is not None), default=None)
    return Page(tuple(offer for offer in read if isinstance(offer, Offer)), full, highest)


def offers(
    fetch: Callable[[float | None], Page], machines: int, fit: Callable[[Offer], bool]
) -> tuple[Offer, ...]:
    """Collect offers by `fetch(from_price)`, each once, until those that `fit` are on so many machines.

    Raises what the first `fetch` raises; a later page that fails ends the search with what there is.
    """
    found: dict[int, Offer] = {}
    from_price: float | None = None
    for _ in range(PAGES):
        try:
            page = fetch(from_price)
        except VastError as error:
            if not found:
                raise
            log.info("the search ends with %d offers: %s", len(found), error)
            break
        new = {offer.id: offer for offer in page.offers if offer.id not in found}
        found |= new
        enough = len({offer.machine_id for offer in found.values() if fit(offer)}) >= machines
        if enough or not page.full or not new or page.highest is None or page.highest == from_price:
            break
        from_price = page.highest
    return tuple(found.values())
