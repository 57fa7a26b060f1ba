"""The service as real processes whose key is changed to that of another Vast account, and back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from magister.simulator.market.contracts import FIRST_ACCOUNT
from magister.simulator.runtime.simulation import DEFAULT_KEY, OTHER_KEY
from magister.states import Reason, State
from tests.acceptance.records import an_empty_database
from tests.acceptance.world import World, a_world

pytestmark = pytest.mark.acceptance

TARGET = 3
LISTINGS = 12
"""So many of them under the wrong key would have had the first box replaced, and the others after it."""

BOLD = {"CAUTION_CANARY_AFTER_SECS": "0.5", "VAST_API_CALL_BACKOFF_SECS": "0.02"}
"""The caution about many losses at once is to help as little as possible, and listings are to come soon."""


@pytest.fixture
def database(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database."""
    with an_empty_database(engine, request, tmp_path) as url:
        yield url


@contextmanager
def a_pool(directory: Path, database: str) -> Iterator[World]:
    """Yield a full pool whose key stands in its .env, which a reload reads again."""
    with_key(directory, DEFAULT_KEY)
    told = BOLD | {"VAST_API_KEY": "", "DATABASE_URL": database}
    with a_world(directory, TARGET, **told) as world:
        world.start()
        world.until(world.settled, "a full pool")
        yield world


def with_key(directory: Path, key: str) -> None:
    (directory / ".env").write_text(f"VAST_API_KEY={key}\n")


def change(world: World, key: str, how: str) -> None:
    """Give the service another key."""
    with_key(world.host.directory, key)
    if how == "reload":
        reloads = world.host.log.count("reload.done")
        world.host.signal(signal.SIGHUP)
        world.until(lambda: world.host.log.count("reload.done") > reloads, "the end of the reload")
        return
    assert world.terminate() == 0
    world.start()
    world.until(world.host.ready, "a start")


def elsewhere(world: World) -> set[int]:
    """Return the contracts that exist on another account than the first."""
    return {box.id for box in world.boxes() if box.live and box.account != FIRST_ACCOUNT}


@pytest.mark.parametrize(("engine", "how"), [("sqlite", "reload"), ("postgresql", "restart")])
def test_the_key_of_another_account_ends_and_rents_nothing(tmp_path: Path, database: str, how: str) -> None:
    with a_pool(tmp_path, database) as world:
        boxes = world.live()
        change(world, OTHER_KEY, how)
        asked = world.asked("list")
        world.until(lambda: world.asked("list") >= asked + LISTINGS, "listings of the other account")
        assert world.host.conditions() == ["other_account"]
        assert world.live() == boxes
        assert {story.row.state for story in world.stories()} == {State.VERIFIED}
        change(world, DEFAULT_KEY, how)
        world.until(lambda: world.host.conditions() == [] and world.settled(), "the pool as it was")
        assert world.live() == boxes
        gone = world.happen("console_delete")
        world.until(lambda: world.settled() and gone not in world.live(), "another box in its place")


def test_an_account_that_is_accepted_gets_a_pool_of_its_own(tmp_path: Path) -> None:
    with a_pool(tmp_path, f"sqlite:///{tmp_path}/magister.db") as world:
        former = world.live()
        refused = world.host.run("accept-account", check=False)
        assert refused.returncode == 2
        assert "which the boxes are on: there is none to accept" in refused.stderr
        change(world, OTHER_KEY, "reload")
        world.until(lambda: world.host.conditions() == ["other_account"], "the condition")
        said = world.host.run("accept-account").stdout
        assert all(str(contract) in said for contract in former)
        world.until(
            lambda: len(elsewhere(world)) == TARGET and world.host.conditions() == [],
            "a pool on the other account",
        )
        assert world.live() == former | elsewhere(world)
        assert {contract: world.reasons(contract)[-1] for contract in former} == dict.fromkeys(
            former, Reason.LEFT_BEHIND
        )
