"""The database of the running service is lost, set back or without room, and the pool finds itself."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from magister.states import Reason, State
from tests.acceptance.records import drop_path
from tests.acceptance.world import World, a_steady_world, a_world
from tests.waiting import PATIENCE

TARGET = 3

AGED = {"CONTEMPLANT_VERIFICATION_TIMEOUT_SECS": "0.5"}
"""With which a box that is found without a row has run for longer than a worker has to verify."""

pytestmark = pytest.mark.acceptance


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a small pool at rest, which does not wait long before it believes that boxes are gone."""
    with a_steady_world(tmp_path, TARGET, CAUTION_CANARY_AFTER_SECS="1") as world:
        world.start()
        world.until(lambda: world.settled() and world.listed(), "a full pool that was listed")
        yield world


def age(world: World) -> None:
    """Let every box have run longer than a worker has to verify, by whoever finds it without a row."""
    listings = world.asked("list")
    world.until(lambda: world.asked("list") > listings + 2, "some listings")
    world.host.settings = {**world.host.settings, **AGED}


def known_and_live(world: World) -> set[int | None]:
    live = world.live()
    rows = {story.row.contract_id for story in world.stories() if story.row.live}
    assert rows == live
    return rows


def beat(world: World, path: str) -> int:
    """Say as an instance does that its worker lives, by its callback path, and return the status."""
    connection = HTTPConnection("127.0.0.1", world.host.port, timeout=PATIENCE)
    try:
        connection.request("GET", f"{path.replace('drop', 'verify')}&beat=60")
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def the_web_side_alone(world: World) -> Iterator[None]:
    """Hear what is asked while nobody lists."""
    world.host.command = ("web",)
    world.start()
    world.until(world.answers, "the web side")
    yield
    assert world.terminate() == 0
    world.host.command = ("serve",)


@pytest.mark.parametrize("left", ["magister.db*", "magister.db"])
def test_a_database_removed_under_the_service_ends_it_and_costs_nothing(world: World, left: str) -> None:
    age(world)
    before, creates = world.live(), world.asked("create")
    for path in filter(Path.is_file, world.host.directory.glob(left)):
        path.unlink()
    assert world.host.ended() == 2
    (line,) = [line for line in world.host.log.splitlines() if line.startswith("magister: ")]
    assert line.startswith(
        f"magister: the database file {world.host.directory}/magister.db was removed or moved while in use"
    )
    assert "Traceback" not in world.host.log
    shown = world.host.run("adopt", "--dry-run", "--json", check=False)
    assert {box["instance_id"] for box in json.loads(shown.stdout)["adopt"]} == before
    assert not (world.host.directory / "magister.db").exists()
    world.start()
    world.until(world.settled, "a full pool")
    assert world.live() == before
    assert world.asked("create") == creates
    assert {reason for box in before for reason in world.reasons(box)} == {Reason.ADOPTED}


def test_a_pool_finds_itself_after_an_old_backup_was_restored(world: World) -> None:
    backup = world.host.run("backup", "backup.db", check=False)
    assert (backup.returncode, backup.stderr) == (0, "")
    first = world.live()
    given_up = world.happen("coordinator_drop")
    world.until(lambda: given_up not in world.live() and world.settled() and world.listed(), "a replacement")
    deleted = world.happen("console_delete")
    world.until(lambda: deleted not in world.live() and world.settled(), "another replacement")
    age(world)
    before, creates = world.live(), world.asked("create")
    paths = {story.row.contract_id: drop_path(story.row) for story in world.stories() if story.row.live}
    refused = world.host.run("restore", "backup.db", check=False)
    assert refused.returncode == 2
    assert "a service keeps the pool on" in refused.stderr
    assert world.terminate() == 0
    restored = world.host.run("restore", "backup.db", check=False)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert {story.row.contract_id for story in world.stories()} == first
    with the_web_side_alone(world):
        heard = {box: beat(world, paths[box]) for box in before}
    assert heard == {box: 200 if box in first else 503 for box in before}, (
        "a 404 would end the beats for good"
    )
    world.start()
    world.until(lambda: world.settled() and world.live() == known_and_live(world), "a full pool")
    assert {beat(world, path) for path in paths.values()} == {200}
    assert world.live() == before, "nothing was rented, nothing given up"
    assert world.asked("create") == creates
    assert world.doubled_labels() == []
    if deleted in first:
        assert world.reasons(deleted)[-1] is Reason.VANISHED
    assert world.reasons(given_up)[-1] is Reason.VANISHED
    assert all(world.reasons(box) == [Reason.ADOPTED] for box in before - first)


def test_the_service_says_that_another_uses_its_database(world: World) -> None:
    status, body = world.host.readiness()
    assert status == 200
    assert isinstance(body["acting"], dict)
    assert body["acting"]["pid"] in world.running("worker")
    assert f"process {body['acting']['pid']} on this machine" in world.host.run("status", check=False).stdout


@contextmanager
def a_small_disk(place: Path) -> Iterator[None]:
    """Mount a file system of two megabytes; skips where that is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(
            "only root can mount a small file system; tests/integration/test_full_disk.py always runs"
        )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def a_reader_that_stays(database: Path) -> Iterator[None]:
    """Read on and on, so that the log has to grow with each write and finds no room in what it has."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM instances").fetchone()
        yield


def fill(place: Path) -> Path:
    """Take what room there is."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_disk_that_is_full_loses_nothing_and_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    hurry = {"WEB_BUSY_TIMEOUT_SECS": "1", "WEB_HEARTBEAT_STALE_SECS": "3"}
    url = f"sqlite:///{disk}/magister.db"
    with a_small_disk(disk), a_world(tmp_path, TARGET, DATABASE_URL=url, **hurry) as world:
        world.start()
        world.until(world.settled, "a full pool")
        before, creates = world.live(), world.asked("create")
        with a_reader_that_stays(disk / "magister.db"):
            filler = fill(disk)
            lost = world.happen("console_delete")
            world.until(lambda: world.host.readiness()[0] == 503, "a service that says it is not ready")
            world.until(
                lambda: "its disk is full" in str(world.host.readiness()[1]["why"]), "the reason in /readyz"
            )
            world.until(lambda: '"what": "its disk is full"' in world.host.log, "the reason in the log")
            assert world.answers("/summary")
            assert "Traceback" not in world.host.log
            assert world.live() | {lost} == before
            assert world.asked("create") <= creates + 1
            told = world.host.run("status", check=False)
            assert told.returncode == 1
            assert "its disk is full" in told.stdout
        filler.unlink()
        world.until(world.settled, "a full pool")
        assert world.doubled_labels() == []
        assert world.most_live() <= TARGET
        assert known_and_live(world)
        assert {story.row.state for story in world.stories() if not story.row.live} == {State.DESTROYED}
        assert "Traceback" not in world.host.log


def test_a_service_that_is_started_on_a_full_disk_says_so_in_a_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with a_small_disk(disk), a_world(tmp_path, 0, DATABASE_URL=f"sqlite:///{disk}/magister.db") as world:
        fill(disk)
        done = world.host.run("serve", check=False)
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("magister: ")]
        assert "cannot be used: " in line
        assert "Traceback" not in done.stderr
        full = world.host.run("backup", "elsewhere.db", check=False)
        assert full.returncode == 2
        assert full.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "web", "worker"])
def test_a_database_that_is_none_ends_the_service_at_its_start(tmp_path: Path, command: str) -> None:
    with a_world(tmp_path, 0) as world:
        (tmp_path / "magister.db").write_text("this is no database " * 100)
        done = world.host.run(command, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("magister: ")]
    assert f"sqlite:///{tmp_path}/magister.db cannot be used: it is no SQLite database" in line
