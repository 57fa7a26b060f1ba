"""The market is asked for no more rows than are needed, and one odd offer never costs the others."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from magister.domain.observed import Offer
from magister.errors import RateLimited, Transient
from magister.vast import offers as market
from magister.vast.response import Answer, read

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def anything(offer: Offer) -> bool:
    return True


def row(number: int, price: object, machine: int | None = None, **more: object) -> dict[str, object]:
    return {
        "id": number,
        "machine_id": number if machine is None else machine,
        "host_id": 1,
        "dph_total": price,
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        **more,
    }


def answer(body: object) -> Answer:
    return read(200, {}, json.dumps(body).encode(), at=NOW)


Fetch = Callable[[market.Start | None], market.Page]


def selling(rows: list[dict[str, object]], limit: int, *ignored: str) -> tuple[Fetch, list[object]]:
    """Sell `rows`, cheapest first, at most `limit` a page; also return the prices asked from.

    What is named in `ignored` of a page's start is not heeded.
    """
    asked: list[object] = []

    def after(row: dict[str, object], start: market.Start) -> bool:
        price = float(str(row["dph_total"]))
        bound = price > start.price if start.beyond else price >= start.price
        return ("price" in ignored or bound) and ("seen" in ignored or row["id"] not in start.seen)

    def fetch(start: market.Start | None) -> market.Page:
        asked.append(None if start is None else round(start.price, 4))
        shown = [row for row in rows if start is None or after(row, start)]
        return market.page(answer({"offers": shown[:limit]}), limit)

    return fetch, asked


def numbers(offers: tuple[Offer, ...]) -> list[int]:
    return [offer.id for offer in offers]


def test_the_query_carries_the_defaults_and_the_operators_filters() -> None:
    assert market.query(
        {"gpu_name": {"in": ["RTX 4090"]}, "dph_total": {"lte": 0.5}}, storage=32.0, limit=64
    ) == {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "gpu_name": {"in": ["RTX 4090"]},
        "dph_total": {"lte": 0.5},
        "type": "on-demand",
        "order": [["dph_total", "asc"]],
        "limit": 64,
        "allocated_storage": 32.0,
    }


def test_a_further_page_begins_at_a_price_within_the_operators_bounds() -> None:
    bounds = {"dph_total": {"lte": 0.5}}
    asked = market.query(bounds, storage=32.0, limit=64, start=market.Start(0.3, (7, 9)))
    assert asked["dph_total"] == {"lte": 0.5, "gte": 0.3}
    assert asked["ask_contract_id"] == {"notin": [7, 9]}
    asked = market.query({}, storage=8.0, limit=64, start=market.Start(0.3, beyond=True))
    assert asked["dph_total"] == {"gt": 0.3}
    assert "ask_contract_id" not in asked


def test_one_page_is_enough_when_it_has_the_machines() -> None:
    fetch, asked = selling([row(n, n / 100) for n in range(1, 10)], limit=4)
    assert numbers(market.offers(fetch, machines=4, fit=anything)) == [1, 2, 3, 4]
    assert asked == [None]


def test_further_pages_follow_by_price_while_machines_are_short() -> None:
    fetch, asked = selling([row(n, n / 100) for n in range(1, 10)], limit=4)
    assert numbers(market.offers(fetch, machines=6, fit=anything)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert asked == [None, 0.04]


def test_several_offers_of_one_machine_are_one_machine() -> None:
    fetch, asked = selling([row(n, n / 100, machine=1 + n // 4) for n in range(1, 10)], limit=4)
    assert numbers(market.offers(fetch, machines=3, fit=anything)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(asked) == 2


def test_a_page_that_is_not_full_is_the_last() -> None:
    fetch, asked = selling([row(n, n / 100) for n in range(1, 4)], limit=4)
    assert numbers(market.offers(fetch, machines=9, fit=anything)) == [1, 2, 3]
    assert asked == [None]


def test_more_offers_at_one_price_than_a_page_holds_are_all_found_and_the_dearer_ones_too() -> None:
    rows = [row(n, 0.3) for n in range(1, 200)] + [row(n, 0.4) for n in range(200, 301)]
    fetch, asked = selling(rows, limit=64)
    assert numbers(market.offers(fetch, machines=999, fit=anything)) == list(range(1, 301))
    assert len(asked) == 5


def test_a_vast_that_shows_again_what_was_seen_is_asked_above_that_price() -> None:
    rows = [row(n, 0.3) for n in range(1, 200)] + [row(n, 0.4) for n in range(200, 250)]
    fetch, asked = selling(rows, 64, "seen")
    assert numbers(market.offers(fetch, machines=999, fit=anything)) == [*range(1, 65), *range(200, 250)]
    assert asked == [None, 0.3, 0.3]


def test_a_vast_that_always_shows_the_same_page_is_asked_no_more_than_three_times() -> None:
    fetch, asked = selling([row(n, n / 100) for n in range(1, 99)], 4, "seen", "price")
    assert numbers(market.offers(fetch, machines=99, fit=anything)) == [1, 2, 3, 4]
    assert asked == [None, 0.04, 0.04]


def test_a_search_ends_because_the_market_ends() -> None:
    fetch, asked = selling([row(n, n / 100) for n in range(1, 99)], limit=4)
    assert len(market.offers(fetch, machines=999, fit=anything)) == 98
    assert len(asked) == 25


def test_a_page_of_unusable_offers_hides_none_behind_it() -> None:
    rows = [row(n, 0.3, gpu_name=None) for n in range(1, 65)] + [row(n, 0.3) for n in range(65, 70)]
    fetch, _ = selling(rows, limit=64)
    assert numbers(market.offers(fetch, machines=9, fit=anything)) == [65, 66, 67, 68, 69]


def test_a_page_that_vast_says_it_cut_short_is_not_the_last() -> None:
    assert market.page(answer({"offers": [row(1, 0.3)], "truncated": True}), limit=64).full
    assert not market.page(answer({"offers": [row(1, 0.3)], "truncated": False}), limit=64).full


def test_a_page_is_full_at_vasts_own_cap_even_if_more_were_asked_for() -> None:
    body = {"offers": [row(n, n / 100) for n in range(1, 65)]}
    assert market.page(answer(body), limit=3000).full


def test_a_later_page_that_fails_leaves_what_was_found() -> None:
    fetch, _ = selling([row(n, n / 100) for n in range(1, 10)], limit=4)

    def failing(start: market.Start | None) -> market.Page:
        if start is not None:
            raise RateLimited
        return fetch(start)

    assert numbers(market.offers(failing, machines=9, fit=anything)) == [1, 2, 3, 4]


def test_a_first_page_that_fails_is_no_empty_market() -> None:
    def failing(_: market.Start | None) -> market.Page:
        raise RateLimited

    with pytest.raises(RateLimited):
        market.offers(failing, machines=9, fit=anything)


@pytest.mark.parametrize("body", [{}, {"offers": None}, {"offers": 5}])
def test_an_answer_without_offers_is_no_empty_market(body: object) -> None:
    with pytest.raises(Transient):
        market.page(answer(body), limit=64)


def test_an_empty_market_is_one() -> None:
    assert market.page(answer({"offers": []}), limit=64) == market.Page((), full=False)


def test_a_single_offer_may_come_without_its_list() -> None:
    assert numbers(market.page(answer({"offers": row(5, 0.3)}), limit=64).offers) == [5]


def test_an_unusable_offer_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(1, 0.3), row(2, None), row(3, float("nan")), row(4, 0.4, gpu_name=None), "odd"]
    with caplog.at_level(logging.INFO, "magister.vast"):
        found = market.page(answer({"offers": rows}), limit=64)
    assert numbers(found.offers) == [1]
    assert found.prices == {1: 0.3, 4: 0.4}
    assert caplog.messages == [
        "skipped 4 of 5 offers, unusable: dph_total (2), gpu_name (1), not an object (1)"
    ]


def test_nan_in_an_offer_is_null_in_its_details() -> None:
    found = market.page(answer({"offers": [row(1, 0.3, dlperf=float("inf"))]}), limit=64)
    assert json.loads(found.offers[0].details)["dlperf"] is None
