"""The charges of a day, complete or not at all.

Vast gives a row for each contract, also after its end, with an item for each line of the bill; amounts are
rounded to three decimals.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from magister.domain.observed import Charge
from magister.errors import Transient
from magister.vast import values
from magister.vast.response import Answer

LIMIT = 500
"""Rows a page; Vast's own maximum."""

PAGES = 200
"""Pages after which an answer is taken for endless."""

WHOLE = "instance"
"""The line of a row without items."""

_SOURCE = "instance-"
_LAST_SECOND = 86_399


@dataclass(frozen=True, slots=True)
class Page:
    """Hold one page: the charges of each row, how many rows Vast counts in all, and the next page's token."""

    rows: tuple[tuple[Charge, ...], ...]
    total: int
    token: str | None


def filters(day: date) -> dict[str, object]:
    """Return the filters for instances on a UTC day; Vast demands both ends of the range."""
    begins = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return {"day": {"gte": begins, "lte": begins + _LAST_SECOND}, "type": {"in": ["instance"]}}


def page(answer: Answer) -> Page:
    """Read one page; raises Transient when anything of it cannot be read."""
    fields = answer.fields or {}
    rows, total = values.sequence(fields.get("results")), values.whole(fields.get("total"))
    token = fields.get("next_token") or None
    if rows is None or total is None or not (token is None or isinstance(token, str)):
        raise Transient("Vast sent no list of charges that can be counted")
    return Page(tuple(tuple(_row(row)) for row in rows), total, token)


def complete(fetch: Callable[[str | None], Page]) -> tuple[Charge, ...]:
    """Read all pages by `fetch(token)`; raises Transient when they do not add up, and what `fetch` raises."""
    found: list[tuple[Charge, ...]] = []
    asked: set[str | None] = set()
    token: str | None = None
    while True:
        asked.add(token)
        page = fetch(token)
        found += page.rows
        token = page.token
        if token is None:
            break
        if token in asked or not page.rows or len(asked) >= PAGES:
            raise Transient("Vast's pages of charges do not end")
    if len(found) != page.total:
        raise Transient(f"Vast counts {page.total} charges and listed {len(found)}")
    return tuple(charge for row in found for charge in row)


def _row(raw: object) -> Iterator[Charge]:
    row = values.mapping(raw) or {}
    source = row.get("source")
    text = source.removeprefix(_SOURCE) if isinstance(source, str) else None
    contract = values.identity(text)
    if contract is None:
        raise Transient("Vast listed a charge of no instance")
    label = values.text((values.mapping(row.get("metadata")) or {}).get("label"))
    items = values.sequence(row.get("items"))
    for item in items or (row,):
        fields = values.mapping(item) or {}
        line, micros = values.text(fields.get("type")), values.micros(fields.get("amount"))
        if micros is None:
            raise Transient(f"Vast listed a charge of {contract} without an amount")
        yield Charge(contract, label, (line or WHOLE)[:16], micros)
