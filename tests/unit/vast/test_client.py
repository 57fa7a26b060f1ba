"""The client over HTTP: what it sends, what it makes of the answers, and what it never does."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from magister import __version__
from magister.domain.observed import Account, Charge, Order, Route
from magister.errors import (
    Ambiguous,
    BadKey,
    IncompleteListing,
    OfferGone,
    RateLimited,
    Refused,
    StartedStopped,
    Stopping,
    Transient,
    VastError,
)
from magister.vast import Access, HttpVast, Pacer, Vast

URL = "https://vast.test"
KEY = "0123456789abcdef" * 4
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ORDER = Order(template_hash="4e17", label="magister:ab12", disk=32.0, onstart="su contemplant")
ASK = f"{URL}/api/v0/asks/5/"
LIST = f"{URL}/api/v1/instances/"
BOX = f"{URL}/api/v0/instances/7/"
BUNDLES = f"{URL}/api/v0/bundles/"
USER = f"{URL}/api/v0/users/current/"
TEMPLATE = f"{URL}/api/v0/template/"
BAD_KEY = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
NOT_THERE = {"success": False, "error": "no_such_instance", "msg": "Instance 7 not found."}


class Time:
    """A clock that stands still but for naps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def client(time: Time | None = None, **more: object) -> HttpVast:
    time = time or Time()
    access = Access(url=URL, api_key=SecretStr(KEY), **more)  # type: ignore[arg-type] # names and types are its fields'
    intervals = {Route.CREATE: 4.5, Route.LIST: 1.0, Route.DESTROY: 3.0, Route.SHOW: 2.0}
    pacer = Pacer(intervals, backoff=10, cap=60, clock=time.clock, nap=time.nap)
    return HttpVast(access, pacer, nap=time.nap)


@pytest.fixture
def vast() -> Iterator[responses.RequestsMock]:
    """Answer for Vast at the edge of requests; a call that nothing was set up for fails."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def sent(vast: responses.RequestsMock, n: int = 0) -> requests.PreparedRequest:
    return vast.calls[n].request


def sent_body(vast: responses.RequestsMock, n: int = 0) -> object:
    body = sent(vast, n).body
    assert isinstance(body, bytes | str)
    return json.loads(body)


def test_the_client_is_a_vast() -> None:
    vast: Vast = client()
    assert vast.wait_secs(Route.CREATE) == 0


# What every request carries


def test_the_key_travels_in_the_header_and_nowhere_else(vast: responses.RequestsMock) -> None:
    vast.get(USER, json={"credit": 1})
    client().account()
    request = sent(vast)
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["User-Agent"] == f"magister/{__version__}"
    assert KEY not in str(request.url)


def test_a_netrc_file_does_not_replace_the_key(
    vast: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    vast.get(USER, json={"credit": 1})
    client().account()
    assert sent(vast).headers["Authorization"] == f"Bearer {KEY}"


def test_every_call_has_a_timeout_and_follows_no_redirect(vast: responses.RequestsMock) -> None:
    vast.get(USER, json={"credit": 1})
    client(connect_timeout=3, timeout=20).account()
    assert sent(vast).req_kwargs["timeout"] == (3, 20)  # type: ignore[attr-defined] # responses adds it
    assert sent(vast).req_kwargs["stream"] is True  # type: ignore[attr-defined] # responses adds it


def test_cookies_are_refused(vast: responses.RequestsMock) -> None:
    vast.get(USER, json={"credit": 1}, headers={"Set-Cookie": "a=b"})
    asking = client()
    asking.account()
    asking.account()
    assert "Cookie" not in sent(vast, 1).headers


def test_a_redirect_is_told_and_not_followed(vast: responses.RequestsMock) -> None:
    vast.get(USER, status=308, headers={"Location": f"https://elsewhere.test/?api_key={KEY}"})
    with pytest.raises(Transient, match=r"redirected to https://elsewhere\.test") as raised:
        client(attempts=1).account()
    assert KEY not in str(raised.value)
    assert len(vast.calls) == 1


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel", "tab\t"])
def test_a_key_that_cannot_be_one_is_never_sent(vast: responses.RequestsMock, key: str) -> None:
    pacer = Pacer({}, backoff=10, cap=60, clock=Time().clock, nap=Time().nap)
    asking = HttpVast(Access(url=URL, api_key=SecretStr(key)), pacer, nap=Time().nap)
    with pytest.raises(BadKey):
        asking.create(5, ORDER)
    assert len(vast.calls) == 0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"body": f"no {KEY}", "status": 400}, id="as text"),
        pytest.param(
            {"json": {"success": False, "error": "e", "msg": f"no {KEY}"}, "status": 400}, id="as msg"
        ),
        pytest.param({"json": {"success": False, "error": KEY}, "status": 200}, id="as a refusal"),
        pytest.param({"body": requests.ConnectionError(f"Bearer {KEY}")}, id="as a failure"),
        pytest.param({"status": 301, "headers": {"Location": f"https://{KEY}.test"}}, id="as a redirect"),
        pytest.param(
            {"status": 404, "json": {**BAD_KEY, "msg": f"Invalid user key {KEY}"}}, id="as a bad key"
        ),
    ],
)
def test_the_key_is_in_no_error_log_or_repr(
    vast: responses.RequestsMock, caplog: pytest.LogCaptureFixture, answer: dict[str, Any]
) -> None:
    vast.add(method="GET", url=USER, **answer)
    vast.add(method="PUT", url=ASK, **answer)
    asking = client()
    calls: list[Callable[[], object]] = [asking.account, lambda: asking.create(5, ORDER)]
    with caplog.at_level(logging.DEBUG):
        for call in calls:
            with pytest.raises(VastError) as raised:
                call()
            assert KEY not in repr(raised.value) + str(raised.value)
            assert raised.value.__cause__ is None
    assert KEY not in caplog.text
    assert KEY not in repr(Access(url=URL, api_key=SecretStr(KEY)))


# Creating


def test_a_create_sends_exactly_what_was_ordered(vast: responses.RequestsMock) -> None:
    vast.put(ASK, json={"success": True, "new_contract": 77, "instance_api_key": "k"})
    assert client().create(5, ORDER) == 77
    assert sent(vast).method == "PUT"
    assert sent(vast).url == ASK
    assert sent(vast).headers["Content-Type"] == "application/json"
    assert sent_body(vast) == {
        "template_hash_id": "4e17",
        "label": "magister:ab12",
        "disk": 32.0,
        "onstart": "su contemplant",
        "target_state": "running",
        "cancel_unavail": True,
    }


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 503, "headers": {"Retry-After": "0"}}, id="503"),
        pytest.param({"status": 429, "body": "API requests too frequent"}, id="429"),
        pytest.param({"status": 408}, id="408"),
        pytest.param({"status": 301, "headers": {"Location": ASK}}, id="301"),
        pytest.param({"status": 308, "headers": {"Location": "https://elsewhere.test/"}}, id="308"),
        pytest.param({"status": 401}, id="401"),
        pytest.param({"status": 200, "body": ""}, id="nothing"),
        pytest.param({"status": 200, "body": "<html>"}, id="HTML"),
        pytest.param({"status": 200, "json": {"success": True}}, id="no contract"),
        pytest.param({"status": 410, "json": {"error": "no_such_ask"}}, id="gone"),
        pytest.param({"body": requests.ReadTimeout("Read timed out")}, id="no answer in time"),
        pytest.param({"body": requests.ConnectTimeout("timed out")}, id="no connection in time"),
        pytest.param({"body": requests.ConnectionError("reset")}, id="a reset"),
        pytest.param({"body": ValueError("odd")}, id="an error nobody expects"),
    ],
)
def test_a_create_is_sent_exactly_once_whatever_comes_back(
    vast: responses.RequestsMock, answer: dict[str, Any]
) -> None:
    vast.add(method="PUT", url=ASK, **answer)
    with pytest.raises(VastError):
        client().create(5, ORDER)
    assert len(vast.calls) == 1


@pytest.mark.parametrize(
    "failure",
    [
        requests.ReadTimeout("Read timed out"),
        requests.ConnectionError("('Connection aborted.', ConnectionResetError(104))"),
        requests.exceptions.ChunkedEncodingError("broken"),
        requests.exceptions.SSLError("handshake"),
        OSError("odd"),
    ],
)
def test_a_create_without_an_answer_is_ambiguous(vast: responses.RequestsMock, failure: Exception) -> None:
    vast.put(ASK, body=failure)
    with pytest.raises(Ambiguous, match="Vast did not answer"):
        client().create(5, ORDER)


def test_a_stopped_box_and_a_taken_offer_are_told_apart(vast: responses.RequestsMock) -> None:
    vast.put(ASK, json={"success": False, "new_contract": 77})
    vast.put(ASK, json={"success": False, "error": "no_such_ask"}, status=410)
    asking = client()
    with pytest.raises(StartedStopped):
        asking.create(5, ORDER)
    with pytest.raises(OfferGone):
        asking.create(5, ORDER)


# Pace


def test_a_429_closes_its_route_alone_and_is_not_repeated(vast: responses.RequestsMock) -> None:
    vast.put(ASK, status=429, headers={"Retry-After": "12"}, body="API requests too frequent")
    vast.delete(BOX, json={"success": True})
    time = Time()
    asking = client(time)
    with pytest.raises(RateLimited) as raised:
        asking.create(5, ORDER)
    assert raised.value.retry_after == 12
    assert asking.wait_secs(Route.CREATE) == pytest.approx(12)
    asking.destroy(7)
    assert time.naps == []


def test_429s_in_a_row_back_off_until_something_else_comes(vast: responses.RequestsMock) -> None:
    for status in (429, 429, 400, 429):
        vast.put(ASK, status=status, json={"success": False, "error": "invalid_args"})
    asking = client()
    waits = []
    for _ in range(4):
        with pytest.raises(VastError):
            asking.create(5, ORDER)
        waits.append(asking.wait_secs(Route.CREATE))
    assert waits == pytest.approx([10, 20, 4.5 * 1.04, 10])


def test_a_route_closed_for_hours_is_not_waited_for(vast: responses.RequestsMock) -> None:
    quota = {"error": "search_quota_exceeded", "msg": "Daily search row quota exhausted"}
    vast.post(BUNDLES, status=429, json=quota, headers={"Retry-After": "7200"})
    time = Time()
    asking = client(time)
    with pytest.raises(RateLimited):
        asking.search(1, lambda _: True)
    with pytest.raises(RateLimited, match="closed search for another 7200 s") as raised:
        asking.search(1, lambda _: True)
    assert raised.value.retry_after == pytest.approx(7200)
    assert len(vast.calls) == 1
    assert time.naps == []


def test_calls_of_one_route_keep_their_distance(vast: responses.RequestsMock) -> None:
    vast.delete(BOX, json={"success": True})
    time = Time()
    asking = client(time)
    asking.destroy(7)
    asking.destroy(7)
    assert time.naps == pytest.approx([3 * 1.04])


def test_the_account_of_a_key_is_told_as_far_as_vast_names_it(vast: responses.RequestsMock) -> None:
    vast.get(USER, json={"id": 4242, "credit": 2.5})
    vast.get(USER, json={"id": "somebody", "credit": 2.5})
    asking = client()
    assert [asking.account().id, asking.account().id] == [4242, None]


# Repeating


def test_a_read_is_repeated_a_few_times_with_growing_waits(vast: responses.RequestsMock) -> None:
    vast.get(USER, status=503)
    vast.get(USER, body=requests.ConnectionError("reset"))
    vast.get(USER, json={"credit": 2.5})
    time = Time()
    assert client(time).account() == Account(2_500_000)
    assert len(time.naps) == 2
    assert 0.5 <= time.naps[0] <= 1.0 <= time.naps[1] <= 1.5


def test_a_read_is_given_up_with_what_vast_said_last(vast: responses.RequestsMock) -> None:
    vast.get(USER, status=502, body="<html><b>Bad gateway</b></html>")
    with pytest.raises(Transient, match="Vast said 502: Bad gateway"):
        client().account()
    assert len(vast.calls) == 3


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(404, BAD_KEY, BadKey), (400, {"success": False, "error": "invalid_args"}, Refused)],
)
def test_what_waiting_cannot_mend_is_not_repeated(
    vast: responses.RequestsMock, status: int, body: object, kind: type[VastError]
) -> None:
    vast.get(USER, status=status, json=body)
    with pytest.raises(kind):
        client().account()
    assert len(vast.calls) == 1


def test_stopping_ends_the_repeating_before_another_call(vast: responses.RequestsMock) -> None:
    vast.delete(BOX, status=500)

    def stop(_: float) -> None:
        raise Stopping

    pacer = Pacer({}, backoff=10, cap=60, clock=Time().clock, nap=stop)
    asking = HttpVast(Access(url=URL, api_key=SecretStr(KEY)), pacer, nap=stop)
    with pytest.raises(Stopping):
        asking.destroy(7)
    assert len(vast.calls) == 1


# Destroying and showing


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"success": True}),
        (200, {"success": True, "msg": "Instance destroyed successfully"}),
        (404, NOT_THERE),
        (200, NOT_THERE),
    ],
)
def test_a_destroy_is_done_when_vast_says_so_or_knows_nothing(
    vast: responses.RequestsMock, status: int, body: object
) -> None:
    vast.delete(BOX, status=status, json=body)
    client().destroy(7)
    assert sent_body(vast) == {}
    assert sent(vast).url == BOX


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, BAD_KEY, BadKey),
        (404, {}, Transient),
        (200, {"success": False, "error": "nope"}, Refused),
        (500, NOT_THERE, Transient),
        (429, {"success": False, "error": "rate_limit_exceeded"}, RateLimited),
    ],
)
def test_a_destroy_is_not_done_when(
    vast: responses.RequestsMock, status: int, body: object, kind: type[VastError]
) -> None:
    vast.delete(BOX, status=status, json=body)
    with pytest.raises(kind):
        client().destroy(7)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, {"instances": None}, id="null"),
        pytest.param(200, {"instances": []}, id="an empty list"),
        pytest.param(404, NOT_THERE, id="no_such_instance as 404"),
        pytest.param(200, NOT_THERE, id="no_such_instance as 200"),
    ],
)
def test_only_these_answers_show_that_a_contract_is_gone(
    vast: responses.RequestsMock, status: int, body: object
) -> None:
    vast.get(BOX, status=status, json=body)
    assert client().show(7) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(404, None, Transient, id="a bare 404"),
        pytest.param(404, BAD_KEY, BadKey, id="a bad key"),
        pytest.param(404, {"success": False, "error": "not_found"}, Refused, id="another 404"),
        pytest.param(200, {}, Transient, id="no instances"),
        pytest.param(200, None, Transient, id="null alone"),
        pytest.param(200, [], Transient, id="a list alone"),
        pytest.param(200, {"instances": {}}, Transient, id="an empty object"),
        pytest.param(200, {"instances": "none"}, Transient, id="a word"),
        pytest.param(200, {"instances": {"id": 8}}, Transient, id="another contract"),
        pytest.param(200, {"instances": [{"id": 8}]}, Transient, id="a list of others"),
        pytest.param(200, {"instances": None, "success": False}, Refused, id="null in a failure"),
        pytest.param(200, {"instances": None, "error": "busy"}, Refused, id="null beside an error"),
    ],
)
def test_no_other_answer_shows_that_a_contract_is_gone(
    vast: responses.RequestsMock, status: int, body: object, kind: type[VastError]
) -> None:
    vast.get(BOX, status=status, json=body)
    with pytest.raises(kind):
        client().show(7)


@pytest.mark.parametrize(
    "found",
    [{"id": 7, "label": "a"}, [{"id": 8}, {"id": "7", "label": "a"}], [None, {"id": 7, "label": "a"}]],
)
def test_a_contract_is_shown_as_an_object_or_out_of_a_list(
    vast: responses.RequestsMock, found: object
) -> None:
    vast.get(BOX, json={"instances": found})
    seen = client().show(7)
    assert seen is not None
    assert (seen.contract_id, seen.label) == (7, "a")


def test_an_odd_field_of_a_shown_contract_is_unknown(
    vast: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    vast.get(BOX, json={"instances": {"id": 7, "label": 5}})
    with caplog.at_level(logging.DEBUG, "magister.vast"):
        seen = client().show(7)
    assert seen is not None
    assert seen.label is None
    assert "unusable values of 7, taken as unknown: label" in caplog.messages


# Listing


def test_a_listing_asks_for_full_pages_in_the_order_of_ids(vast: responses.RequestsMock) -> None:
    vast.get(LIST, json={"success": True, "instances": [{"id": 1}], "total_instances": 2, "next_token": "t="})
    vast.get(LIST, json={"success": True, "instances": [{"id": 2}], "total_instances": 2, "next_token": None})
    listing = client().listing(NOW)
    assert listing.begun_at == NOW
    assert [seen.contract_id for seen in listing.sightings] == [1, 2]
    asked = [parse_qs(urlsplit(str(call.request.url)).query) for call in vast.calls]
    order = ['[{"col": "id", "dir": "asc"}]']
    assert asked == [
        {"limit": ["25"], "order_by": order},
        {"limit": ["25"], "order_by": order, "after_token": ["t="]},
    ]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(
            200,
            {"success": False, "error": "deprecated_endpoint", "msg": "Use /api/v1/instances/ instead."},
            id="a retired route as 200",
        ),
        pytest.param(410, {"success": False, "error": "deprecated_endpoint"}, id="a retired route"),
        pytest.param(200, {"success": False, "instances": [], "total_instances": 0}, id="a failure"),
        pytest.param(400, {"error": "invalid_token", "msg": "bad token"}, id="a refused token"),
        pytest.param(200, {"instances": [], "total_instances": 3}, id="fewer than counted"),
    ],
)
def test_a_listing_that_vast_refuses_or_cuts_short_is_read_three_times(
    vast: responses.RequestsMock, status: int, body: object
) -> None:
    vast.get(LIST, status=status, json=body)
    with pytest.raises(IncompleteListing):
        client().listing(NOW)
    assert len(vast.calls) == 3


def test_a_bad_key_is_no_empty_listing(vast: responses.RequestsMock) -> None:
    vast.get(LIST, status=404, json=BAD_KEY)
    with pytest.raises(BadKey):
        client().listing(NOW)
    assert len(vast.calls) == 1


def test_a_client_that_was_closed_opens_new_connections(vast: responses.RequestsMock) -> None:
    vast.get(USER, json={"credit": 1})
    asking = client()
    asking.close()
    assert asking.account() == Account(1_000_000)


def test_a_429_between_two_pages_ends_the_listing(vast: responses.RequestsMock) -> None:
    vast.get(LIST, json={"instances": [{"id": 1}], "total_instances": 2, "next_token": "a"})
    vast.get(LIST, status=429)
    with pytest.raises(RateLimited):
        client().listing(NOW)
    assert len(vast.calls) == 2


# Searching, the account and templates


def test_a_search_posts_the_query_and_returns_offers(vast: responses.RequestsMock) -> None:
    offer = {"id": 5, "machine_id": 1, "host_id": 1, "dph_total": 0.3, "gpu_name": "RTX 4090", "num_gpus": 1}
    vast.post(BUNDLES, body=json.dumps({"offers": [{**offer, "score": float("nan")}]}))
    found = client(filters={"num_gpus": {"eq": 1}}, allocated_storage=32.0, limit=20).search(
        3, lambda _: True
    )
    assert [offer.price for offer in found] == [300_000]
    body = sent_body(vast)
    assert isinstance(body, dict)
    assert (body["num_gpus"], body["allocated_storage"], body["limit"]) == ({"eq": 1}, 32.0, 20)
    assert len(vast.calls) == 1


@pytest.mark.parametrize(
    ("body", "credit"),
    [
        ({"credit": 400.25, "balance": 0}, 400_250_000),
        ({"credit": "-1.5"}, -1_500_000),
        ({"credit": None}, None),
        ({"balance": 5}, None),
        ({"credit": float("nan")}, None),
    ],
)
def test_the_account_is_its_credit(vast: responses.RequestsMock, body: object, credit: int | None) -> None:
    vast.get(USER, body=json.dumps(body))
    assert client().account() == Account(credit)


@pytest.mark.parametrize(
    ("body", "known"),
    [
        pytest.param({"success": True, "templates": [{"hash_id": "4e17"}]}, True, id="found"),
        pytest.param({"success": False, "msg": "No templates found"}, False, id="none, as a failure"),
        pytest.param({"success": True, "templates_found": 0, "templates": []}, False, id="none"),
        pytest.param({"success": True, "templates": [{"hash_id": "x"}]}, None, id="others: not filtered"),
        pytest.param({"success": True, "templates": [None, {"hash_id": []}]}, None, id="odd rows"),
        pytest.param({"success": True, "templates": None}, None, id="null"),
        pytest.param({"success": True}, None, id="nothing said"),
    ],
)
def test_a_template_is_known_unknown_or_undecided(
    vast: responses.RequestsMock, body: object, known: bool | None
) -> None:
    vast.get(TEMPLATE, json=body)
    assert client().template_exists("4e17") is known
    asked = parse_qs(urlsplit(str(sent(vast).url)).query)
    assert asked == {"select_filters": ['{"hash_id": {"eq": "4e17"}}']}


def test_a_refused_search_for_templates_does_not_say_that_there_is_none(vast: responses.RequestsMock) -> None:
    vast.get(TEMPLATE, json={"success": False, "error": "forbidden"})
    with pytest.raises(Refused):
        client().template_exists("4e17")


# Whatever comes


NAMES = (
    *("success", "error", "msg", "instances", "total_instances", "next_token", "id", "label", "offers"),
    *("machine_id", "host_id", "dph_total", "gpu_name", "num_gpus", "new_contract", "credit", "templates"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 408, 409, 410, 425, 429, 500, 503])


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(status=STATUSES, body=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
def test_whatever_comes_a_call_returns_or_raises_an_error_of_vast(status: int, body: bytes) -> None:
    calls: list[tuple[str, str, Callable[[HttpVast], object]]] = [
        ("GET", LIST, lambda asking: asking.listing(NOW)),
        ("POST", BUNDLES, lambda asking: asking.search(2, lambda _: True)),
        ("PUT", ASK, lambda asking: asking.create(5, ORDER)),
        ("DELETE", BOX, lambda asking: asking.destroy(7)),
        ("GET", BOX, lambda asking: asking.show(7)),
        ("GET", USER, lambda asking: asking.account()),
        ("GET", TEMPLATE, lambda asking: asking.template_exists("4e17")),
    ]
    for method, url, call in calls:
        with responses.RequestsMock() as mock:
            mock.add(method=method, url=url, status=status, body=body)
            try:
                call(client(attempts=2))
            except VastError as error:
                assert "\n" not in str(error)
                assert len(str(error)) < 400
            assert method != "PUT" or len(mock.calls) == 1


CHARGES = f"{URL}/api/v0/charges/"


def charged(contract: int, *, total: int, token: str | None) -> dict[str, object]:
    """Return a page with one row, as the documentation shows them."""
    items = [{"type": "gpu", "amount": 0.481}, {"type": "bwd", "amount": 0.002}]
    row = {"source": f"instance-{contract}", "metadata": {"label": "magister:ab"}, "items": items}
    return {"success": True, "count": 1, "total": total, "next_token": token, "results": [row]}


def test_the_charges_of_a_day_are_read_page_by_page(vast: responses.RequestsMock) -> None:
    vast.get(CHARGES, json=charged(7, total=2, token="more"))
    vast.get(CHARGES, json=charged(8, total=2, token=None))
    found = client().charges(date(2026, 11, 23))
    assert found[:2] == (Charge(7, "magister:ab", "gpu", 481_000), Charge(7, "magister:ab", "bwd", 2_000))
    assert [charge.contract_id for charge in found] == [7, 7, 8, 8]
    first, second = (parse_qs(urlsplit(str(sent(vast, n).url)).query) for n in (0, 1))
    assert json.loads(first["select_filters"][0])["day"] == {"gte": 1795392000, "lte": 1795478399}
    assert (first["limit"], first["format"], "after_token" in first) == (["500"], ["table"], False)
    assert second == first | {"after_token": ["more"]}


def test_an_account_that_hosts_machines_is_refused_its_charges(vast: responses.RequestsMock) -> None:
    vast.get(CHARGES, json={"success": False, "error": "not_allowed", "msg": "Hosts have no charges."})
    with pytest.raises(Refused, match="Hosts have no charges"):
        client().charges(date(2026, 11, 23))


def test_a_page_of_charges_that_fails_leaves_none(vast: responses.RequestsMock) -> None:
    vast.get(CHARGES, json=charged(7, total=2, token="more"))
    vast.get(CHARGES, status=502)
    with pytest.raises(Transient):
        client(attempts=1).charges(date(2026, 11, 23))
