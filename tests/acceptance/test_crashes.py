"""The service dies at any moment of its work, and nothing is lost, doubled or forgotten."""

import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from magister.simulator.plan import MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.states import Reason, State, legal
from tests.acceptance.world import Story, World

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

SEED_VARIABLE = "MAGISTER_TEST_CRASH_SEED"
POOL = 8
SMALL_POOL = 3
LONGEST_JITTER = 0.15
MOST_CALLS = 8

PLAN = MarketPlan(
    machines=80,
    dud_share=0.0,
    unverified_share=0.0,
    odd_share=0.0,
    boot_secs=(2.0, 8.0),
    worker_secs=(0.5, 1.0),
)
HURRY = {
    "TASK_POLLING_INTERVAL_SECS": "0.5",
    "CONTEMPLANT_VERIFICATION_TIMEOUT_SECS": "2",
    "VAST_API_CALL_BACKOFF_SECS": "0.2",
    "PACE_CREATE_SECS": "0.15",
    "PACE_DESTROY_SECS": "0.1",
    "PACE_LIST_SECS": "0.02",
    "PACE_SHOW_SECS": "0.02",
    "PACE_SEARCH_SECS": "0.1",
    "PACE_SEARCH_CACHE_SECS": "2",
    "PACE_TICK_SECS": "0.05",
    "PACE_RECHECK_SECS": "0.2",
    "PACE_DESTROY_RETRY_SECS": "0.3, 0.6",
    "HEALTH_CREATE_GRACE_SECS": "1.5",
    "LEASE_LEASE_SECS": "2",
    "LEASE_RENEW_SECS": "0.5",
    # a worker that calls while the service is down exits for good, which looks like a bad machine
    "CAUTION_LAUNCH_BACKOFF_SECS": "0",
    "CAUTION_RECENT_SECS": "0",
    "CAUTION_TRIP": "64",
}

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


@contextmanager
def a_world(directory: Path, target: int, **more: str) -> Iterator[World]:
    options = SimulatorOptions(port=0, hierophant_port=0, speed=20.0, rate_scale=0.0, plan=PLAN)
    with SimulatorServer(options) as simulator, World(directory, simulator, target, HURRY | more) as world:
        yield world


@contextmanager
def an_own_database(server: str) -> Iterator[str]:
    """Make an empty database on a server, and take it away again."""
    name = f"crashes_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        engine.dispose()


def ten_deaths(chance: random.Random) -> list[str]:
    """Return ten ways to die, half of them of the loop alone.

    A loop dies once in the life of its supervisor, which would wait longer for the next one.
    """
    whole = [ENDED, KILLED, ENDED, KILLED, chance.choice([ENDED, KILLED])]
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


def kill_while_held(world: World, route: str, when: str, cause: Callable[[], object]) -> None:
    """Kill every process of the service while a call waits, before its effect or after it."""
    world.hold(route, when)
    cause()
    world.until(world.held, f"a {route} that is held {when} its effect")
    world.kill()


def assert_nothing_is_lost(world: World) -> None:
    """Compare all that the market ever made with all that the rows say of it."""
    boxes, stories = world.boxes(), world.stories()
    assert len([box for box in boxes if box.live]) == world.target
    assert world.most_live() <= world.target
    assert world.doubled_labels() == []
    fates = {
        (story.row.contract_id, f"magister:{story.row.key}"): story.row.state
        for story in stories
        if story.row.contract_id is not None
    }
    assert fates == {(box.id, box.label): State.VERIFIED if box.live else State.DESTROYED for box in boxes}
    assert not world.dropped() & world.live()
    for story in stories:
        assert_history_replays(story)


def assert_history_replays(story: Story) -> None:
    state, reason = None, None
    for step in story.steps:
        assert step.from_state == state
        assert legal(step.from_state, step.to_state)
        state, reason = step.to_state, step.reason
    assert (state, reason) == (story.row.state, story.row.reason)


def test_a_fill_comes_to_its_end_through_ten_deaths(tmp_path: Path, chance: random.Random) -> None:
    with a_world(tmp_path, POOL) as world:
        world.start()
        for how in ten_deaths(chance):
            die(world, how, chance)
        world.until(world.settled, "a full pool")
        assert_nothing_is_lost(world)


def test_drops_are_carried_out_through_ten_deaths(tmp_path: Path, chance: random.Random) -> None:
    with a_world(tmp_path, POOL) as world:
        world.start()
        world.until(world.settled, "a full pool")
        for how in ten_deaths(chance):
            world.until(world.answers, "an answer of the web side")
            for _ in range(2):
                world.until(world.verified, "a worker that the coordinator can give up on")
                world.happen("coordinator_drop")
            die(world, how, chance)
        world.until(world.settled, "a full pool")
        assert_nothing_is_lost(world)
        assert world.dropped()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("pool"), SMALL_POOL) as world:
        yield world


@pytest.fixture
def world(pool: World) -> World:
    """Give a small pool at rest, which the tests of one call share: each leaves it as it found it."""
    if not pool.settled():
        pool.release()
        pool.kill()
        pool.start()
        pool.until(pool.settled, "a full pool")
    return pool


def test_a_box_whose_create_was_not_answered_is_found_by_its_key(world: World) -> None:
    before, creates = world.live(), world.asked("create")
    kill_while_held(world, "create", "after", lambda: world.happen("coordinator_drop"))
    (made,) = world.live() - before
    world.release()
    world.start()
    world.until(lambda: len(world.reasons(made)) > 1, "a row that knows the box")
    assert world.asked("create") == creates + 1
    assert world.reasons(made)[1] in {Reason.FOUND, Reason.CALLED}
    world.until(world.settled, "a full pool")
    assert_nothing_is_lost(world)


def test_a_create_that_never_took_effect_is_judged_by_listings(world: World) -> None:
    kill_while_held(world, "create", "before", lambda: world.happen("coordinator_drop"))
    (open_one,) = [story.row for story in world.stories() if story.row.state is State.REQUESTED]
    world.release()
    world.start()
    world.until(world.settled, "a full pool")
    (ended,) = [story.row for story in world.stories() if story.row.id == open_one.id]
    assert (ended.state, ended.reason) == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
    assert ended.sends == 1
    assert_nothing_is_lost(world)


def test_a_create_that_takes_effect_after_the_restart_is_found_as_well(world: World) -> None:
    before, creates = world.live(), world.asked("create")
    kill_while_held(world, "create", "before", lambda: world.happen("coordinator_drop"))
    listings = world.asked("list")
    world.start()
    world.until(lambda: world.asked("list") > listings, "a listing after the restart")
    world.release(cut=False)
    (made,) = world.until(lambda: world.live() - before, "a box that was made late")
    world.until(lambda: len(world.reasons(made)) > 1, "a row that knows the box")
    assert world.asked("create") == creates + 1
    assert world.reasons(made)[1] in {Reason.FOUND, Reason.CALLED}
    world.until(world.settled, "a full pool")
    assert_nothing_is_lost(world)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_destroy_that_was_not_answered_is_repeated_or_proved(world: World, when: str) -> None:
    before, destroys = world.live(), world.asked("destroy")
    kill_while_held(world, "destroy", when, lambda: world.happen("coordinator_drop"))
    assert len(world.live()) == SMALL_POOL - (when == "after")
    world.release()
    world.start()
    world.until(world.settled, "a full pool")
    (ended,) = before - world.live()
    assert world.reasons(ended)[-2:] == [Reason.COORDINATOR, Reason.PROVED_GONE]
    assert world.asked("destroy") > destroys + (when == "before")
    assert_nothing_is_lost(world)


def test_a_listing_that_was_not_answered_says_nothing(world: World) -> None:
    before, creates = world.live(), world.asked("create")
    vanished: list[int] = []
    kill_while_held(world, "list", "after", lambda: vanished.append(world.happen("console_delete")))
    world.release()
    world.start()
    world.until(world.settled, "a full pool")
    assert before - world.live() == set(vanished)
    assert world.asked("create") == creates + 1
    assert world.reasons(*vanished)[-1] is Reason.VANISHED
    assert_nothing_is_lost(world)


def test_the_same_holds_on_postgresql(tmp_path: Path, postgres_url: str, chance: random.Random) -> None:
    with an_own_database(postgres_url) as url, a_world(tmp_path, SMALL_POOL, DATABASE_URL=url) as world:
        world.start()
        for how in (LOOP_KILLED, KILLED):
            die(world, how, chance)
        world.until(world.settled, "a full pool")
        before = world.live()
        kill_while_held(world, "create", "after", lambda: world.happen("coordinator_drop"))
        (made,) = world.live() - before
        world.release()
        world.start()
        world.until(world.settled, "a full pool")
        assert world.reasons(made)[1] in {Reason.FOUND, Reason.CALLED}
        assert_nothing_is_lost(world)
