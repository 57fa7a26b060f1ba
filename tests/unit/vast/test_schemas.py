"""Vast's rows become facts, field by field; one odd field never costs the row, one bad id does."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.domain.observed import Offer, Sighting
from magister.vast import schemas

INSTANCE: dict[str, object] = {
    "id": 312,
    "label": "magister:ab12",
    "onstart": "su contemplant",
    "actual_status": "running",
    "intended_status": "running",
    "cur_state": "running",
    "next_state": "running",
    "status_msg": "success, running\nimage/ssh",
    "machine_id": 12,
    "host_id": 7,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "geolocation": ", US",
    "dph_total": 0.8021,
    "start_date": 1668804745.1223178,
    "end_date": "1735689600",
    "jupyter_token": "secret",
}
OFFER: dict[str, object] = {
    "id": 5,
    "ask_contract_id": 5,
    "machine_id": 12,
    "host_id": 7,
    "dph_total": "0.31",
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24564,
    "disk_space": 812.5,
    "reliability": 0.9,
    "reliability2": 0.99,
    "cuda_max_good": "12.8",
    "duration": 1e6,
    "geolocation": "Oslo, NO",
    "verification": "verified",
    "rentable": 1,
    "resource_type": "gpu",
    "external": None,
}


@pytest.mark.parametrize(
    ("said", "kb"),
    [(None, None), (1782579, 1782579), ("12.9", 12), (0.0, 0), (-1, None), ("NaN", None), (1e300, None)],
)
def test_traffic_is_counted_in_whole_kilobytes(said: object, kb: int | None) -> None:
    row = INSTANCE | {"inet_down_billed": said, "inet_up_billed": said}
    seen, _ = schemas.sighting(row | {"inet_down_cost": 0.00123, "inet_up_cost": "0.00456"})
    assert seen is not None
    assert (seen.inet_down_billed, seen.inet_up_billed) == (kb, kb)
    assert (seen.inet_down_cost, seen.inet_up_cost) == (1_230, 4_560)


@pytest.mark.parametrize(
    ("said", "micros"),
    [
        ({"storage_total_cost": 0.0042, "search": {"diskHour": 0.9}}, 900_000),
        ({"storage_total_cost": 0.0042, "search": {"diskHour": 0.001}}, 4200),
        ({"instance": {"diskHour": 0.006}, "search": {"diskHour": 0.005}}, 6000),
        ({"storage_total_cost": None, "search": {"diskHour": "0.005"}}, 5000),
        ({"storage_total_cost": 0, "search": {"diskHour": 0.005}}, 5000),
        ({"storage_total_cost": -1, "search": {"diskHour": float("nan")}}, None),
        ({"storage_total_cost": "NaN", "search": [1]}, None),
        ({}, None),
    ],
)
def test_what_the_disk_costs_is_read_of_instances_and_offers(
    said: dict[str, object], micros: int | None
) -> None:
    seen, _ = schemas.sighting(INSTANCE | said)
    offer = schemas.offer(OFFER | said)
    assert isinstance(seen, Sighting)
    assert isinstance(offer, Offer)
    assert (seen.disk_price, offer.disk_price) == (micros, micros)


@pytest.mark.parametrize(("said", "micros"), [(0.02, 20_000), (0, 0), (None, None), (["odd"], None)])
def test_what_a_download_costs_is_read_of_an_offer(said: object, micros: int | None) -> None:
    offer = schemas.offer(OFFER | {"inet_down_cost": said})
    assert isinstance(offer, Offer)
    assert offer.inet_down_cost == micros


def test_an_instance_becomes_a_sighting() -> None:
    seen, odd = schemas.sighting(INSTANCE)
    assert seen == Sighting(
        contract_id=312,
        label="magister:ab12",
        onstart="su contemplant",
        actual_status="running",
        intended_status="running",
        cur_state="running",
        status_msg="success, running\nimage/ssh",
        machine_id=12,
        host_id=7,
        gpu_name="RTX 4090",
        num_gpus=1,
        geolocation=", US",
        price=802_100,
        start_date=datetime(2022, 11, 18, 20, 52, 25, 122318, UTC),
        end_date=datetime(2025, 1, 1, tzinfo=UTC),
    )
    assert odd == frozenset()


def test_an_instance_shows_its_offer_under_the_names_of_offers_and_nothing_secret() -> None:
    raw = INSTANCE | {"cuda_max_good": "12.8", "gpu_totalram": 24564, "cpu_name": "x" * 1000, "is_bid": False}
    sighting, _ = schemas.sighting(raw | {"ports": {}, "reliability2": None, "ssh_host": "h"})
    assert sighting is not None
    assert json.loads(sighting.offer) == {
        "machine_id": 12,
        "host_id": 7,
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        "gpu_total_ram": 24564,
        "geolocation": ", US",
        "is_bid": False,
        "dph_total": 0.8021,
        "start_date": 1668804745.1223178,
        "end_date": "1735689600",
        "cuda_max_good": 12.8,
    }


def test_an_instance_fresh_from_its_create_is_mostly_null() -> None:
    assert schemas.sighting({"id": "312", "label": None, "actual_status": None}) == (
        Sighting(contract_id=312),
        frozenset(),
    )


@pytest.mark.parametrize("name", [name for name in schemas.InstanceRow.model_fields if name != "id"])
def test_a_field_of_an_odd_type_is_unknown_and_named(name: str) -> None:
    seen, odd = schemas.sighting({**INSTANCE, name: ["odd"]})
    assert seen is not None
    assert seen.contract_id == 312
    assert odd == {name}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(None, id="null"),
        pytest.param(312, id="a number"),
        pytest.param([INSTANCE], id="a list"),
        pytest.param({}, id="no id"),
        pytest.param({"id": True}, id="a bool for an id"),
        pytest.param({"id": "C.312"}, id="a word for an id"),
    ],
)
def test_a_row_without_a_usable_id_is_no_sighting(row: object) -> None:
    assert schemas.sighting(row)[0] is None


def test_an_offer_keeps_all_that_vast_said_of_it() -> None:
    offer = schemas.offer(OFFER)
    assert isinstance(offer, Offer)
    assert json.loads(offer.details) == OFFER
    assert offer == Offer(
        id=5,
        machine_id=12,
        host_id=7,
        price=310_000,
        gpu_name="RTX 4090",
        num_gpus=1,
        gpu_ram=24564.0,
        disk_space=812.5,
        reliability=0.9,
        cuda_max_good=12.8,
        duration=1e6,
        geolocation="Oslo, NO",
        verification="verified",
        rentable=True,
        resource_type="gpu",
        details=offer.details,
    )


@pytest.mark.parametrize("name", ["machine_id", "host_id", "dph_total", "gpu_name", "num_gpus"])
@pytest.mark.parametrize("value", [None, [], {}, "", True])
def test_an_offer_without_what_choosing_needs_is_named_by_what_it_lacks(name: str, value: object) -> None:
    assert schemas.offer({**OFFER, name: value}) == name
    assert schemas.offer({key: OFFER[key] for key in OFFER if key != name}) == name


def test_an_offer_without_an_id_goes_by_its_ask_contract_id() -> None:
    offer = schemas.offer({**OFFER, "id": None, "ask_contract_id": "9"})
    assert isinstance(offer, Offer)
    assert offer.id == 9
    assert schemas.offer({**OFFER, "id": None, "ask_contract_id": False}) == "id"


def test_an_offer_without_reliability2_goes_by_reliability() -> None:
    offer = schemas.offer({**OFFER, "reliability2": None})
    assert isinstance(offer, Offer)
    assert offer.reliability == 0.9


@pytest.mark.parametrize(
    "name",
    [
        "gpu_ram",
        "disk_space",
        "cuda_max_good",
        "duration",
        "geolocation",
        "verification",
        "rentable",
        "resource_type",
    ],
)
def test_an_odd_optional_field_of_an_offer_is_unknown(name: str) -> None:
    offer = schemas.offer({**OFFER, name: {"odd": 1}})
    assert isinstance(offer, Offer)
    assert getattr(offer, name) is None


def test_what_is_no_object_is_no_offer() -> None:
    assert schemas.offer([OFFER]) == "not an object"


def test_a_field_nested_too_deeply_or_too_long_is_left_out_of_the_details() -> None:
    deep: list[object] = []
    for _ in range(20_000):
        deep = [deep]
    offer = schemas.offer({**OFFER, "search": deep, "webpage": "x" * 1_000_000, "y" * 1_000: 1})
    assert isinstance(offer, Offer)
    assert json.loads(offer.details) == OFFER


@pytest.mark.parametrize(
    ("said", "word"),
    [("Running", "running"), ("running ", "running"), ("\tEXITED\n", "exited"), (" ", None), (7, None)],
)
def test_a_status_is_read_without_case_and_surrounding_space(said: object, word: str | None) -> None:
    fields = ("actual_status", "intended_status", "cur_state")
    box, _ = schemas.sighting({"id": 7} | dict.fromkeys(fields, said))
    assert box is not None
    assert [getattr(box, field) for field in fields] == [word] * 3


BARE = {name: value for name, value in OFFER.items() if name != "dph_total"}


@pytest.mark.parametrize(
    ("said", "micros"),
    [
        pytest.param(
            {
                "dph_total": 0.1608,
                "dph_base": 0.1608,
                "storage_total_cost": 0.0515,
                "search": {"totalHour": 0.2123},
            },
            212_300,
            id="a total without the disk",
        ),
        pytest.param(
            {"dph_total": 0.16, "dph_base": 0.16, "storage_total_cost": 0.05}, 210_000, id="base and disk"
        ),
        pytest.param({"dph_total": 0.3, "search": {"totalHour": 0.2}}, 300_000, id="a smaller second total"),
        pytest.param(
            {"dph_total": 0.16, "search": {"gpuCostPerHour": 0.16, "diskHour": 0.05}}, 210_000, id="parts"
        ),
        pytest.param(
            {
                "dph_total": 0.16,
                "search": {"gpuCostPerHour": 0.16, "diskHour": 0.05, "slaPremiumPerHour": 0.02},
            },
            230_000,
            id="parts with a premium",
        ),
        pytest.param(
            {"dph_total": 0.3, "discounted_dph_total": 0.1, "search": {"discountedTotalPerHour": 0.1}},
            300_000,
            id="a discount",
        ),
        pytest.param(
            {"dph_total": 0.3, "dph_base": -9, "search": {"totalHour": float("nan"), "diskHour": 1e300}},
            300_000,
            id="what is no price",
        ),
    ],
)
def test_a_price_is_the_largest_of_what_the_row_can_cost(said: dict[str, object], micros: int) -> None:
    offer = schemas.offer(BARE | said)
    seen, _ = schemas.sighting(INSTANCE | said)
    assert isinstance(offer, Offer)
    assert seen is not None
    assert (offer.price, seen.price) == (micros, micros)


def test_an_offer_that_was_priced_for_another_disk_is_priced_for_the_one_that_is_rented() -> None:
    said = {"dph_total": 0.162, "dph_base": 0.16, "storage_total_cost": 0.002, "storage_cost": 0.1}
    offer = schemas.offer(BARE | said, disk_gb=365)
    assert isinstance(offer, Offer)
    assert (offer.price, offer.disk_price) == (210_000, 50_000)


@pytest.mark.parametrize(
    ("said", "name", "taken"),
    [
        ({"gpu_ram": 48_000, "gpu_total_ram": 48_000, "num_gpus": 2}, "gpu_ram", 24_000.0),
        ({"gpu_ram": None, "gpu_total_ram": 48_000, "num_gpus": 2}, "gpu_ram", 24_000.0),
        ({"gpu_ram": 24_000, "gpu_total_ram": 96_000, "num_gpus": 2}, "gpu_ram", 24_000.0),
        ({"num_gpus": 4, "gpu_ids": [1, 2]}, "num_gpus", 2),
        ({"num_gpus": 1, "gpu_ids": [1, 2]}, "num_gpus", 1),
        ({"num_gpus": 2, "gpu_ids": []}, "num_gpus", 2),
        ({"reliability": 0.99, "reliability2": 0.5}, "reliability", 0.5),
        ({"reliability": 0.5, "reliability2": 0.99}, "reliability", 0.5),
        ({"verification": "verified", "vericode": 0}, "verification", "verified with vericode 0"),
        ({"verification": "verified", "vericode": 1}, "verification", "verified"),
        ({"verification": "unverified", "vericode": 1}, "verification", "unverified"),
    ],
)
def test_of_two_fields_that_contradict_each_other_the_lesser_counts(
    said: dict[str, object], name: str, taken: object
) -> None:
    offer = schemas.offer(OFFER | said)
    assert isinstance(offer, Offer)
    assert getattr(offer, name) == taken


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3).map(lambda s: s * 9_000)
)


@given(
    st.dictionaries(
        st.sampled_from([*schemas.InstanceRow.model_fields, "dph_base", "storage_cost"]), ANYTHING
    )
)
def test_whatever_a_row_says_fits_into_columns_indexes_and_calendars(odd: dict[str, object]) -> None:
    seen, _ = schemas.sighting(odd | {"id": 312})
    assert seen is not None
    assert (seen.num_gpus or 0) < 2**31
    assert max(seen.price or 0, seen.disk_price or 0) <= 60_000_000_000
    for moment in (seen.start_date, seen.end_date):
        assert moment is None or 2010 <= moment.year < 2200
    for name in (seen.gpu_name, seen.geolocation, seen.template_hash, seen.actual_status):
        assert name is None or (len(name.encode()) <= 800 and "\0" not in name)
    for text in (seen.label, seen.onstart, seen.status_msg):
        assert text is None or len(text) <= 16_384
