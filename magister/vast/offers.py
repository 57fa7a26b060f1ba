"""What is asked of the market, and its offers page by page.

Vast gives at most 64 offers to a search and counts the rows it gave against a daily quota, so a further page
is worth it only while machines are short. It begins at the price where the one before ended, without the
offers of that price that were seen: many may cost the same. A search ends because machines enough are found,
or because the market ends.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from magister.domain.observed import Offer
from magister.errors import Transient, VastError
from magister.vast import schemas, values
from magister.vast.response import Answer

CAP = 64
"""The most offers that Vast gives to one search, whatever `limit` says."""

PAGES = 200
"""Pages after which a market is taken for endless: no filter seems to be applied, nor any order."""

SAME = 1e-6
"""Up to this share two prices are taken for the same: Vast may round what it shows."""

log = logging.getLogger("magister.vast")


@dataclass(frozen=True, slots=True)
class Page:
    """Hold one page: its usable offers, whether there may be more, and the price of each row by its id.

    Prices are `dph_total`, in dollars per hour; rows without an id or a price are left out of them.
    """

    offers: tuple[Offer, ...]
    full: bool
    prices: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """Say where a further page begins: at a price in dollars per hour, without the offers that were seen.

    `beyond` = above the price only, for a Vast that shows again what was to be left out.
    """

    price: float
    seen: tuple[int, ...] = ()
    beyond: bool = False


def query(
    filters: Mapping[str, object], *, storage: float, limit: int, start: Start | None = None
) -> dict[str, object]:
    """Write the query: the filters over Vast's usual ones, priced for `storage` GB; `start` None = page 1.

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
    if start is not None:
        bounds = values.mapping(filters.get("dph_total")) or {}
        asked["dph_total"] = {**bounds, "gt" if start.beyond else "gte": start.price}
        if start.seen:  # a filter on `id` matches nothing
            asked["ask_contract_id"] = {"notin": list(start.seen)}
    return asked


def page(answer: Answer, limit: int, *, disk_gb: float = 0.0) -> Page:
    """Read one page of offers to be rented with `disk_gb`.

    An offer without what choosing needs is left out and counted in the log.
    """
    fields = answer.fields or {}
    found = fields.get("offers")
    rows = values.sequence(found)
    if rows is None and values.mapping(found) is not None:
        rows = (found,)
    if rows is None:
        raise Transient("Vast sent no list of offers")
    read = [schemas.offer(row, disk_gb=disk_gb) for row in rows]
    skipped = Counter(why for why in read if isinstance(why, str))
    if skipped:
        reasons = ", ".join(f"{why} ({count})" for why, count in sorted(skipped.items()))
        log.info("skipped %d of %d offers, unusable: %s", skipped.total(), len(rows), reasons)
    full = len(rows) >= min(limit, CAP) or fields.get("truncated") is True
    return Page(tuple(offer for offer in read if isinstance(offer, Offer)), full, _prices(rows))


def _prices(rows: Sequence[object]) -> dict[int, float]:
    found: dict[int, float] = {}
    for row in rows:
        fields = values.mapping(row) or {}
        number = values.identity(fields.get("id")) or values.identity(fields.get("ask_contract_id"))
        price = values.dollars(fields.get("dph_total"))
        if number is not None and price is not None:
            found[number] = price
    return found


def offers(
    fetch: Callable[[Start | None], Page], machines: int, fit: Callable[[Offer], bool]
) -> tuple[Offer, ...]:
    """Collect offers by `fetch(start)`, each once, until those that `fit` are on so many machines.

    Raises what the first `fetch` raises; a later page that fails ends the search with what there is.
    """
    found: dict[int, Offer] = {}
    seen: dict[int, float] = {}
    start: Start | None = None
    for _ in range(PAGES):
        try:
            page = fetch(start)
        except VastError as error:
            if start is None:
                raise
            log.info("the search ends with %d offers: %s", len(found), error)
            break
        news = page.prices.keys() - seen.keys()
        seen |= page.prices
        for offer in page.offers:
            found.setdefault(offer.id, offer)
        enough = len({offer.machine_id for offer in found.values() if fit(offer)}) >= machines
        start = _following(start, seen, news=bool(news))
        if enough or not page.full or start is None:
            break
    else:
        log.warning(
            "the search ends after %d pages with %d offers: the market seems endless", PAGES, len(found)
        )
    return tuple(found.values())


def _following(last: Start | None, seen: Mapping[int, float], *, news: bool) -> Start | None:
    """Return where the page after the one from `last` begins; None = no further page would bring anything.

    A page without news comes of a Vast that shows what was to be left out: what costs the same is given up.
    """
    highest = max(seen.values(), default=None)
    if highest is None or (not news and (last is None or last.beyond)):
        return None
    if not news:
        return Start(highest, beyond=True)
    price = highest * (1 - SAME)
    return Start(price, tuple(sorted(number for number, costs in seen.items() if costs >= price)))
