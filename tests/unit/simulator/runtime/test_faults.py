"""Faults, set and cleared while the simulator runs."""

import json
import re
from functools import cache

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from magister.simulator.http.server import create_app
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.market import Market
from magister.simulator.runtime import faults
from magister.simulator.runtime.faults import NAMES, Fault, Faults, fault_from
from magister.simulator.runtime.rate_limits import RatePlan, Rates
from magister.simulator.runtime.replies import Cut
from magister.simulator.runtime.request_log import Journal
from magister.simulator.runtime.simulation import Simulation

KEY = {"Authorization": "Bearer simulated-key"}
PLAN = MarketPlan(machines=10, gpu_counts=(1,), storage_only=0)


@cache
def app() -> Flask:
    """Build the app once, since that takes longer than all it is asked in a test."""
    return create_app(Market(PLAN), clock=lambda: 0.0, rates=Rates(RatePlan(scale=0.0)))


class Vast:
    """Ask a simulator that misbehaves as told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.market = Market(PLAN)
        simulation: Simulation = app().extensions["simulation"]
        simulation.market, simulation.clock = self.market, lambda: self.now
        simulation.faults, simulation.journal = Faults(), Journal()
        self.client: FlaskClient = app().test_client()

    def spoil(self, name: str, **more: object) -> None:
        answer = self.client.post("/sim/faults", json={"set": [{"name": name, **more}]})
        assert answer.status_code == 200, answer.text

    def create(self, label: str = "mine") -> TestResponse:
        offer = self.market.estate.available()[0][0]
        body = {"template_hash_id": KNOWN_TEMPLATE, "disk": 16, "label": label}
        return self.client.put(f"/api/v0/asks/{offer}/", json=body, headers=KEY)

    def listing(self) -> TestResponse:
        return self.client.get("/api/v1/instances/?limit=25", headers=KEY)

    def destroy(self, contract: int) -> TestResponse:
        return self.client.delete(f"/api/v0/instances/{contract}/", json={}, headers=KEY)

    @property
    def live(self) -> int:
        return len(self.market.live())


def test_the_table_names_every_fault() -> None:
    rows = [line for line in (faults.__doc__ or "").splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} == NAMES


def test_an_unknown_fault_is_refused_with_the_names_there_are() -> None:
    answer = Vast().client.post("/sim/faults", json={"set": [{"name": "flood"}]})
    assert answer.status_code == 400
    assert "outage" in answer.get_json()["error"]


@pytest.mark.parametrize("value", [{"name": "reset", "hue": 1}, {"name": "reset", "count": "2"}, {}, "reset"])
def test_a_fault_of_a_wrong_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="fault"):
        fault_from(value)


def test_a_fault_strikes_as_often_as_it_was_set_to() -> None:
    active = Faults()
    active.set(Fault(name="reset", count=2))
    assert [active.strike(("reset",), "list") is not None for _ in range(3)] == [True, True, False]


def test_a_fault_strikes_its_route_only() -> None:
    active = Faults()
    active.set(Fault(name="reset", route="create"))
    assert active.strike(("reset",), "list") is None
    assert active.strike(("reset",), "create") is not None


def test_a_fault_ends_when_its_time_is_over() -> None:
    active = Faults()
    active.set(Fault(name="outage", lasts=60.0), now=100.0)
    assert active.strike(("outage",), "list", 159.0) is not None
    assert active.strike(("outage",), "list", 160.0) is None


def test_a_fault_strikes_with_its_probability() -> None:
    active = Faults()
    active.set(Fault(name="reset", probability=0.3))
    assert 230 < sum(active.strike(("reset",), "list") is not None for _ in range(1000)) < 370


def test_a_cleared_fault_strikes_no_more() -> None:
    vast = Vast()
    vast.spoil("outage")
    assert vast.listing().status_code == 503
    vast.client.post("/sim/faults", json={"clear": ["outage"]})
    assert vast.listing().status_code == 200


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_connection_is_cut_before_or_after_the_effect(when: str, made: int) -> None:
    vast = Vast()
    vast.spoil("reset", route="create", when=when)
    with pytest.raises(Cut):
        vast.create()
    assert vast.live == made


@pytest.mark.parametrize("code", [500, 502, 503, 408, 409, 425])
@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_status_is_told_before_or_after_the_effect(code: int, when: str, made: int) -> None:
    vast = Vast()
    vast.spoil("status", route="create", code=code, when=when)
    assert vast.create().status_code == code
    assert vast.live == made


@pytest.mark.parametrize("name", ["html", "empty", "plain_text", "truncated"])
def test_a_body_may_be_unreadable_although_the_box_was_made(name: str) -> None:
    vast = Vast()
    vast.spoil(name, route="create")
    answer = vast.create()
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
    assert vast.live == 1


def test_a_create_may_not_tell_its_contract() -> None:
    vast = Vast()
    vast.spoil("no_contract")
    assert vast.create().get_json() == {"success": True}
    assert vast.live == 1


def test_a_create_may_make_a_stopped_box() -> None:
    vast = Vast()
    vast.spoil("stopped_box")
    body = vast.create().get_json()
    assert body["success"] is False
    assert vast.market.contracts[body["new_contract"]].intended == "stopped"


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [("offer_gone", 410, "no_such_ask"), ("no_credit", 200, "insufficient_credit")],
)
def test_a_create_may_be_refused(name: str, status: int, error: str) -> None:
    vast = Vast()
    vast.spoil(name)
    answer = vast.create()
    assert (answer.status_code, answer.get_json()["error"], vast.live) == (status, error, 0)


@pytest.mark.parametrize(
    ("name", "rows", "total"),
    [("short_page", 1, 2), ("wrong_total", 2, 3), ("duplicate_ids", 3, 2), ("no_instances", 0, 0)],
)
def test_a_listing_may_lie(name: str, rows: int, total: int) -> None:
    vast = Vast()
    vast.create("a")
    vast.create("b")
    vast.spoil(name)
    body = vast.listing().get_json()
    assert (len(body["instances"]), body["total_instances"]) == (rows, total)


def test_a_listing_may_be_null_or_refused_under_200() -> None:
    vast = Vast()
    for name in ("null_instances", "deprecated_200", "listing_refused"):
        vast.spoil(name, count=1)
    null, deprecated, refused = (vast.listing() for _ in range(3))
    assert null.get_json()["instances"] is None
    assert (deprecated.status_code, deprecated.get_json()["error"]) == (200, "deprecated_endpoint")
    assert (refused.status_code, refused.get_json()["success"]) == (200, False)


def test_every_route_may_say_that_the_key_is_bad() -> None:
    vast = Vast()
    vast.spoil("bad_key")
    answer = vast.listing()
    assert (answer.status_code, answer.get_json()["error"]) == (404, "auth_error")


def test_a_listing_may_lag_behind_creates_and_destroys() -> None:
    vast = Vast()
    vast.spoil("lag_create", secs=30)
    vast.spoil("lag_destroy", secs=30)
    contract = vast.create().get_json()["new_contract"]
    counts = []
    for moment in (1.0, 31.0):
        vast.now = moment
        counts.append(vast.listing().get_json()["total_instances"])
    vast.destroy(contract)
    for moment in (32.0, 62.0):
        vast.now = moment
        counts.append(vast.listing().get_json()["total_instances"])
    assert counts == [0, 1, 1, 0]


def test_a_destroy_may_be_refused_for_a_while() -> None:
    vast = Vast()
    contract = vast.create().get_json()["new_contract"]
    vast.spoil("destroy_refused", count=2)
    answers = [vast.destroy(contract) for _ in range(3)]
    assert [answer.get_json()["success"] for answer in answers] == [False, False, True]
    assert vast.live == 0


def test_a_destroyed_box_may_be_back() -> None:
    vast = Vast()
    contract = vast.create().get_json()["new_contract"]
    vast.spoil("resurrect", secs=60)
    vast.destroy(contract)
    assert vast.listing().get_json()["total_instances"] == 0
    vast.now = 61.0
    assert vast.listing().get_json()["total_instances"] == 1


def test_the_market_may_be_empty() -> None:
    vast = Vast()
    vast.spoil("empty_market")
    assert vast.client.post("/api/v0/bundles/", json={}).get_json()["offers"] == []


def test_a_price_may_leave_the_disk_out() -> None:
    vast = Vast()
    vast.spoil("disk_unpriced")
    for row in vast.client.post("/api/v0/bundles/", json={"allocated_storage": 400}).get_json()["offers"]:
        assert row["dph_total"] == row["dph_base"] < row["search"]["totalHour"]


@pytest.mark.parametrize("field", ["geolocation", None])
def test_a_filter_may_be_ignored(field: str | None) -> None:
    vast = Vast()
    vast.spoil("filter_ignored", field=field)
    query = {"geolocation": {"in": ["SE"]}, "dph_total": {"lte": 0.4}}
    rows = vast.client.post("/api/v0/bundles/", json=query).get_json()["offers"]
    assert len({row["geolocation"] for row in rows}) > 1
    assert (max(row["dph_total"] for row in rows) <= 0.4) is (field is not None)


def test_an_offer_may_be_odd() -> None:
    vast = Vast()
    vast.spoil("odd_offer")
    *_, odd = vast.client.post("/api/v0/bundles/", json={"limit": 5}).get_json()["offers"]
    assert odd["num_gpus"] == 2**40


def test_an_instance_may_be_odd() -> None:
    vast = Vast()
    vast.create()
    vast.spoil("odd_instance")
    (odd,) = vast.listing().get_json()["instances"]
    assert odd["num_gpus"] == 2**40


def test_a_look_by_id_may_say_null_although_the_box_is_there() -> None:
    vast = Vast()
    contract = vast.create().get_json()["new_contract"]
    vast.spoil("show_null")
    assert vast.client.get(f"/api/v0/instances/{contract}/", headers=KEY).get_json() == {"instances": None}


def test_a_429_on_demand_tells_the_wait_if_told_to() -> None:
    vast = Vast()
    vast.spoil("throttle", secs=9)
    answer = vast.listing()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "9")


def test_an_outage_may_cut_every_connection() -> None:
    vast = Vast()
    vast.spoil("outage", code=0)
    with pytest.raises(Cut):
        vast.listing()


def test_an_incident_strikes_the_box_named() -> None:
    vast = Vast()
    contract = vast.create().get_json()["new_contract"]
    seen = []
    for kind in ("unknown", "offline", "back", "exit", "console_delete"):
        vast.client.post("/sim/incidents", json={"kind": kind, "instance": contract})
        box = vast.client.get("/sim/state").get_json()["contracts"][0]
        seen.append((box["actual_status"], box["ended_by"]))
    assert [status for status, _ in seen[:4]] == ["unknown", "offline", None, "exited"]
    assert seen[4][1] == "console"


def test_an_incident_without_a_verified_worker_strikes_nobody() -> None:
    answer = Vast().client.post("/sim/incidents", json={"kind": "exit"})
    assert answer.status_code == 409


def test_an_unknown_incident_is_refused_with_the_kinds_there_are() -> None:
    answer = Vast().client.post("/sim/incidents", json={"kind": "fire"})
    assert answer.status_code == 400
    assert "coordinator_drop" in answer.get_json()["error"]


def test_prices_rise_on_demand() -> None:
    vast = Vast()
    before = vast.market.estate.hourly(*vast.market.estate.available()[0][1:])
    vast.client.post("/sim/incidents", json={"kind": "price_rise", "factor": 2})
    assert vast.market.estate.hourly(*vast.market.estate.available()[0][1:]) == pytest.approx(2 * before)


def test_taking_the_credit_away_stops_all_boxes() -> None:
    vast = Vast()
    vast.create()
    assert vast.client.post("/sim/credit", json={"credit": 0}).get_json() == {"credit": 0}
    assert [box.intended for box in vast.market.live()] == ["stopped"]


def test_the_state_tells_what_there_was_and_what_was_asked() -> None:
    vast = Vast()
    vast.create("same")
    vast.destroy(vast.create("same").get_json()["new_contract"])
    state = vast.client.get("/sim/state").get_json()
    assert (state["live"], state["most_live"]) == (1, 2)
    assert (state["doubled_labels"], state["doubled_live_labels"]) == (["same"], [])
    assert state["requests"] == {"create": 2, "destroy": 1}
    assert [box["ended_by"] for box in state["contracts"]] == [None, "client"]


def test_the_log_of_requests_keeps_what_creates_said() -> None:
    vast = Vast()
    vast.create("mine")
    entry = vast.client.get("/sim/requests?route=create").get_json()["requests"][0]
    assert (entry["status"], entry["body"]["label"]) == (200, "mine")


def test_an_incident_may_stop_a_box_and_bring_one_back_from_its_end() -> None:
    vast = Vast()
    contract = vast.create().get_json()["new_contract"]
    kinds = ("stop", "vanish", "resurrect")
    live = []
    for kind in kinds:
        assert (
            vast.client.post("/sim/incidents", json={"kind": kind, "instance": contract}).status_code == 200
        )
        live.append(vast.live)
    assert live == [1, 0, 1]
    assert vast.market.contracts[contract].intended == "stopped"


@pytest.mark.parametrize(("kind", "status"), [("back", 400), ("resurrect", 400), ("exit", 409)])
def test_an_incident_without_what_it_needs_is_refused(kind: str, status: int) -> None:
    assert Vast().client.post("/sim/incidents", json={"kind": kind}).status_code == status


@pytest.mark.parametrize("named", [7, None])
def test_an_incident_does_not_strike_what_is_not_there(named: int | None) -> None:
    vast = Vast()
    contract = vast.create().get_json()["new_contract"]
    vast.destroy(contract)
    answer = vast.client.post("/sim/incidents", json={"kind": "exit", "instance": named or contract})
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("name", "status"), [("throttle", 429), ("bad_key", 404), ("outage", 503), ("slow", 200)]
)
def test_faults_of_all_calls_may_strike_after_the_effect_too(name: str, status: int) -> None:
    vast = Vast()
    vast.spoil(name, route="create", when="after")
    assert vast.create().status_code == status
    assert vast.live == 1


def test_all_faults_can_be_cleared_at_once() -> None:
    vast = Vast()
    vast.spoil("outage")
    vast.spoil("reset")
    assert len(vast.client.get("/sim/faults").get_json()["faults"]) == 2
    assert vast.client.post("/sim/faults", json={"clear": True}).get_json() == {"faults": []}


def test_the_credit_is_set_by_a_number() -> None:
    vast = Vast()
    assert vast.client.post("/sim/credit", json={}).status_code == 400
    assert vast.client.post("/sim/credit", json={"credit": 5, "add": 2}).get_json() == {"credit": 7}
