"""The process dies at each boundary of one life of an instance: nothing is lost, nothing doubled."""

from collections.abc import Iterator

import pytest

from magister.simulator.runtime.incidents import befall
from magister.store.db.engine import Sessions
from tests.simulation.database import in_memory
from tests.simulation.death import kind
from tests.simulation.virtual import virtual
from tests.simulation.world import World
from tests.tally import tally

COMMITS = (
    "Executor._check_account",
    "Executor._claim_destroy",
    "Executor._destroy",
    "Executor._list",
    "Executor._look",
    "Executor._read_bill",
    "Executor.settle",
    "LeaseHolder._renewed",
    "LeaseHolder._taken",
    "Renter._claim",
    "Renter._write_rented",
    "Renter.intend",
    "Worker._beat",
    "Worker._begin_to_act",
    "Worker._excuse",
    "Worker._turn_back",
)
REQUESTS = ("account", "charges", "create", "destroy", "list", "search", "show")
BOUNDARIES = [
    *(f"{when} the commit of {who}" for who in COMMITS for when in ("before", "after")),
    *(f"{when} the {route}" for route in REQUESTS for when in ("before", "during", "after")),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(engine: str, request: pytest.FixtureRequest) -> Iterator[World]:
    found = in_memory() if engine == "sqlite" else request.getfixturevalue("postgres_sessions")
    assert isinstance(found, Sessions)
    with virtual(World(found, target=1, health={"create_grace_secs": 60}), seed=1) as stood_up:
        yield stood_up


def live_a_life(world: World) -> None:
    """Rent a box, let its worker verify, drop it, and see it destroyed and replaced."""
    world.run(60)
    boxes = world.laws.ours()
    if boxes:
        befall(world.sim, "coordinator_drop", {"instance": boxes[0].id})
    world.run(30)


def test_these_are_the_boundaries_of_a_life(world: World) -> None:
    live_a_life(world)
    assert set(world.death.passed) == set(BOUNDARIES)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_process_may_die(world: World, engine: str, boundary: str) -> None:
    world.death.named = (boundary, 1)
    live_a_life(world)
    assert world.deaths == [boundary]
    world.converge(stays=0)
    tally(kind(boundary), "nothing", engine)


def test_one_process_after_another_may_die_while_it_starts(world: World, engine: str) -> None:
    world.run(60)
    befall(world.sim, "coordinator_drop", {"instance": world.laws.ours()[0].id})
    world.service.kill()
    for passed in range(30):
        world.die_after((passed,))
        world.run(1)
        tally("while it starts", "nothing", engine)
    assert world.died > 20
    world.converge(stays=0)
