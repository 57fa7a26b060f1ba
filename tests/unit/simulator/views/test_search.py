"""Vast's query grammar over simulated offers."""

from dataclasses import replace

import pytest

from magister.simulator.market.clock import Calendar
from magister.simulator.market.config import MarketPlan
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market
from magister.simulator.views.search import search

PLAN = MarketPlan(machines=40)
CALENDAR = Calendar()


def offers(query: dict[str, object], **changes: object) -> list[dict[str, object]]:
    found = search(Market(replace(PLAN, **changes)), query, CALENDAR)["offers"]  # type: ignore[arg-type] # names and types are its fields'
    assert isinstance(found, list)
    return found


def numbers(rows: list[dict[str, object]], name: str) -> list[float]:
    return [value for row in rows if isinstance(value := row[name], (int, float))]


def test_no_search_returns_more_than_64_rows() -> None:
    assert len(offers({"limit": 3000})) == 64


def test_numeric_strings_are_compared_as_numbers() -> None:
    rows = offers({"num_gpus": {"eq": "1"}, "dph_total": {"lt": "0.5"}})
    assert rows
    assert all(row["num_gpus"] == 1 for row in rows)
    assert max(numbers(rows, "dph_total")) < 0.5


def test_several_operators_on_one_field_all_hold() -> None:
    prices = numbers(offers({"dph_total": {"gte": 0.3, "lte": 0.6}}), "dph_total")
    assert prices
    assert min(prices) >= 0.3
    assert max(prices) <= 0.6


def test_in_and_notin_choose_by_list() -> None:
    names = {"in": ["RTX 3090", "L40S"]}
    assert {row["gpu_name"] for row in offers({"gpu_name": names})} == {"RTX 3090", "L40S"}
    others = offers({"gpu_name": {"notin": ["RTX 3090", "L40S"]}})
    assert not {row["gpu_name"] for row in others} & {"RTX 3090", "L40S"}


def test_rows_come_in_the_order_asked_for() -> None:
    prices = numbers(offers({"order": [["dph_total", "asc"]]}), "dph_total")
    assert prices == sorted(prices)


def test_verified_and_rentable_are_the_defaults() -> None:
    assert {row["verification"] for row in offers({})} == {"verified"}
    both = {row["verification"] for row in offers({"verified": {"in": [True, False]}}, unverified_share=0.5)}
    assert both == {"verified", "unverified"}


def test_a_country_is_found_by_its_code() -> None:
    places = {row["geolocation"] for row in offers({"geolocation": {"in": ["US"]}})}
    assert places
    assert all(str(place).endswith(", US") for place in places)


def test_duration_is_in_seconds_from_now() -> None:
    assert min(numbers(offers({"duration": {"gte": 8e6}}), "duration")) >= 8e6


def test_the_old_name_of_reliability_is_understood() -> None:
    assert min(numbers(offers({"reliability2": {"gte": 0.99}}), "reliability")) >= 0.99


def test_a_driver_is_compared_by_its_version() -> None:
    rows = offers({"driver_version": {"gte": "570.86.15"}})
    assert rows
    assert {row["driver_version"] for row in rows} <= {"570.86.15", "580.95.05"}


def test_a_condition_on_id_matches_nothing_but_on_the_ask_it_does() -> None:
    first = offers({"limit": 1})[0]["id"]
    assert offers({"id": {"eq": first}}) == []
    assert [row["id"] for row in offers({"ask_contract_id": {"eq": first}})] == [first]


def test_the_total_includes_the_disk_asked_for() -> None:
    small, large = (offers({"limit": 1, "allocated_storage": size})[0] for size in (10, 110))
    assert small["dph_base"] == large["dph_base"]
    extra = numbers([large], "dph_total")[0] - numbers([small], "dph_total")[0]
    assert extra == pytest.approx(100 * numbers([small], "storage_cost")[0] / 730)


def test_storage_only_offers_tempt_those_who_do_not_filter() -> None:
    cheapest = offers({"order": [["dph_total", "asc"]], "limit": 1})[0]
    assert (cheapest["resource_type"], cheapest["num_gpus"]) == ("storage", 0)
    assert all(row["num_gpus"] for row in offers({"resource_type": {"eq": "gpu"}}))


def test_offers_lack_fields_and_carry_odd_types_as_the_real_ones_do() -> None:
    rows = [row for pages in range(3) for row in offers({"limit": 64}, odd_share=1.0, seed=pages)]
    assert None in {row["cpu_cores"] for row in rows}
    assert None in {row["geolocation"] for row in rows}
    assert {repr(row["external"]) for row in rows} == {"False", "None", "0"}
    assert {type(row["end_date"]) for row in rows} == {float, str}
    assert {type(row["disk_bw"]) for row in rows} == {float, str}
    assert any(row["score"] == float("inf") for row in rows)
    assert all(str(row["public_ipaddr"]).endswith("\n") for row in rows)
    assert all("verified" not in row for row in rows)


@pytest.mark.parametrize(
    "query",
    [
        {"no_such_field": {"eq": 1}},
        {"num_gpus": 1},
        {"num_gpus": {"is": 1}},
        {"type": "lease"},
        {"order": ["score"]},
    ],
)
def test_a_query_vast_would_not_take_is_refused(query: dict[str, object]) -> None:
    with pytest.raises(Refused, match="400 invalid_request"):
        offers(query)


def test_bids_are_searched_by_their_own_price() -> None:
    fixed, bid = (offers({"limit": 1, "type": kind})[0] for kind in ("on-demand", "bid"))
    assert numbers([bid], "dph_base")[0] < numbers([fixed], "dph_base")[0]
