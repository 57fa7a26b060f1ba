"""A drop is asked for once, so it outlives the service: its end, a kill, and a database that is away."""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from magister.states import Reason, State
from tests.acceptance.records import an_own_database, drop_path
from tests.acceptance.relay import Relay
from tests.acceptance.world import World, a_world
from tests.waiting import PATIENCE

pytestmark = pytest.mark.acceptance

FOLDER = "magister.db-drops"


def kept(world: World, number: int = 1) -> list[dict[str, object]]:
    """Wait until so many drops are kept."""
    return world.until(
        lambda: found if len(found := world.host.lines(event="drop.kept")) >= number else [],
        "drops that are kept",
    )


@contextmanager
def a_pool(directory: Path, target: int = 2, **more: str) -> Iterator[World]:
    """Yield a full pool whose web side waits long for the database."""
    with a_world(directory, target, **({"WEB_BUSY_TIMEOUT_SECS": "300"} | more)) as world:
        world.start()
        world.until(world.settled, "a full pool")
        yield world


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Keep every writer out of the SQLite file."""
    with closing(sqlite3.connect(world.host.directory / "magister.db", isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 60000")
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def calling(world: World, method: str, path: str) -> Iterator[socket.socket]:
    """Make a call without waiting for its answer."""
    with closing(socket.create_connection(("127.0.0.1", world.host.port), PATIENCE)) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
        yield connection


def offers(world: World) -> list[int]:
    """Return the offers of those who are verified."""
    return [story.row.offer_id for story in world.stories() if story.row.state is State.VERIFIED]


def path_of(world: World, offer: int) -> str:
    """Return the path of the callback URL of the newest instance on an offer."""
    return drop_path(max((s.row for s in world.stories() if s.row.offer_id == offer), key=lambda row: row.id))


def assert_dropped(world: World, offer: int) -> None:
    """See the box go whose drop was asked for, and for that reason."""

    def heard() -> bool:
        rows = [story for story in world.stories() if story.row.offer_id == offer]
        return any(step.reason is Reason.COORDINATOR for story in rows for step in story.steps)

    world.until(heard, "a drop that is heard")
    gone = {story.row.contract_id for story in world.stories() if story.row.offer_id == offer}
    world.until(lambda: not gone & world.live(), "the end of the box")


def assert_nothing_is_kept(world: World) -> None:
    folder = world.host.directory / FOLDER
    world.until(lambda: not list(folder.iterdir()), "an empty folder")


def test_a_drop_that_waits_for_the_database_outlives_a_kill(tmp_path: Path) -> None:
    with a_pool(tmp_path) as world:
        dropped = offers(world)[0]
        path = path_of(world, dropped)
        with locked(world), calling(world, "DELETE", path):
            assert kept(world)[0]["where"] == str(tmp_path / FOLDER)
            world.kill()
        world.start()
        assert_dropped(world, dropped)
        assert_nothing_is_kept(world)


def test_a_drop_that_waits_for_the_database_outlives_the_end_of_the_service(tmp_path: Path) -> None:
    with a_pool(tmp_path) as world:
        dropped = offers(world)[0]
        path = path_of(world, dropped)
        with locked(world), calling(world, "DELETE", path):
            world.until(lambda: world.answers("/healthz"), "a web side that has the call")
            assert world.terminate() == 0
            assert world.host.lines(event="drops.left")
            assert not world.host.lines(event="drop.forgotten")
        world.start()
        assert_dropped(world, dropped)
        assert_nothing_is_kept(world)


def test_what_no_disk_takes_either_is_named_before_the_service_ends(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    with a_pool(tmp_path) as world:
        assert len(world.host.lines(event="drops.in_memory_only")) == 1
        dropped = offers(world)[0]
        path = path_of(world, dropped)
        with locked(world), calling(world, "DELETE", path):
            assert kept(world)[0]["where"] == "memory"
            assert world.terminate() == 0
        (forgotten,) = world.host.lines(event="drop.forgotten", level="error")
        assert forgotten["offer"] == dropped
        assert f"magister drop offer:{dropped}" in str(forgotten["cure"])


def test_every_web_process_tells_of_what_one_of_them_keeps(tmp_path: Path) -> None:
    with a_pool(tmp_path, WEB_WORKERS="3", WEB_BUSY_TIMEOUT_SECS="0.5") as world:
        dropped = offers(world)[0]
        path = path_of(world, dropped)
        with locked(world):
            assert not world.answers(path, method="DELETE")
            kept(world)
            for _ in range(30):
                assert "drops_unwritten" in world.host.conditions()
        assert_dropped(world, dropped)
        assert_nothing_is_kept(world)
        assert "drops_unwritten" not in world.host.conditions()


def test_workers_and_drops_that_wait_for_the_database_keep_no_drop_from_being_kept(tmp_path: Path) -> None:
    with a_pool(tmp_path, 12, WEB_THREADS="2") as world:
        first, *others = offers(world)
        paths = {offer: path_of(world, offer) for offer in (first, *others)}
        with locked(world), ExitStack() as waiting:
            for _ in range(20):
                waiting.enter_context(calling(world, "GET", paths[first].replace("drop", "verify")))
            for offer in others:
                waiting.enter_context(calling(world, "DELETE", paths[offer]))
            assert {line["offer"] for line in kept(world, len(others))} == set(others)
            world.kill()
        world.start()
        for offer in others:
            assert_dropped(world, offer)
        assert_nothing_is_kept(world)


def test_a_drop_outlives_a_kill_while_postgresql_is_away(tmp_path: Path, postgres_url: str) -> None:
    with an_own_database(postgres_url) as database:
        server = make_url(database)
        wire = Relay([(str(server.host), int(server.port or 5432))])
        url = server.set(host="127.0.0.1", port=wire.port).render_as_string(hide_password=False)
        try:
            with a_pool(tmp_path, DATABASE_URL=url) as world:
                dropped = offers(world)[0]
                path = path_of(world, dropped)
                wire.cut()
                with calling(world, "DELETE", path):
                    assert kept(world)[0]["where"] == str(tmp_path / f"{server.database}-drops")
                    world.kill()
                wire.mend()
                world.start()
                assert_dropped(world, dropped)
        finally:
            wire.close()
