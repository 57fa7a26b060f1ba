"""Vast's own command line, as it is published, takes the simulator for Vast."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from tests.waiting import PATIENCE

PROGRAM = shutil.which("vastai", path=str(Path(sys.executable).parent)) or shutil.which("vastai")
PLAN = MarketPlan(machines=20, gpu_counts=(1, 2), dud_share=0.0)

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="the vastai command is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    options = SimulatorOptions(port=0, hierophant_port=0, speed=600.0, rate_scale=0.0, plan=PLAN)
    with SimulatorServer(options) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def vastai(server: SimulatorServer, home: Path, *words: str, key: str = "simulated-key") -> tuple[str, str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "TMPDIR": str(home),
        "VAST_URL": server.url,
        "VASTAI_NO_UPDATE_CHECK": "1",
        "NO_PROXY": "*",
    }
    command = [str(PROGRAM), *words, "--url", server.url, "--api-key", key, "--raw", "--retry", "1"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return done.stdout, done.stderr


def test_a_box_is_found_rented_shown_labelled_read_and_destroyed(server: SimulatorServer, home: Path) -> None:
    query = "num_gpus=1 dph_total<5 duration>3 gpu_ram>=20 resource_type=gpu"
    offers = json.loads(vastai(server, home, "search", "offers", query, "--order", "dph_total")[0])
    assert offers
    assert offers == sorted(offers, key=lambda offer: offer["dph_total"])

    order = ["--template_hash", KNOWN_TEMPLATE, "--disk", "16", "--label", "mine", "--onstart-cmd", "true"]
    made = json.loads(vastai(server, home, "create", "instance", str(offers[0]["id"]), *order)[0])
    contract = made["new_contract"]
    assert made["success"] is True

    (row,) = json.loads(vastai(server, home, "show", "instances")[0])
    assert (row["id"], row["label"], row["disk_space"]) == (contract, "mine", 16)
    assert abs(row["duration"]) < 60

    vastai(server, home, "label", "instance", str(contract), "yours")
    shown = json.loads(vastai(server, home, "show", "instance", str(contract))[0])
    assert (shown["label"], shown["template_hash_id"]) == ("yours", KNOWN_TEMPLATE)

    assert "success, running" in vastai(server, home, "logs", str(contract))[0]

    vastai(server, home, "destroy", "instance", str(contract), "-y")
    assert server.simulation.market.contracts[contract].ended_by == "client"

    charges = json.loads(vastai(server, home, "show", "invoices-v1", "--charges")[0])
    (charge,) = charges["results"]
    assert charge["source"] == f"instance-{contract}"
    assert [item["type"] for item in charge["items"]] == ["gpu", "disk", "bwd", "bwu"]


def test_the_account_is_shown(server: SimulatorServer, home: Path) -> None:
    user = json.loads(vastai(server, home, "show", "user")[0])
    assert 0 < user["credit"] <= PLAN.credit


def test_the_template_is_found(server: SimulatorServer, home: Path) -> None:
    found = json.loads(vastai(server, home, "search", "templates", f"hash_id=={KNOWN_TEMPLATE}")[0])
    assert [template["hash_id"] for template in found] == [KNOWN_TEMPLATE]


def test_a_bad_key_is_refused_as_vast_does(server: SimulatorServer, home: Path) -> None:
    told = json.loads(vastai(server, home, "show", "instances", key="wrong")[1].strip().splitlines()[-1])
    assert (told["status_code"], told["msg"]) == (404, "Invalid user key")
