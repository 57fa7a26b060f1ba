"""Boxes of the simulator that live: the onstart Magister writes, run until the box or its worker ends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from magister.onstart import script
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.simulator.runtime.incidents import befall
from tests.box import Listener
from tests.builders import some_settings
from tests.waiting import PATIENCE, until

KEY = {"Authorization": "Bearer simulated-key"}
PLAN = MarketPlan(machines=20, gpu_counts=(1,), dud_share=0.0, storage_only=0)
LIVING = SimulatorOptions(port=0, hierophant_port=0, speed=600.0, rate_scale=0.0, plan=PLAN, beats=True)
"""Beats follow each other after a tenth of a second."""

BEAT = "?beat=60"


@pytest.fixture
def magister() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(LIVING) as running:
        yield running


def rent(url: str, magister: Listener) -> int:
    """Rent the cheapest offer with the onstart that Magister gives its box, and return the contract's id."""
    search = requests.post(f"{url}/api/v0/bundles/", json={"limit": 1}, timeout=PATIENCE)
    offer = search.json()["offers"][0]["id"]
    settings = some_settings(
        this_magister_addr=magister.address,
    )
    body = {
        "template_hash_id": KNOWN_TEMPLATE,
        "label": "mine",
        "disk": 16,
        "onstart": script.render(settings, script.drop_url(settings, offer, None)),
    }
    rented = requests.put(f"{url}/api/v0/asks/{offer}/", json=body, headers=KEY, timeout=PATIENCE)
    return int(rented.json()["new_contract"])


def contract(server: SimulatorServer, ident: int) -> Contract:
    return server.simulation.market.contracts[ident]


def beats(magister: Listener, offer: int) -> int:
    return magister.calls.count(f"/verify/{offer}{BEAT}")


def beating(server: SimulatorServer, magister: Listener) -> Contract:
    """Rent a box and wait until it has beaten twice more."""
    box = contract(server, rent(server.url, magister))
    heard_again(magister, box)
    return box


def heard_again(magister: Listener, box: Contract) -> None:
    before = beats(magister, box.offer_id)
    until(lambda: beats(magister, box.offer_id) >= before + 2, "two more beats")


def sessions_of(magister: Listener) -> set[str]:
    """Return the sessions of the processes that know the address of `magister`, the boxes' first ones."""
    mark = f"{magister.address}/drop/".encode()
    return {stat[3] for pid, stat in stats() if mark in read(f"/proc/{pid}/cmdline")}


def stats() -> list[tuple[str, list[str]]]:
    """Return the pid of each process that lives, with its state, parent, group and session."""
    told = ((path.name, read(f"{path}/stat").decode()) for path in Path("/proc").glob("[0-9]*"))
    found = [(pid, text.rpartition(") ")[2].split()[:4]) for pid, text in told if text]
    return [(pid, stat) for pid, stat in found if stat[0] not in "XZ"]


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def living(sessions: set[str]) -> list[str]:
    return [pid for pid, stat in stats() if stat[3] in sessions]


def silent(magister: Listener, box: Contract, other: Contract) -> None:
    """Require that a box is silent while another beats six times more; a beat under way may yet come."""

    def falls_silent() -> bool:
        before = beats(magister, box.offer_id)
        for _ in range(3):
            heard_again(magister, other)
        return beats(magister, box.offer_id) == before

    until(falls_silent, "the box is silent")


@pytest.mark.parametrize("kind", ["worker_exits", "worker_dies", "coordinator_drop"])
def test_a_box_beats_until_its_worker_ends_and_others_go_on(
    server: SimulatorServer, magister: Listener, kind: str
) -> None:
    box, other = beating(server, magister), beating(server, magister)
    befall(server.simulation, kind, {"instance": box.id})
    silent(magister, box, other)
    assert server.simulation.market.actual_status(box) == "running"


def test_a_worker_that_exits_is_forgotten_without_a_delete(
    server: SimulatorServer, magister: Listener
) -> None:
    box = beating(server, magister)
    befall(server.simulation, "worker_exits", {"instance": box.id})
    assert box.worker is Worker.DEAD
    assert server.simulation.hierophant.lists(0.0) == ([], [])
    assert server.simulation.drops == []


def test_a_coordinator_that_restarts_silences_all(server: SimulatorServer, magister: Listener) -> None:
    box, other = beating(server, magister), beating(server, magister)
    sessions = sessions_of(magister)
    befall(server.simulation, "coordinator_restart", {})
    until(lambda: not workers(sessions), "no worker lives")
    new = beating(server, magister)
    silent(magister, box, new)
    silent(magister, other, new)


def workers(sessions: set[str]) -> list[str]:
    return [pid for pid in living(sessions) if read(f"/proc/{pid}/comm") == b"contemplant\n"]


def test_a_host_that_is_away_is_not_heard_until_it_is_back(
    server: SimulatorServer, magister: Listener
) -> None:
    box, other = beating(server, magister), beating(server, magister)
    befall(server.simulation, "offline", {"instance": box.id})
    until(lambda: server.simulation.market.actual_status(box) == "offline", "the host is away")
    silent(magister, box, other)
    befall(server.simulation, "back", {"instance": box.id})
    heard_again(magister, box)


@pytest.mark.parametrize("kind", ["exit", "stop", "console_delete"])
def test_all_processes_end_with_their_box(server: SimulatorServer, magister: Listener, kind: str) -> None:
    box = beating(server, magister)
    sessions = sessions_of(magister)
    assert len(workers(sessions)) == 1
    befall(server.simulation, kind, {"instance": box.id})
    until(lambda: not living(sessions), "no process of the box lives")


def test_all_processes_end_when_the_simulator_stops(magister: Listener) -> None:
    with SimulatorServer(LIVING) as server:
        beating(server, magister)
        sessions = sessions_of(magister)
        assert living(sessions)
    until(lambda: not living(sessions), "no process of the box lives")


def test_all_processes_end_and_nothing_is_left_when_the_simulator_is_killed(
    magister: Listener, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "magister", "simulate", "--port", "0", "--hierophant-port", "0"]
    command += ["--speed", "600", "--rate-scale", "0", "--dud-share", "0"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as it:
        assert it.stdout is not None
        url = it.stdout.readline().decode().strip().partition("=")[2]
        rent(url, magister)
        until(lambda: any(call.endswith(BEAT) for call in magister.calls), "a beat")
        sessions = sessions_of(magister)
        it.kill()
    until(lambda: not living(sessions), "no process of the box lives")
    assert [path.name for path in tmp_path.glob("box-*")] == []


def test_a_simulator_started_again_has_its_boxes_beat_and_verifies_none_twice(
    magister: Listener, tmp_path: Path
) -> None:
    kept = replace(LIVING, state_file=tmp_path / "state.json")
    with SimulatorServer(kept) as server:
        box = beating(server, magister)
    assert json.loads((tmp_path / "state.json").read_text())["contracts"][0]["worker"] == "verified"
    with SimulatorServer(kept) as server:
        heard_again(magister, contract(server, box.id))
    assert magister.calls.count(f"/verify/{box.offer_id}") == 1


def test_without_beats_nothing_of_a_box_lives_on(magister: Listener) -> None:
    with SimulatorServer(replace(LIVING, beats=False)) as server:
        box = contract(server, rent(server.url, magister))
        until(lambda: box.worker is Worker.VERIFIED, "the worker verifies")
        assert sessions_of(magister) == set()
