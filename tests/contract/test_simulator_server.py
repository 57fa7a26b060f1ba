"""The simulator over real sockets, with workers that run their onstart and call back."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from flask import Flask, Response, request

from magister.simulator.http.listener import Listener
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.simulator.runtime.shell import run_onstart
from magister.simulator.runtime.workers import on_loopback
from tests.waiting import PATIENCE, until

KEY = {"Authorization": "Bearer simulated-key"}
PLAN = MarketPlan(machines=20, gpu_counts=(1,), dud_share=0.0, storage_only=0)
FAST = SimulatorOptions(port=0, hierophant_port=0, speed=600.0, rate_scale=0.0, plan=PLAN)


def options(**changes: object) -> SimulatorOptions:
    return replace(FAST, **changes)  # type: ignore[arg-type] # names and types are its fields'


class Magister:
    """Stand in for the caller's side: note what workers and the coordinator call, and answer as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.status = 200
        self._heard = threading.Condition()
        app = Flask("magister-stand-in")
        app.add_url_rule("/<path:path>", "any", self._any, methods=["GET", "DELETE"])
        self._listener = Listener(app, "127.0.0.1", 0)
        self._listener.start()
        self.url = self._listener.url

    def _any(self, path: str) -> Response:
        with self._heard:
            self.calls.append((request.method, f"/{path}", request.get_data(as_text=True)))
            self._heard.notify_all()
        return Response(status=self.status)

    def heard(self, count: int = 1) -> list[tuple[str, str, str]]:
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.calls) >= count, PATIENCE), self.calls
            return list(self.calls)

    def stop(self) -> None:
        self._listener.stop()


@pytest.fixture
def magister() -> Iterator[Magister]:
    stand_in = Magister()
    yield stand_in
    stand_in.stop()


def onstart(endpoint: str, name: str = "bob") -> str:
    return (
        f'su contemplant -c \'export HOME=/home/contemplant; export MAGISTER_DROP_ENDPOINT="{endpoint}"; '
        'export HIEROPHANT_WS_ADDRESS="ws://127.0.0.1:9010/ws"; '
        f'export CONTEMPLANT_NAME="{name}"; /usr/local/bin/contemplant-entrypoint.sh\''
    )


def rent(server: SimulatorServer, script: str = "", **more: object) -> requests.Response:
    search = requests.post(f"{server.url}/api/v0/bundles/", json={"limit": 1}, timeout=PATIENCE)
    offer = search.json()["offers"][0]["id"]
    body = {"template_hash_id": KNOWN_TEMPLATE, "label": "mine", "disk": 16, "onstart": script} | more
    return requests.put(f"{server.url}/api/v0/asks/{offer}/", json=body, headers=KEY, timeout=PATIENCE)


def control(server: SimulatorServer, path: str, **body: object) -> dict[str, object]:
    answer = requests.post(f"{server.url}/sim/{path}", json=body, timeout=PATIENCE).json()
    assert isinstance(answer, dict)
    return answer


def worker(server: SimulatorServer) -> str:
    state = requests.get(f"{server.url}/sim/state", timeout=PATIENCE).json()
    return str(state["contracts"][0]["worker"])


def become(server: SimulatorServer, state: str) -> None:
    """Wait until the worker of the first box is in a state."""
    until(lambda: worker(server) == state, f"a worker that is {state}")


def test_a_worker_calls_verify_once_and_is_listed_by_the_coordinator(magister: Magister) -> None:
    with SimulatorServer(FAST) as server:
        rent(server, onstart(f"{magister.url}/drop/12"))
        assert magister.heard() == [("GET", "/verify/12", "")]
        become(server, "verified")
        (pair,) = requests.get(f"{server.hierophant_url}/contemplants", timeout=PATIENCE).json()
        assert pair[1]["magister_drop_endpoint"] == f"{magister.url}/drop/12"
        assert pair[1]["name"] == "bob"
        assert requests.get(f"{server.hierophant_url}/dead-contemplants", timeout=PATIENCE).json() == []


def test_every_drop_in_the_url_becomes_a_verify(magister: Magister) -> None:
    with SimulatorServer(FAST) as server:
        rent(server, onstart(f"{magister.url}/drop/12?key=drop"))
        assert magister.heard()[0][:2] == ("GET", "/verify/12")


def test_a_worker_that_is_refused_exits_while_its_box_goes_on(magister: Magister) -> None:
    magister.status = 410
    with SimulatorServer(FAST) as server:
        rent(server, onstart(f"{magister.url}/drop/12"))
        become(server, "refused")
        box = requests.get(f"{server.url}/sim/state", timeout=PATIENCE).json()["contracts"][0]
        assert box["actual_status"] == "running"


def test_the_coordinator_drops_a_worker_once(magister: Magister) -> None:
    with SimulatorServer(FAST) as server:
        rent(server, onstart(f"{magister.url}/drop/12"))
        become(server, "verified")
        control(server, "incidents", kind="coordinator_drop", reason="too slow")
        assert magister.heard(2)[1:] == [("DELETE", "/drop/12", "too slow")]
        assert worker(server) == "dropped"
        (pair,) = requests.get(f"{server.hierophant_url}/dead-contemplants", timeout=PATIENCE).json()
        assert pair[1]["strikes"] == 3


def test_a_coordinator_that_restarts_forgets_its_workers_and_tells_nobody(magister: Magister) -> None:
    with SimulatorServer(FAST) as server:
        rent(server, onstart(f"{magister.url}/drop/12"))
        become(server, "verified")
        control(server, "incidents", kind="coordinator_restart")
        assert worker(server) == "forgotten"
        assert requests.get(f"{server.hierophant_url}/contemplants", timeout=PATIENCE).json() == []
        assert len(magister.calls) == 1


def test_an_endpoint_off_loopback_is_not_called_unless_mapped(magister: Magister) -> None:
    with SimulatorServer(FAST) as server:
        rent(server, onstart("http://192.0.2.77:8555/drop/12"))
        become(server, "refused")
    with SimulatorServer(options(worker_host_map=(("192.0.2.77:8555", magister.url),))) as server:
        rent(server, onstart("http://192.0.2.77:8555/drop/12"))
        assert magister.heard() == [("GET", "/verify/12", "")]


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("http://127.0.0.1:1/verify/2", "http://127.0.0.1:1/verify/2"),
        ("http://localhost:1/verify/2", "http://localhost:1/verify/2"),
        ("http://mapped/verify/2?key=3", "http://127.0.0.1:9/verify/2?key=3"),
        ("http://mapped:5/verify/2", "http://127.0.0.1:9/verify/2"),
        ("http://127.0.0.1.example.org/verify/2", None),
        ("http://127.0.0.1@192.0.2.1/verify/2", None),
        ("https://127.0.0.1/verify/2", None),
        ("file:///verify/2", None),
        ("rubbish", None),
    ],
)
def test_only_loopback_is_ever_called(url: str, called: str | None) -> None:
    assert on_loopback(url, {"mapped": "http://127.0.0.1:9"}) == called


def test_an_onstart_runs_with_nothing_but_what_a_box_has_and_a_proxy_to_nowhere() -> None:
    outcome = run_onstart("env | sed 's/=.*//' | sort | tr '\\n' ' '; ls -A | wc -l", 42)
    names, files = outcome.output.rstrip().rsplit(" ", 1)
    assert set(names.split()) - {"PWD", "SHLVL", "_"} == {
        "CONTAINER_ID",
        "HOME",
        "PATH",
        "VAST_CONTAINERLABEL",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
    assert files == "0"


def test_values_survive_the_two_shells_of_the_entrypoint_when_they_are_plain() -> None:
    outcome = run_onstart(onstart("http://127.0.0.1:1/drop/2?key=ab", name="a name of 3 words"), 1)
    assert outcome.environment is not None
    assert outcome.environment["CONTEMPLANT_NAME"] == "a name of 3 words"
    assert outcome.environment["MAGISTER_DROP_ENDPOINT"] == "http://127.0.0.1:1/drop/2?key=ab"
    assert outcome.environment["CONTAINER_ID"] == "1"


@pytest.mark.parametrize("name", ["it'\\''s", 'a\\"b', "\\$HOME", "\\`id\\`"])
def test_values_with_quotes_break_in_the_two_shells_of_the_entrypoint(name: str) -> None:
    outcome = run_onstart(onstart("http://127.0.0.1:1/drop/2", name=name), 1)
    meant = name.replace("\\", "").replace("'''", "'")
    assert (outcome.environment or {}).get("CONTEMPLANT_NAME") != meant


def test_a_call_is_held_before_its_effect_until_it_is_released(magister: Magister) -> None:
    with SimulatorServer(FAST) as server:
        control(server, "faults", set=[{"name": "hold", "route": "create", "count": 1}])
        made: list[int] = []
        caller = threading.Thread(target=lambda: made.append(rent(server).status_code))
        caller.start()
        held = requests.get(f"{server.url}/sim/held?wait={PATIENCE}", timeout=2 * PATIENCE).json()["held"]
        assert [(call["route"], call["when"]) for call in held] == [("create", "before")]
        assert server.simulation.market.contracts == {}
        assert control(server, "release", id=held[0]["id"]) == {"released": 1}
        caller.join(PATIENCE)
        assert made == [200]


def test_a_call_held_after_its_effect_may_be_cut() -> None:
    with SimulatorServer(FAST) as server:
        control(server, "faults", set=[{"name": "hold", "route": "create", "when": "after"}])
        failed: list[str] = []

        def call() -> None:
            try:
                rent(server)
            except requests.ConnectionError as error:
                failed.append(type(error).__name__)

        caller = threading.Thread(target=call)
        caller.start()
        requests.get(f"{server.url}/sim/held?wait={PATIENCE}", timeout=2 * PATIENCE)
        assert len(server.simulation.market.live()) == 1
        control(server, "release", cut=True)
        caller.join(PATIENCE)
        assert failed == ["ConnectionError"]


@pytest.mark.parametrize("name", ["hang", "hold", "slow"])
def test_the_simulator_stops_at_once_although_a_call_is_kept_waiting(name: str) -> None:
    server = SimulatorServer(FAST)
    server.start()
    control(server, "faults", set=[{"name": name, "secs": 3600}])
    with closing(socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))) as caller:
        caller.sendall(b"GET /api/v1/instances/ HTTP/1.1\r\nHost: x\r\n\r\n")
        stopping = threading.Thread(target=server.stop, daemon=True)
        stopping.start()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()


def test_a_connection_cut_on_purpose_gives_no_answer() -> None:
    with SimulatorServer(FAST) as server:
        control(server, "faults", set=[{"name": "reset", "count": 1}])
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url}/api/v1/instances/", headers=KEY, timeout=PATIENCE)
        assert requests.get(f"{server.url}/api/v1/instances/", headers=KEY, timeout=PATIENCE).ok


def test_the_simulator_is_stopped_by_a_request() -> None:
    with SimulatorServer(FAST) as server:
        assert control(server, "stop") == {"stopping": True}
        assert server.stopping.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program(number: signal.Signals, tmp_path: Path) -> None:
    program = (
        "import logging, pathlib, sys; from magister.simulator.run import *;"
        "logging.basicConfig(level='INFO');"
        "simulate(SimulatorOptions(port=0, hierophant_port=0, state_file=pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "simulating Vast at http://127.0.0.1:" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE) == 0
    assert (tmp_path / "state.json").exists()


def test_a_worker_nobody_told_where_to_call_never_calls() -> None:
    with SimulatorServer(FAST) as server:
        script = "su contemplant -c 'export HIEROPHANT_WS_ADDRESS=ws://127.0.0.1:1/ws; {}'"
        rent(server, script.format("/usr/local/bin/contemplant-entrypoint.sh"))
        become(server, "mute")


@pytest.mark.parametrize(
    "script", ["", "exit 3", "su contemplant -c '/usr/local/bin/contemplant-entrypoint.sh'"]
)
def test_an_onstart_that_does_not_reach_the_coordinator_fails(script: str) -> None:
    with SimulatorServer(FAST) as server:
        rent(server, script)
        become(server, "failed")


def test_a_port_in_use_is_told_by_its_number() -> None:
    with SimulatorServer(FAST) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
            SimulatorServer(options(port=port))


def test_no_address_but_loopback_is_listened_on() -> None:
    with pytest.raises(ValueError, match="loopback only"):
        SimulatorServer(options(host="0.0.0.0"))


def test_rate_limits_shrink_with_the_speed() -> None:
    with SimulatorServer(options(rate_scale=1000.0, speed=1.0)) as server:
        path = f"{server.url}/api/v0/instances/1/"
        codes = [requests.get(path, headers=KEY, timeout=PATIENCE).status_code for _ in range(2)]
        assert codes == [200, 429]
        state = requests.get(f"{server.url}/sim/state", timeout=PATIENCE).json()
        assert (state["throttled"], state["statuses"]["429"]) == (1, 1)
    with SimulatorServer(options(rate_scale=1000.0, speed=1e9)) as server:
        path = f"{server.url}/api/v0/instances/1/"
        assert [requests.get(path, headers=KEY, timeout=PATIENCE).status_code for _ in range(2)] == [200, 200]


def test_dates_are_those_of_the_caller_however_fast_time_passes() -> None:
    with SimulatorServer(options(speed=5000.0)) as server:
        began = time.time()
        contract = rent(server).json()["new_contract"]
        path = f"{server.url}/api/v0/instances/{contract}/"
        row = requests.get(path, headers=KEY, timeout=PATIENCE).json()["instances"]
        assert began - 1 <= row["start_date"] <= time.time() + 1


def test_a_restart_finds_the_same_boxes_and_nobody_verifies_twice(magister: Magister, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    kept = options(state_file=path)
    with SimulatorServer(kept) as server:
        contract = rent(server, onstart(f"{magister.url}/drop/12")).json()["new_contract"]
        become(server, "verified")
    assert json.loads(path.read_text())["version"] == 1
    with SimulatorServer(kept) as server:
        show = f"{server.url}/api/v0/instances/{contract}/"
        row = requests.get(show, headers=KEY, timeout=PATIENCE).json()["instances"]
        assert (row["actual_status"], worker(server)) == ("running", "verified")
        assert len(requests.get(f"{server.hierophant_url}/contemplants", timeout=PATIENCE).json()) == 1
        rent(server, onstart(f"{magister.url}/drop/13"))
        assert magister.heard(2)[1:] == [("GET", "/verify/13", "")]
