"""The parts of the benchmark: each lets the service work and gives the figures it measured."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from magister.simulator.market.config import MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.simulator.runtime.request_log import Entry
from tests.acceptance.world import World
from tests.bench import usage
from tests.bench.figures import Figure, below, spread

CREATE_SECS = 4.5
DESTROY_SECS = 3.0
FREE_AFTER = 1.5 * DESTROY_SECS
"""Seconds after a destroy from which the next one need not wait."""

STILL_SECS = 8.0
"""Seconds without any call but listings, after which the service is held to be idle."""

LONG = 180.0
PLAN = MarketPlan(dud_share=0.0, boot_secs=(2.0, 6.0), worker_secs=(0.5, 1.0))


@dataclass(frozen=True, slots=True)
class Size:
    """Say how much is measured."""

    instances: int
    starts: int
    drops: int
    deletions: int
    idle_secs: float


WHOLE = Size(instances=20, starts=5, drops=5, deletions=3, idle_secs=60.0)
QUICK = Size(instances=10, starts=2, drops=3, deletions=1, idle_secs=20.0)


@contextmanager
def a_world(directory: Path, target: int) -> Iterator[World]:
    """Stand up a market at Vast's documented pace and a service, not started, with its default settings."""
    directory.mkdir()
    options = SimulatorOptions(port=0, hierophant_port=0, speed=1.0, rate_scale=1.0, plan=PLAN)
    with SimulatorServer(options) as simulator, World(directory, simulator, target) as world:
        yield world


def starting(directory: Path, size: Size) -> list[Figure]:
    """Start and end a service that keeps no boxes."""
    answered: list[float] = []
    ended: list[float] = []
    with a_world(directory, 0) as world:
        for _ in range(size.starts):
            begun = time.monotonic()
            world.start()
            world.until(world.answers, "an answer of /healthz")
            answered.append(time.monotonic() - begun)
            begun = time.monotonic()
            code = world.terminate()
            assert code == 0, f"SIGTERM ended the service with {code}"
            ended.append(time.monotonic() - begun)
    return [
        Figure("start to the first answer, empty database", f"{answered[0]:.2f} s"),
        spread("start to the first answer, later", answered[1:], None),
        spread("SIGTERM to the end", ended, 10.0),
    ]


def filling(world: World, size: Size) -> list[Figure]:
    """Start the service and let it fill the pool."""
    last = size.instances - 1
    begun = _now(world)
    world.start()
    world.until(lambda: len(_rented(world)) > last, "the last create", patience=LONG + CREATE_SECS * last)
    moments = [entry.at for entry in _rented(world)]
    _full(world)
    full = _now(world)
    return [
        below(f"first to last of {size.instances} creates", moments[last] - moments[0],
              round(1.1 * last * CREATE_SECS, 2), "s"),
        Figure("start to the first create", f"{moments[0] - begun:.2f} s"),
        Figure(f"start to {size.instances} verified", f"{full - begun:.2f} s"),
        _throttled(world, "429s while filling"),
    ]  # fmt: skip


def dropping(world: World, size: Size) -> list[Figure]:
    """Send drops as the coordinator does, each when the route for destroys is free."""
    samples: list[float] = []
    for _ in range(size.drops):
        _still(world, FREE_AFTER, "destroy")
        box = next(box for box in world.boxes() if box.id in world.verified())
        assert box.drop_endpoint is not None
        begun = _now(world)
        _drop(box.drop_endpoint)
        samples.append(_awaited(world, "destroy", begun, f"/instances/{box.id}/").at - begun)
    _full(world)
    return [spread("drop sent to DELETE at Vast", samples, 1.0)]


def deleting(world: World, size: Size) -> list[Figure]:
    """Delete boxes behind the service's back, as somebody at the web console does."""
    proved: list[float] = []
    replaced: list[float] = []
    for _ in range(size.deletions):
        begun = _now(world)
        gone = world.happen("console_delete")
        look = _awaited(world, "show", begun, f"/instances/{gone}/")
        rented = _awaited(world, "create", look.at)
        suspected = next(
            entry for entry in world.entries("list") if entry.at >= begun and entry.status == 200
        )
        proved.append(look.at - suspected.at)
        replaced.append(rented.at - suspected.at)
        _full(world)
    return [
        spread("first listing without a box to the look by id", proved, None),
        spread("first listing without a box to the next create", replaced, 10.0),
    ]


def idling(world: World, size: Size) -> list[Figure]:
    """Let the service keep a full pool that needs nothing."""
    _full(world)
    _still(world, STILL_SECS, "create", "destroy", "show", "search")
    before, begun = usage.cpu_secs(world.members()), time.monotonic()
    asked = world.asked()
    threading.Event().wait(size.idle_secs)
    secs = time.monotonic() - begun
    share = 100 * (usage.cpu_secs(world.members()) - before) / secs
    members = world.members()
    pool = f"idle with {size.instances}"
    return [
        below(f"{pool}: processor, of one core", share, 3.0, "%"),
        below(
            f"{pool}: memory (PSS), {len(members)} processes", usage.memory_mb(members, "Pss"), 250.0, "MB", 0
        ),
        Figure(f"{pool}: memory (RSS), shared pages in full", f"{usage.memory_mb(members, 'Rss'):.0f} MB"),
        Figure(f"{pool}: calls to Vast", f"{60 * (world.asked() - asked) / secs:.1f} a minute"),
        _throttled(world, "429s in the whole run"),
    ]


PARTS: dict[str, Callable[[World, Size], list[Figure]]] = {
    "fill": filling,
    "drop": dropping,
    "delete": deleting,
    "idle": idling,
}
"""The parts that share one pool, in order; the first one fills it."""


def _now(world: World) -> float:
    """Return the market's time, which passes as fast as ours and dates the calls it hears."""
    return world.simulator.simulation.clock()


def _drop(endpoint: str) -> None:
    """Send the coordinator's DELETE, past any proxy of this machine."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.delete(endpoint, data=b"a drop of the benchmark", timeout=LONG)
    assert answer.status_code == 200, f"the drop was answered with {answer.status_code}"


def _rented(world: World) -> list[Entry]:
    return [entry for entry in world.entries("create") if entry.status == 200]


def _full(world: World) -> None:
    world.until(
        lambda: len(world.live()) == len(world.verified()) == world.target, "a full pool", patience=LONG
    )


def _still(world: World, secs: float, *routes: str) -> None:
    """Wait until none of the routes was called for some seconds."""

    def quiet() -> bool:
        last = max((entry.at for route in routes for entry in world.entries(route)), default=0.0)
        return _now(world) - last > secs

    world.until(quiet, f"{secs:g} s without {' or '.join(routes)}", patience=LONG)


def _awaited(world: World, route: str, since: float, path: str = "") -> Entry:
    """Wait for a call on a route whose path has `path` in it, and return the first since a moment."""

    def found() -> list[Entry]:
        return [entry for entry in world.entries(route) if entry.at >= since and path in entry.path]

    return world.until(found, f"a {route}", patience=LONG)[0]


def _throttled(world: World, what: str) -> Figure:
    times = world.simulator.simulation.rates.refused
    return Figure(what, str(times), "0", times == 0)
