"""What is read out of Hierophant's lists, and that nothing else is ever taken for a list."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from magister import __version__
from magister.domain.observed import Roster
from magister.errors import Unreachable
from magister.hierophant import HttpHierophant, schemas
from tests.waiting import PATIENCE

URL = "http://hierophant.test:9010"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = "http://magister.example:8555/drop/"
WORKER = {
    "name": "paulos",
    "status": {"Busy": {"request_id": "ab", "proof": 3}},
    "supported_vms": ["sp1"],
    "groth16_enabled": False,
    "strikes": 0,
    "num_completed_span_proofs": 3,
    "average_span_proof_time": 40.5,
}


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def hierophant(**more: object) -> HttpHierophant:
    return HttpHierophant(URL, clock=lambda: NOW, **more)  # type: ignore[arg-type] # names and types are its arguments'


def worker(endpoint: object, **more: object) -> list[object]:
    return ["203.0.113.5:41234", {**WORKER, "magister_drop_endpoint": endpoint, **more}]


def answers(server: responses.RequestsMock, living: object = (), dead: object = ()) -> None:
    server.get(f"{URL}/dead-contemplants", json=dead)
    server.get(f"{URL}/contemplants", json=living)


def test_both_lists_are_read_the_dead_first(server: responses.RequestsMock) -> None:
    answers(server, [worker(f"{OURS}1"), worker(f"{OURS}2")], [worker(f"{OURS}3"), worker(f"{OURS}3")])
    roster = hierophant().roster()
    assert roster == Roster(NOW, frozenset({f"{OURS}1", f"{OURS}2"}), {f"{OURS}3": 2})
    assert [call.request.path_url for call in server.calls] == ["/dead-contemplants", "/contemplants"]


def test_the_moment_is_that_before_the_first_question(server: responses.RequestsMock) -> None:
    answers(server)
    asked_before = []

    def clock() -> datetime:
        asked_before.append(len(server.calls))
        return NOW

    assert HttpHierophant(URL, clock=clock).roster().begun_at == NOW
    assert asked_before == [0]


def test_empty_lists_are_lists(server: responses.RequestsMock) -> None:
    answers(server)
    assert hierophant().roster() == Roster(NOW, frozenset(), {})


def test_a_worker_without_an_endpoint_is_no_trouble(server: responses.RequestsMock) -> None:
    older = ["203.0.113.6:1", WORKER]
    answers(server, [worker(None), older, worker(f"{OURS}1")])
    assert hierophant().roster() == Roster(NOW, frozenset({f"{OURS}1"}), {})


def test_unknown_fields_are_ignored(server: responses.RequestsMock) -> None:
    answers(server, [[*worker(f"{OURS}1", mood="sombre", status="Levitating"), "more"]])
    assert hierophant().roster().living == {f"{OURS}1"}


@pytest.mark.parametrize(
    "odd", [7, None, {}, [], ["a:1"], ["a:1", 7], ["a:1", None], worker(7), worker([])], ids=repr
)
def test_an_entry_that_cannot_be_read_is_counted_and_skipped(
    server: responses.RequestsMock, odd: object
) -> None:
    answers(server, [odd, worker(f"{OURS}1")], [worker(f"{OURS}2"), odd])
    roster = hierophant().roster()
    assert roster == Roster(NOW, frozenset({f"{OURS}1"}), {f"{OURS}2": 1}, unread=2)


@pytest.mark.parametrize("path", ["/dead-contemplants", "/contemplants"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("", "not JSON, but nothing", id="nothing"),
        pytest.param("<html>Bad\ngateway</html>", "not JSON, but <html>Bad gateway</html>", id="HTML"),
        pytest.param("[[", "not JSON", id="cut short"),
        pytest.param("[" * 100_000, "not JSON", id="too deep"),
        pytest.param('{"error": "no"}', 'JSON of another kind: {"error": "no"}', id="an error object"),
        pytest.param("null", "JSON of another kind: null", id="null"),
        pytest.param('["error"]', "a list of something else", id="a list of something else"),
        pytest.param('{"a:1": {"magister_drop_endpoint": null}}', "JSON of another kind", id="a mapping"),
        pytest.param(b"\xff\xfe[", "not JSON", id="no text"),
    ],
)
def test_a_wrong_body_is_never_an_empty_list(
    server: responses.RequestsMock, path: str, body: str | bytes, words: str
) -> None:
    server.get(f"{URL}{path}", body=body)
    if path == "/contemplants":
        server.get(f"{URL}/dead-contemplants", json=[])
    with pytest.raises(Unreachable) as caught:
        hierophant().roster()
    assert str(caught.value).startswith(f"{URL}{path} gave no list of workers: {words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 401, 404, 429, 500, 502, 503])
def test_another_status_than_200_is_no_list(server: responses.RequestsMock, status: int) -> None:
    elsewhere = {"Location": "http://elsewhere.test/"}
    server.get(f"{URL}/dead-contemplants", json=[], status=status, headers=elsewhere)
    with pytest.raises(Unreachable, match=f"gave no list of workers: {status}"):
        hierophant().roster()


def test_a_body_beyond_the_limit_is_no_list(server: responses.RequestsMock) -> None:
    server.get(f"{URL}/dead-contemplants", json=[worker(f"{OURS}{number}") for number in range(1000)])
    with pytest.raises(Unreachable, match="more than 1000 bytes"):
        hierophant(body_limit=1000).roster()


def test_a_body_that_trickles_is_given_up(server: responses.RequestsMock) -> None:
    server.get(f"{URL}/dead-contemplants", json=[])
    ticks = iter(range(0, 10_000, 100))
    with pytest.raises(Unreachable, match="the body did not end within 30 s"):
        hierophant(monotonic=lambda: float(next(ticks))).roster()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (requests.ConnectionError(OSError(113, "No route to host")), "the network does not reach the host"),
        (requests.ReadTimeout("Read timed out."), "no answer came in time"),
    ],
    ids=["no route", "no answer"],
)
def test_a_call_without_an_answer_says_where_and_why(
    server: responses.RequestsMock, failure: Exception, words: str
) -> None:
    server.get(f"{URL}/dead-contemplants", body=failure)
    with pytest.raises(Unreachable) as caught:
        hierophant().roster()
    assert str(caught.value) == f"{URL}/dead-contemplants cannot be read: {words}"


def test_it_says_who_asks_and_signs_nothing(
    server: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine hierophant.test login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    answers(server)
    hierophant().roster()
    for call in server.calls:
        assert call.request.headers["User-Agent"] == f"magister/{__version__}"
        assert "Authorization" not in call.request.headers


def test_a_port_where_nobody_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(Unreachable, match=rf"{url}dead-contemplants cannot be read: .*refused"):
        HttpHierophant(url, clock=lambda: NOW).roster()


def test_a_body_cut_short_on_the_wire_is_no_list() -> None:
    body = json.dumps([worker(f"{OURS}1")]).encode()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"dead-contemplants cannot be read: "):
            HttpHierophant(url, clock=lambda: NOW).roster()
        thread.join(PATIENCE)


LISTED = (
    '[["a:1", {"magister_drop_endpoint": "http://ü/drop/1"}], 12 , ["b", {}], ["c", {"x": [1, {"y": 2}]}]]'
)


@given(st.lists(st.integers(0, len(LISTED.encode())), max_size=12))
def test_a_list_is_read_alike_wherever_its_chunks_end(cuts: list[int]) -> None:
    raw = LISTED.encode()
    bounds = [0, *sorted(cuts), len(raw)]
    chunks = [raw[begin:end] for begin, end in pairwise(bounds)]
    assert schemas.read(chunks) == schemas.Listed(("http://ü/drop/1",), 1)
