"""The client of Hierophant and the simulator's stand-in for it, over real sockets."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from magister.errors import Unreachable
from magister.hierophant import HttpHierophant
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.market.contracts import Contract, Order, Worker
from magister.simulator.run import SimulatorOptions, SimulatorServer
from tests.waiting import PATIENCE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = MarketPlan(machines=8, gpu_counts=(1,), dud_share=0.0, storage_only=0)
ORDER = Order(
    label=None,
    image="",
    template=KNOWN_TEMPLATE,
    onstart=None,
    env=(),
    disk=16.0,
    runtype="ssh",
    args=(),
    bid=None,
    running=True,
    cancel_unavail=True,
)


class World:
    """Run the simulator and put verified workers into its boxes, without their shells."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server, self.sim = server, server.simulation
        self.client = HttpHierophant(server.hierophant_url, clock=lambda: NOW)

    def worker(self) -> Contract:
        with self.sim.lock:
            now = self.sim.advance()
            offer_id, _, _ = self.sim.market.estate.available()[0]
            box, _ = self.sim.market.rent(offer_id, ORDER)
            box.drop_endpoint = f"http://magister.test:8555/drop/{offer_id}"
            exported = {"MAGISTER_DROP_ENDPOINT": box.drop_endpoint}
            self.sim.hierophant.connect(box.id, f"192.0.2.1:{box.id % 1000}", exported, now)
            box.worker = Worker.VERIFIED
            return box

    def incident(self, kind: str, **details: object) -> dict[str, Any]:
        answer = requests.post(
            f"{self.server.url}/sim/incidents", json={"kind": kind, **details}, timeout=PATIENCE
        )
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@pytest.fixture
def world() -> Iterator[World]:
    options = SimulatorOptions(port=0, hierophant_port=0, rate_scale=0.0, plan=PLAN, workers=False)
    with SimulatorServer(options) as server:
        world = World(server)
        yield world
        world.client.close()


def test_living_workers_are_listed_by_their_endpoints(world: World) -> None:
    first, second = world.worker(), world.worker()
    roster = world.client.roster()
    assert roster.living == {first.drop_endpoint, second.drop_endpoint}
    assert (roster.dead, roster.unread) == ({}, 0)


def test_a_lost_delete_leaves_the_worker_among_the_dead_alone(world: World) -> None:
    lost, kept = world.worker(), world.worker()
    delivered: list[str] = []
    world.sim.deliver_drop = lambda contract_id, endpoint, words: delivered.append(endpoint)
    told = world.incident("coordinator_drop_lost", instance=lost.id)
    roster = world.client.roster()
    assert told["endpoint"] == lost.drop_endpoint
    assert roster.living == {kept.drop_endpoint}
    assert roster.dead == {lost.drop_endpoint: 1}
    assert (lost.worker, delivered) == (Worker.DROPPED, [])


def test_a_restarted_coordinator_lists_nobody(world: World) -> None:
    box = world.worker()
    world.incident("coordinator_drop_lost", instance=world.worker().id)
    world.incident("coordinator_restart")
    roster = world.client.roster()
    assert (roster.living, roster.dead) == (frozenset(), {})
    assert box.worker is Worker.FORGOTTEN


def test_without_proofs_a_dead_worker_stays_among_the_living(world: World) -> None:
    box = world.worker()
    world.incident("coordinator_idle")
    world.sim.hierophant.trim(set())
    assert world.client.roster().living == {box.drop_endpoint}
    world.incident("coordinator_back")
    world.sim.hierophant.trim(set())
    roster = world.client.roster()
    assert roster.living == frozenset()
    assert roster.dead == {box.drop_endpoint: 1}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "gave no list of workers: 503 SERVICE UNAVAILABLE"),
        (500, "gave no list of workers: 500"),
        (200, "gave no list of workers: not JSON, but <html>"),
        (0, "cannot be read: "),
    ],
)
def test_a_coordinator_that_is_away_says_nothing_about_anybody(
    world: World, code: int | None, words: str
) -> None:
    box = world.worker()
    world.incident("coordinator_away", **({} if code is None else {"code": code}))
    with pytest.raises(Unreachable, match=words):
        world.client.roster()
    world.incident("coordinator_back")
    assert world.client.roster().living == {box.drop_endpoint}


class Crowded(BaseHTTPRequestHandler):
    """List a hundred thousand dead workers, 40 MB of them, and one that lives."""

    def do_GET(self) -> None:
        dead = 100_000 if self.path == "/dead-contemplants" else 1
        facts = {"name": "worker", "padding": "x" * 300, "strikes": 3}
        entries = (
            json.dumps(
                [f"192.0.2.1:{n}", {**facts, "magister_drop_endpoint": f"http://m.test:8555/drop/{n}"}]
            )
            for n in range(dead)
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("[" + ",".join(entries) + "]").encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test quiet."""


def test_a_list_of_a_hundred_thousand_dead_is_read_wholly() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Crowded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        roster = HttpHierophant(url, clock=lambda: NOW, timeout=PATIENCE).roster()
        server.shutdown()
        thread.join(PATIENCE)
    assert len(roster.dead) == 100_000
    assert roster.living == {"http://m.test:8555/drop/0"}
    assert roster.unread == 0
