"""The charges of a day: every page, every item, or an error; never half."""

import json
from datetime import UTC, date, datetime

import pytest

from magister.domain.observed import Charge
from magister.errors import Transient
from magister.vast import charges, response
from magister.vast.charges import Page

DAY = date(2026, 11, 23)


def a_row(
    contract: int, *amounts: tuple[str, object], label: str | None = "magister:ab"
) -> dict[str, object]:
    items = [{"type": kind, "amount": amount} for kind, amount in amounts]
    metadata = {} if label is None else {"label": label}
    return {"source": f"instance-{contract}", "amount": 1.5, "metadata": metadata, "items": items}


def a_page(*rows: object, total: int | None = None, token: object = None) -> Page:
    body = {
        "success": True,
        "results": rows,
        "total": len(rows) if total is None else total,
        "next_token": token,
    }
    return charges.page(response.read(200, {}, json.dumps(body).encode(), at=datetime.now(UTC)))


def complete(*pages: Page) -> tuple[Charge, ...]:
    left = list(pages)
    return charges.complete(lambda token: left.pop(0))


def test_each_item_is_a_charge_on_its_line() -> None:
    row = a_row(7, ("gpu", 0.481), ("disk", "0.02"), ("bwd", 0.0))
    assert complete(a_page(row)) == (
        Charge(7, "magister:ab", "gpu", 481_000),
        Charge(7, "magister:ab", "disk", 20_000),
        Charge(7, "magister:ab", "bwd", 0),
    )


def test_a_row_without_items_is_one_charge() -> None:
    assert complete(a_page(a_row(7, label=None))) == (Charge(7, None, "instance", 1_500_000),)


def test_all_pages_are_read() -> None:
    pages = [a_page(a_row(n, ("gpu", 1)), total=2, token=t) for n, t in ((1, "next"), (2, None))]
    assert [charge.contract_id for charge in complete(*pages)] == [1, 2]


@pytest.mark.parametrize(
    "row",
    [
        {"source": "volume-7", "amount": 1},
        {"source": None, "amount": 1},
        a_row(7, ("gpu", None)),
        a_row(7, ("gpu", "much")),
        "not an object",
    ],
)
def test_a_charge_that_cannot_be_read_is_an_error(row: object) -> None:
    with pytest.raises(Transient):
        a_page(row)


def test_pages_that_do_not_add_up_are_an_error() -> None:
    with pytest.raises(Transient, match="counts 2 charges and listed 1"):
        complete(a_page(a_row(1, ("gpu", 1)), total=2))
    same = a_page(a_row(1, ("gpu", 1)), total=9, token="again")
    with pytest.raises(Transient, match="do not end"):
        complete(same, same)


def test_an_answer_without_a_count_is_an_error() -> None:
    with pytest.raises(Transient):
        charges.page(response.read(200, {}, b'{"success": true, "results": []}', at=datetime.now(UTC)))


def test_one_utc_day_is_asked_for() -> None:
    assert charges.filters(DAY) == {
        "day": {"gte": 1795392000, "lte": 1795478399},
        "type": {"in": ["instance"]},
    }
