"""Vast's paths and shapes, asked of the simulator under a clock of the test's own."""

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from magister.simulator.http.server import create_app
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.contracts import FIRST_ACCOUNT
from magister.simulator.market.market import Market
from magister.simulator.runtime.rate_limits import RatePlan, Rates
from magister.simulator.runtime.simulation import OTHER_KEY, Simulation

PLAN = MarketPlan(
    machines=30, gpu_counts=(1,), dud_share=0.0, odd_share=0.0, unverified_share=0.0, storage_only=0
)
KEY = {"Authorization": "Bearer simulated-key"}
ANOTHER = {"Authorization": f"Bearer {OTHER_KEY}"}


@cache
def app() -> Flask:
    """Build the app once, since that takes longer than all it is asked in a test."""
    return create_app(Market(PLAN), clock=lambda: 0.0, rates=Rates(RatePlan(scale=0.0)))


class Vast:
    """Ask the simulator, at moments the test decides."""

    def __init__(self, **changes: object) -> None:
        self.now = 1_800_000_000.0
        plan = replace(PLAN, **changes)  # type: ignore[arg-type] # names and types are its fields'
        self.market = Market(plan, self.now)
        simulation: Simulation = app().extensions["simulation"]
        simulation.market, simulation.clock, simulation.logs = self.market, lambda: self.now, {}
        self.client: FlaskClient = app().test_client()
        self.key = KEY

    def ask(self, method: str, path: str, body: object = None, **parameters: object) -> TestResponse:
        query = {
            name: value if isinstance(value, (str, int)) else json.dumps(value)
            for name, value in parameters.items()
        }
        return self.client.open(path, method=method, json=body, query_string=query, headers=self.key)

    def offer(self) -> int:
        offers = self.ask("POST", "/api/v0/bundles/", {"limit": 1}).get_json()["offers"]
        return int(offers[0]["id"])

    def create(self, offer: int | None = None, /, **body: object) -> TestResponse:
        order = {"template_hash_id": KNOWN_TEMPLATE, "disk": 16, "label": "mine"} | body
        return self.ask("PUT", f"/api/v0/asks/{offer or self.offer()}/", order)

    def rented(self, **body: object) -> int:
        return int(self.create(None, **body).get_json()["new_contract"])

    def later(self, secs: float) -> None:
        self.now += secs


def said(answer: TestResponse) -> tuple[int, Any, Any]:
    body = answer.get_json()
    return answer.status_code, body.get("error"), body.get("msg")


def test_json_is_sent_under_exactly_that_type() -> None:
    assert Vast().ask("POST", "/api/v0/bundles/", {}).headers["Content-Type"] == "application/json"


def test_a_bad_key_is_a_404() -> None:
    answer = Vast().client.get("/api/v1/instances/", headers={"Authorization": "Bearer wrong"})
    assert said(answer) == (404, "auth_error", "Invalid user key")


def test_a_missing_key_is_a_403() -> None:
    answer = Vast().client.get("/api/v1/instances/")
    assert said(answer) == (403, "auth_error", "This action requires login.")


def test_another_account_is_shown_none_of_the_boxes() -> None:
    vast = Vast()
    box = vast.rented()
    assert vast.ask("GET", "/api/v0/users/current/").get_json()["id"] == FIRST_ACCOUNT
    vast.key = ANOTHER
    assert vast.ask("GET", "/api/v0/users/current/").get_json()["id"] != FIRST_ACCOUNT
    listing = vast.ask("GET", "/api/v1/instances/").get_json()
    assert (listing["success"], listing["instances"], listing["total_instances"]) == (True, [], 0)
    shown = vast.ask("GET", f"/api/v0/instances/{box}/")
    assert (shown.status_code, shown.get_json()) == (200, {"instances": None})
    assert said(vast.ask("DELETE", f"/api/v0/instances/{box}/", {}))[1] == "no_such_instance"
    assert vast.market.contracts[box].live


def test_another_account_rents_for_itself() -> None:
    vast = Vast()
    vast.key = ANOTHER
    box = vast.rented()
    (row,) = vast.ask("GET", "/api/v1/instances/").get_json()["instances"]
    assert row["id"] == box
    vast.key = KEY
    assert vast.ask("GET", "/api/v1/instances/").get_json()["instances"] == []


def test_searching_needs_no_key() -> None:
    assert Vast().client.post("/api/v0/bundles/", json={}).status_code == 200


def test_a_search_may_come_by_get_and_by_put() -> None:
    vast = Vast()
    rows = [
        vast.ask("GET", "/api/v0/bundles/", q={"limit": 3}),
        vast.ask("PUT", "/api/v0/search/asks/", {"select_cols": ["*"], "q": {"limit": 3}}),
    ]
    assert [len(answer.get_json()["offers"]) for answer in rows] == [3, 3]


def test_a_create_gives_the_contract_and_a_key_of_its_own() -> None:
    body = Vast().create().get_json()
    assert body["success"] is True
    assert isinstance(body["new_contract"], int)
    assert body["instance_api_key"]


def test_renting_the_same_offer_twice_says_it_is_no_longer_available() -> None:
    vast = Vast()
    offer = vast.offer()
    vast.create(offer)
    status, error, msg = said(vast.create(offer))
    assert (status, error) == (410, "no_such_ask")
    assert "no longer available" in msg


def test_renting_what_was_never_offered_says_it_is_not_available() -> None:
    status, error, msg = said(Vast().create(7))
    assert (status, error) == (404, "no_such_ask")
    assert "3603" in msg


def test_without_cancel_unavail_a_taken_offer_makes_a_stopped_box_that_bills() -> None:
    vast = Vast()
    offer = vast.offer()
    vast.create(offer)
    body = vast.create(offer, cancel_unavail=False).get_json()
    assert body["success"] is False
    shown = vast.ask("GET", f"/api/v0/instances/{body['new_contract']}/").get_json()["instances"]
    assert (shown["actual_status"], shown["intended_status"]) == ("stopped", "stopped")
    assert shown["instance"]["totalHour"] == shown["instance"]["diskHour"] > 0


@pytest.mark.parametrize(
    "body",
    [
        {"onstart": "x" * 4049},
        {"onstart": "x" * 4000, "args": ["y" * 97]},
        {"label": "x" * 257},
        {"disk": 7},
        {"disk": "16"},
        {"template_hash_id": "feedfeed"},
        {"template_hash_id": None},
        {"runtype": "telnet"},
        {"runtype": "ssh", "use_ssh": True},
        {"target_state": "paused"},
        {"disk": 10_000},
        {"onstart": 5},
        {"args": "echo"},
        {"env": {"A": "x" * 32_768}},
    ],
)
def test_a_bad_body_is_invalid_args(body: dict[str, object]) -> None:
    vast = Vast()
    assert said(vast.create(None, **body))[:2] == (400, "invalid_args")
    assert vast.market.contracts == {}


def test_an_onstart_of_4048_characters_is_taken() -> None:
    assert Vast().create(onstart="x" * 4048).status_code == 200


@pytest.mark.parametrize("status", [200, 400])
def test_lack_of_credit_is_told_under_200_or_400(status: int) -> None:
    vast = Vast(credit=0.0, insufficient_credit_status=status)
    answer = vast.create()
    assert said(answer)[:2] == (status, "insufficient_credit")
    assert answer.get_json()["success"] is False


def test_a_fresh_box_has_nulls_where_the_host_has_not_reported() -> None:
    vast = Vast()
    shown = vast.ask("GET", f"/api/v0/instances/{vast.rented()}/").get_json()["instances"]
    nulls = ("actual_status", "ports", "public_ipaddr", "ssh_port", "status_msg")
    assert [shown[name] for name in nulls] == [None] * 5
    assert isinstance(shown["start_date"], float)


def test_an_instance_does_not_name_its_offer() -> None:
    vast = Vast()
    offer = vast.offer()
    contract = vast.create(offer).get_json()["new_contract"]
    shown = vast.ask("GET", f"/api/v0/instances/{contract}/").get_json()["instances"]
    assert offer not in shown.values()


def test_env_comes_back_as_pairs() -> None:
    vast = Vast()
    vast.rented(env={"A": "b", "-p 80:80": "1"})
    row = vast.ask("GET", "/api/v1/instances/").get_json()["instances"][0]
    assert sorted(row["extra_env"]) == [["-p 80:80", "1"], ["A", "b"]]


def test_an_unknown_instance_is_null_under_200() -> None:
    answer = Vast().ask("GET", "/api/v0/instances/5/")
    assert (answer.status_code, answer.get_json()) == (200, {"instances": None})


def test_an_id_that_is_no_number_is_invalid() -> None:
    assert said(Vast().ask("GET", "/api/v0/instances/x/"))[:2] == (400, "invalid_args")


def test_a_second_destroy_says_no_such_instance() -> None:
    vast = Vast()
    path = f"/api/v0/instances/{vast.rented()}/"
    assert vast.ask("DELETE", path, {}).get_json()["success"] is True
    assert said(vast.ask("DELETE", path, {}))[:2] == (404, "no_such_instance")
    assert vast.ask("GET", path).get_json() == {"instances": None}


def test_the_old_listing_is_gone() -> None:
    assert said(Vast().ask("GET", "/api/v0/instances/"))[:2] == (410, "deprecated_endpoint")


def test_a_listing_pages_by_token_with_at_most_25_rows() -> None:
    vast = Vast()
    rented = [vast.rented(label=f"box {number}") for number in range(28)]
    first = vast.ask("GET", "/api/v1/instances/", limit=100).get_json()
    second = vast.ask("GET", "/api/v1/instances/", limit=100, after_token=first["next_token"]).get_json()
    assert (first["instances_found"], first["total_instances"], second["instances_found"]) == (25, 28, 3)
    assert second["next_token"] is None
    assert [row["id"] for row in first["instances"] + second["instances"]] == rented


def test_a_listing_without_a_limit_shows_five() -> None:
    vast = Vast()
    for _ in range(6):
        vast.rented()
    assert len(vast.ask("GET", "/api/v1/instances/").get_json()["instances"]) == 5


def test_a_listing_in_descending_order_pages_too() -> None:
    vast = Vast()
    rented = [vast.rented() for _ in range(7)]
    order = [{"col": "label", "dir": "asc"}, {"col": "id", "dir": "desc"}]
    first = vast.ask("GET", "/api/v1/instances/", limit=4, order_by=order).get_json()
    token = first["next_token"]
    second = vast.ask("GET", "/api/v1/instances/", limit=4, order_by=order, after_token=token).get_json()
    assert [row["id"] for row in first["instances"] + second["instances"]] == rented[::-1]


def test_a_listing_filters_by_label_and_counts_labels() -> None:
    vast = Vast()
    vast.rented(label="a")
    vast.rented(label="b")
    vast.rented(label=None)
    whole = vast.ask("GET", "/api/v1/instances/").get_json()
    assert whole["label_counts"] == {"a": 1, "b": 1, "": 1}
    one = vast.ask("GET", "/api/v1/instances/", select_filters={"label": {"eq": "a"}}).get_json()
    assert (one["total_instances"], one["instances"][0]["label"]) == (1, "a")


def test_a_listing_gives_the_columns_asked_for_and_null_for_unknown_ones() -> None:
    vast = Vast()
    contract = vast.rented()
    rows = vast.ask("GET", "/api/v1/instances/", select_cols=["id", "moon"]).get_json()["instances"]
    assert rows == [{"id": contract, "moon": None}]


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"after_token": "rubbish"}, "invalid_token"),
        ({"select_filters": {"dph_total": {"lt": 1}}}, "invalid_request"),
        ({"select_filters": {"id": {"like": 1}}}, "invalid_request"),
        ({"order_by": [{"col": "dph_total"}]}, "invalid_request"),
        ({"select_filters": "{"}, "invalid_request"),
    ],
)
def test_a_listing_refuses_what_vast_refuses(parameters: dict[str, object], error: str) -> None:
    assert said(Vast().ask("GET", "/api/v1/instances/", **parameters))[:2] == (400, error)


def test_a_label_can_be_changed_up_to_1024_characters() -> None:
    vast = Vast()
    path = f"/api/v0/instances/{vast.rented()}/"
    assert vast.ask("PUT", path, {"label": "x" * 1024}).get_json() == {"success": True}
    assert said(vast.ask("PUT", path, {"label": "x" * 1025})) == (400, "invalid_args", "label_too_long")
    assert said(vast.ask("PUT", "/api/v0/instances/5/", {"label": "x"}))[:2] == (404, "no_such_instance")


def test_a_start_is_queued_when_the_gpus_are_taken() -> None:
    vast = Vast(machines=1)
    contract = vast.rented()
    path = f"/api/v0/instances/{contract}/"
    assert vast.ask("PUT", path, {"state": "stopped"}).get_json() == {"success": True}
    other = vast.rented()
    assert said(vast.ask("PUT", path, {"state": "running"}))[:2] == (200, "resources_unavailable")
    vast.ask("DELETE", f"/api/v0/instances/{other}/", {})
    assert vast.ask("PUT", path, {"state": "running"}).get_json() == {"success": True}
    assert vast.ask("PUT", path, {"state": "paused"}).status_code == 400


def test_a_log_is_there_a_little_later_and_not_after_a_destroy() -> None:
    vast = Vast()
    contract = vast.rented()
    vast.later(100)
    request = f"/api/v0/instances/request_logs/{contract}/"
    url = vast.ask("PUT", request, {"tail": "1"}).get_json()["result_url"]
    assert url.startswith("http://localhost/")
    assert vast.client.get(url).status_code == 404
    vast.later(1)
    assert vast.client.get(url).text.startswith("success, running")
    vast.ask("DELETE", f"/api/v0/instances/{contract}/", {})
    assert said(vast.ask("PUT", request))[:2] == (404, "invalid_id")


def test_the_account_tells_its_credit_not_its_balance() -> None:
    user = Vast(credit=42.0).ask("GET", "/api/v0/users/current").get_json()
    assert (user["credit"], user["balance"]) == (42.0, 0.0)


def test_the_spend_rate_is_that_of_the_boxes() -> None:
    vast = Vast()
    contract = vast.market.contracts[vast.rented()]
    idle = vast.ask("GET", "/api/v0/users/spend-rate/").get_json()
    vast.later(100)
    busy = vast.ask("GET", "/api/v0/users/spend-rate/").get_json()
    assert (idle["gpu_cost_per_hour"], busy["gpu_cost_per_hour"]) == (0, contract.gpu_price)
    assert busy["container_storage_cost_per_hour"] == contract.storage_hourly


def test_charges_are_told_after_the_destroy_in_three_decimals() -> None:
    vast = Vast()
    contract = vast.rented()
    vast.later(7200)
    vast.ask("DELETE", f"/api/v0/instances/{contract}/", {})
    days = {"gte": vast.now - 86_400, "lte": vast.now + 86_400}
    answer = vast.ask("GET", "/api/v0/charges/", select_filters={"day": days}).get_json()
    row = answer["results"][0]
    assert (answer["count"], answer["total"], answer["next_token"]) == (1, 1, None)
    assert (row["source"], row["metadata"]["label"]) == (f"instance-{contract}", "mine")
    assert row["amount"] == round(row["amount"], 3) > 0
    assert [item["type"] for item in row["items"]] == ["gpu", "disk", "bwd", "bwu"]
    assert row["amount"] == pytest.approx(sum(item["amount"] for item in row["items"]), abs=0.003)


def test_the_listing_counts_in_kilobytes_what_the_bill_charges_by_the_gb() -> None:
    vast = Vast()
    contract = vast.rented()
    row = vast.ask("GET", "/api/v1/instances/").get_json()["instances"][0]
    assert (row["inet_down_billed"], row["inet_up_billed"]) == (None, None)
    vast.later(7200)
    row = vast.ask("GET", "/api/v1/instances/").get_json()["instances"][0]
    days = {"gte": vast.now - 86_400, "lte": vast.now + 86_400}
    answer = vast.ask("GET", "/api/v0/charges/", select_filters={"day": days}).get_json()
    charged = {item["type"]: item["amount"] for item in answer["results"][0]["items"]}
    for way, line in (("down", "bwd"), ("up", "bwu")):
        amount = row[f"inet_{way}_billed"] / 1024**2 * row[f"inet_{way}_cost"]
        assert charged[line] == pytest.approx(amount, abs=0.0006) != 0
    assert vast.market.contracts[contract].to_pull == 0


def test_charges_are_those_of_the_days_asked_for() -> None:
    vast = Vast()
    vast.rented()
    first = vast.now
    vast.later(3 * 86_400)

    def amount(since: float, until: float) -> float:
        days = {"day": {"gte": since, "lte": until}}
        rows = vast.ask("GET", "/api/v0/charges/", select_filters=days).get_json()["results"]
        return float(sum(row["amount"] for row in rows))

    assert 0 < amount(first, first) < amount(first, vast.now)
    assert amount(first - 3 * 86_400, first - 2 * 86_400) == 0


def test_charges_may_lag_behind_the_end_of_their_day() -> None:
    vast = Vast(charges_lag_secs=7200.0)
    vast.rented()
    midnight = vast.now // 86_400 * 86_400 + 86_400
    days = {"day": {"gte": midnight - 86_400, "lte": midnight - 1}}

    def shown() -> int:
        return len(vast.ask("GET", "/api/v0/charges/", select_filters=days).get_json()["results"])

    vast.later(midnight + 7100 - vast.now)
    assert shown() == 0
    vast.later(200)
    assert shown() == 1


def test_charges_page_by_token() -> None:
    vast = Vast()
    rented = [vast.rented() for _ in range(5)]
    vast.later(3600)
    days = {"day": {"gte": vast.now - 86_400, "lte": vast.now}}
    seen: list[str] = []
    token = None
    while token is not None or not seen:
        cursor = token or ""
        answer = vast.ask(
            "GET", "/api/v0/charges/", select_filters=days, limit=2, after_token=cursor
        ).get_json()
        seen += [row["source"] for row in answer["results"]]
        token = answer["next_token"]
    assert seen == [f"instance-{contract}" for contract in reversed(rented)]


def test_charges_need_a_range_of_days() -> None:
    answer = Vast().ask("GET", "/api/v0/charges/", select_filters={"day": {"gte": 1}})
    assert answer.status_code == 400
    assert "Must provide both" in answer.get_json()["msg"]


def test_a_template_is_found_by_its_hash() -> None:
    vast = Vast()
    path = "/api/v0/template/"
    found = vast.ask("GET", path, select_filters={"hash_id": {"eq": KNOWN_TEMPLATE}}).get_json()
    assert (found["templates_found"], found["templates"][0]["hash_id"]) == (1, KNOWN_TEMPLATE)
    none = vast.ask("GET", path, select_filters={"hash_id": {"eq": "feed"}}).get_json()
    assert none == {"success": False, "msg": "No templates found"}


def test_instances_are_counted() -> None:
    vast = Vast()
    vast.rented()
    assert vast.ask("GET", "/api/v0/instances/count/").get_json() == {"count": 1}


def test_the_models_are_named() -> None:
    assert Vast().client.get("/api/v0/gpu_names/unique/").get_json()["gpu_names"]


def test_a_path_vast_does_not_have_is_a_404_of_another_kind() -> None:
    assert said(Vast().ask("GET", "/api/v1/instances/lite/"))[:2] == (404, "not_found")


def test_any_key_will_do_if_so_wanted() -> None:
    app = create_app(Market(PLAN), clock=lambda: 0.0, any_key=True)
    answer = app.test_client().get("/api/v1/instances/", headers={"Authorization": "Bearer whatever"})
    assert answer.status_code == 200


def test_a_search_stops_when_the_rows_of_the_day_are_spent() -> None:
    rates = Rates(RatePlan(scale=0.0, search_rows_per_day=5))
    client = create_app(Market(PLAN), clock=lambda: 0.0, rates=rates).test_client()
    answers = [client.post("/api/v0/bundles/", json={"limit": 3}) for _ in range(3)]
    assert [len(answer.get_json().get("offers", ())) for answer in answers] == [3, 2, 0]
    assert said(answers[2])[:2] == (429, "search_quota_exceeded")
    assert answers[2].headers["X-RateLimit-Reset"] == "86400"


def test_a_call_that_comes_too_soon_is_a_429() -> None:
    client = create_app(Market(PLAN), clock=lambda: 0.0).test_client()
    codes = [client.get("/api/v1/instances/", headers=KEY).status_code for _ in range(2)]
    assert codes == [200, 429]


def test_a_body_that_is_no_object_is_invalid_args() -> None:
    vast = Vast()
    assert said(vast.ask("PUT", f"/api/v0/asks/{vast.offer()}/", ["x"]))[:2] == (400, "invalid_args")


@pytest.mark.parametrize("price", [0, 200, "1"])
def test_a_bid_out_of_range_is_an_invalid_price(price: object) -> None:
    assert said(Vast().create(None, price=price))[:2] == (400, "invalid_price")


def test_a_bid_is_the_price_of_the_box() -> None:
    vast = Vast()
    contract = vast.market.contracts[vast.rented(price=0.05)]
    assert contract.gpu_price == 0.05


def test_a_virtual_machine_needs_an_ssh_key() -> None:
    assert said(Vast().create(None, vm=True))[:2] == (400, "no_ssh_key_for_vm")


def test_what_the_command_line_sends_in_full_is_taken() -> None:
    unset = dict.fromkeys(("args", "price", "extra", "image_login"))
    words = {"image": "a/b", "runtype": "ssh_direc ssh_proxy", "env": {}, "client_id": "me"}
    assert Vast().create(None, **words, **unset).status_code == 200


def test_args_as_text_make_an_args_box() -> None:
    vast = Vast()
    row = vast.market.contracts[vast.rented(args_str="echo hello")]
    assert (row.runtype, row.args) == ("args", ["echo hello"])
