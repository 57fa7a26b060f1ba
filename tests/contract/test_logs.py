"""The logs of a box, fetched by the real client: what Vast names as their place is trusted with nothing."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import requests
import responses
from flask import Flask
from pydantic import SecretStr

from magister.domain.observed import Order, Route
from magister.domain.risk.failure_logs import findings
from magister.errors import BadKey, RateLimited, Refused, Stopping, Transient
from magister.service.logging import masker
from magister.simulator.http.server import create_app
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.market import Market
from magister.simulator.runtime.faults import Fault
from magister.simulator.runtime.rate_limits import RatePlan, Rates
from magister.simulator.runtime.simulation import DEFAULT_KEY, Simulation
from magister.states import Failure
from magister.vast import Access, HttpVast, Pacer
from magister.vast.logs import KEPT

URL = "http://127.0.0.1:8556"
ASKED = f"{URL}/api/v0/instances/request_logs/7/"
S3 = "https://s3.amazonaws.com/vast.ai/instance_logs/abc.log"


class Time:
    """A clock that stands still but for naps."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        assert seconds > 0, "it must not spin"
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    """Answer at the edge of requests; a call that nothing was set up for fails."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def client(time: Time, nap: Callable[[float], None] | None = None) -> HttpVast:
    pacer = Pacer({Route.LOGS: 2.0}, backoff=10, cap=60, clock=time.clock, nap=time.nap)
    access = Access(url=URL, api_key=SecretStr(DEFAULT_KEY))
    return HttpVast(access, pacer, nap=nap or time.nap, clock=time.clock)


def told(wire: responses.RequestsMock, where: object = S3) -> None:
    wire.put(ASKED, json={"success": True, "result_url": where})


# What is asked, and of whom


def test_a_foreign_place_gets_no_key_and_no_redirect_is_followed(
    wire: responses.RequestsMock, time: Time
) -> None:
    told(wire)
    wire.get(S3, body="the end\n")
    assert client(time).logs(7, within=10) == "the end\n"
    asked, fetched = (call.request for call in wire.calls)
    assert asked.headers["Authorization"] == f"Bearer {DEFAULT_KEY}"
    assert DEFAULT_KEY not in str(fetched.headers) + str(fetched.url)
    assert "Authorization" not in fetched.headers


def test_a_netrc_file_gives_a_foreign_place_no_password(
    wire: responses.RequestsMock,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    told(wire)
    wire.get(S3, body="the end")
    client(time).logs(7, within=10)
    assert "Authorization" not in wire.calls[1].request.headers


@pytest.mark.parametrize(
    "where",
    [
        "http://s3.amazonaws.com/abc.log",
        "http://127.0.0.1:9/abc.log",
        "http://127.0.0.1/abc.log",
        "http://169.254.169.254/latest/meta-data",
        "https://somebody:else@s3.amazonaws.com/abc.log",
        "file:///etc/passwd",
        "ftp://s3.amazonaws.com/abc.log",
        "https:///abc.log",
        "http://[::1/abc.log",
        "",
    ],
)
def test_nothing_is_fetched_but_by_https_or_from_where_vast_is(
    wire: responses.RequestsMock, time: Time, where: str
) -> None:
    told(wire, where)
    with pytest.raises(Refused, match="not fetched from"):
        client(time).logs(7, within=10)
    assert len(wire.calls) == 1


def test_a_redirect_leads_nowhere(wire: responses.RequestsMock, time: Time) -> None:
    told(wire)
    wire.get(S3, status=302, headers={"Location": "http://169.254.169.254/"})
    with pytest.raises(Refused, match="302"):
        client(time).logs(7, within=10)
    assert len(wire.calls) == 2


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"success": True}, 200, Transient),
        ({"success": True, "result_url": 7}, 200, Transient),
        ({"success": False, "error": "invalid_id", "msg": "Invalid instance id."}, 404, Refused),
        ({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 404, BadKey),
        ({"detail": "API requests too frequent"}, 429, RateLimited),
        ({}, 503, Transient),
    ],
)
def test_a_request_that_fails_is_not_made_again(
    wire: responses.RequestsMock, time: Time, body: object, status: int, error: type[Exception]
) -> None:
    wire.put(ASKED, json=body, status=status)
    with pytest.raises(error):
        client(time).logs(7, within=10)
    assert len(wire.calls) == 1
    assert time.naps == []


# How long it is waited for


def test_logs_are_looked_for_until_they_are_there(wire: responses.RequestsMock, time: Time) -> None:
    told(wire)
    wire.get(S3, status=404)
    wire.get(S3, status=403)
    wire.get(S3, body=requests.ConnectionError("reset"))
    wire.get(S3, body="at last")
    assert client(time).logs(7, within=10) == "at last"
    assert time.naps == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("within", [10.0, 0.5, 3.3])
def test_logs_that_never_come_are_waited_for_no_longer_than_allowed(
    wire: responses.RequestsMock, time: Time, within: float
) -> None:
    told(wire)
    wire.get(S3, status=404)
    began = time.now
    with pytest.raises(Transient, match="did not come in time"):
        client(time).logs(7, within=within)
    assert time.now - began == pytest.approx(within)


def test_no_call_may_hang_longer_than_there_is_time(wire: responses.RequestsMock, time: Time) -> None:
    told(wire)
    wire.get(S3, body="the end")
    client(time).logs(7, within=3)
    asked, fetched = (call.request.req_kwargs["timeout"] for call in wire.calls)  # type: ignore[attr-defined] # responses adds it
    assert asked == (3, 3)
    assert fetched == 3


def test_the_service_can_stop_meanwhile(wire: responses.RequestsMock, time: Time) -> None:
    def stop(seconds: float) -> None:
        raise Stopping

    told(wire)
    wire.get(S3, status=404)
    with pytest.raises(Stopping):
        client(time, stop).logs(7, within=10)


def test_of_a_log_that_was_cut_no_line_is_kept_without_its_beginning(
    wire: responses.RequestsMock, time: Time
) -> None:
    told(wire)
    wire.get(S3, body=b"API_KEY=" + b"x" * KEPT + b"\nthe end")
    assert client(time).logs(7, within=10) == "the end"


# Against the simulated Vast


@pytest.fixture
def vast(wire: responses.RequestsMock, time: Time) -> Simulation:
    """Let a simulated Vast answer, at the moments of `time`."""
    plan = MarketPlan(dud_share=0.0, log_delay_secs=2.5)
    app: Flask = create_app(Market(plan, time.now), clock=time.clock, rates=Rates(RatePlan(scale=0.0)))

    def carried(request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        answer = app.test_client().open(
            request.path_url,
            method=request.method or "GET",
            base_url=URL,
            headers=list(request.headers.items()),
            data=request.body,
        )
        return answer.status_code, dict(answer.headers), answer.data

    for method in ("GET", "PUT", "POST"):
        wire.add_callback(method, re.compile(f"{re.escape(URL)}/.*"), callback=carried)
    simulation: Simulation = app.extensions["simulation"]
    return simulation


def rented(asking: HttpVast, time: Time) -> int:
    """Rent a box and let it come up."""
    offer = asking.search(1, lambda offer: True)[0]
    order = Order(template_hash=KNOWN_TEMPLATE, label="magister:ab12", disk=16.0, onstart="true")
    contract = asking.create(offer.id, order)
    time.now += 200
    return contract


def test_the_logs_of_a_simulated_box_come_a_little_later(vast: Simulation, time: Time) -> None:
    asking = client(time)
    contract, before = rented(asking, time), time.now
    found = asking.logs(contract, within=10)
    assert "success, running" in found
    assert 2.5 <= time.now - before < 5


@pytest.mark.parametrize(
    ("fault", "error"),
    [("logs_refused", Transient), ("logs_never", Transient), ("logs_elsewhere", Refused)],
)
def test_logs_that_a_simulated_vast_does_not_give_are_given_up_in_time(
    vast: Simulation, time: Time, fault: str, error: type[Exception]
) -> None:
    asking = client(time)
    contract, before = rented(asking, time), time.now
    vast.faults.set(Fault(name=fault))
    with pytest.raises(error):
        asking.logs(contract, within=10)
    assert time.now - before <= 10


def test_of_a_giant_log_little_is_read(vast: Simulation, time: Time) -> None:
    asking = client(time)
    contract = rented(asking, time)
    vast.faults.set(Fault(name="logs_giant"))
    found = asking.logs(contract, within=10)
    assert KEPT - 100 < len(found) <= KEPT
    assert found.startswith("line ")


def test_of_a_hostile_log_the_cause_is_kept_and_no_secret(vast: Simulation, time: Time) -> None:
    asking = client(time)
    contract = rented(asking, time)
    vast.faults.set(Fault(name="logs_hostile"))
    found = findings(asking.logs(contract, within=10), Failure.NEVER_VERIFIED, masker(()))
    assert found.failure is Failure.DRIVER_OCI
    assert "5ecre7" not in found.words
    assert "0123456789abcdef" not in found.words
    assert all(char.isprintable() or char == "\n" for char in found.words)
