"""The service dies at any moment of its work, and nothing is lost, doubled or forgotten."""

import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.laws import assert_nothing_is_lost, tallied
from tests.acceptance.records import an_empty_database
from tests.acceptance.world import World, a_world

pytestmark = pytest.mark.acceptance

SEED_VARIABLE = "MAGISTER_TEST_CRASH_SEED"
POOL = 8
LONGEST_JITTER = 0.15
MOST_CALLS = 8

ENDED = "SIGTERM"
KILLED = "SIGKILL of every process"
LOOP_KILLED = "SIGKILL of the loop alone"


@pytest.fixture
def chance() -> random.Random:
    """Give the source of chance; its seed is shown when the test fails."""
    given = os.environ.get(SEED_VARIABLE)
    seed = secrets.randbits(32) if given is None else int(given)
    sys.stdout.write(f"to die at the same moments again: {SEED_VARIABLE}={seed}\n")
    return random.Random(seed)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Give a world whose service has not been started, on either engine."""
    with (
        an_empty_database(request.param, request, tmp_path) as url,
        a_world(tmp_path, POOL, DATABASE_URL=url) as world,
    ):
        yield world


def deaths(chance: random.Random) -> list[str]:
    """Return six ways to die, half of them of the loop alone.

    A loop dies once in the life of its supervisor, which would wait longer for the next one.
    """
    whole = [ENDED, KILLED, chance.choice([ENDED, KILLED])]
    chance.shuffle(whole)
    return [how for end in whole for how in (LOOP_KILLED, end)]


def die(world: World, how: str, chance: random.Random) -> None:
    """Let the service die at a random moment of its work, and start it again."""
    before, calls = world.asked(), chance.randrange(MOST_CALLS)
    world.until(lambda: world.asked() >= before + calls, f"{calls} calls at the market")
    threading.Event().wait(chance.uniform(0, LONGEST_JITTER))
    match how:
        case "SIGTERM":
            # no program hears a signal while its interpreter is still starting
            assert world.terminate() in {0, -signal.SIGTERM}
            world.start()
        case "SIGKILL of every process":
            world.kill()
            world.start()
        case _:
            world.kill_loop()


def test_a_fill_comes_to_its_end_through_six_deaths(world: World, chance: random.Random) -> None:
    with tallied("any moment of a fill", "six deaths", world.engine):
        world.start()
        for how in deaths(chance):
            die(world, how, chance)
        world.until(world.settled, "a full pool")
        assert_nothing_is_lost(world)


def test_drops_are_carried_out_through_six_deaths(world: World, chance: random.Random) -> None:
    with tallied("any moment of drops", "six deaths", world.engine):
        world.start()
        world.until(world.settled, "a full pool")
        for how in deaths(chance):
            world.until(world.answers, "an answer of the web side")
            for _ in range(2):
                world.until(world.verified, "a worker that the coordinator can give up on")
                world.happen("coordinator_drop")
            die(world, how, chance)
        world.until(world.settled, "a full pool")
        assert_nothing_is_lost(world)
        assert world.dropped()
