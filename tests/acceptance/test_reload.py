"""SIGHUP to the service as real processes: good settings hold at once, and bad ones change nothing."""

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest

from magister.states import Reason
from tests.acceptance.records import drop_path
from tests.acceptance.world import World, a_steady_world
from tests.waiting import PATIENCE

pytestmark = pytest.mark.acceptance


def write(directory: Path, target: int, *, cap: str = "100", bind: str = "127.0.0.1") -> None:
    """Write the settings that are not in the environment of the service, which would win."""
    parts = (f"number_instances = {target}", f"[budget]\nusd_per_hour = {cap}", f'[web]\nbind = "{bind}"')
    (directory / "magister.toml").write_text("\n".join(parts))


@contextmanager
def a_pool(directory: Path, target: int) -> Iterator[World]:
    """Yield a full pool whose target stands in its magister.toml."""
    write(directory, target)
    settings = {"NUMBER_INSTANCES": "", "WEB_BIND": "", "MAGISTER_LOG": "debug"}
    with a_steady_world(directory, target, **settings) as world:
        world.start()
        world.until(lambda: world.settled() and world.listed(), "a full pool that was listed")
        yield world


def hang_up(world: World) -> None:
    """Ask the service to read its settings again, as `systemctl reload` does."""
    world.host.signal(signal.SIGHUP)


def prices(world: World) -> dict[int, float]:
    """Return what each box of ours costs, USD per hour, by its offer."""
    connection = HTTPConnection("127.0.0.1", world.host.port, timeout=PATIENCE)
    connection.request("GET", "/summary")
    said = json.loads(connection.getresponse().read())
    connection.close()
    return {box["offer_id"]: box["cost_per_hour"] for box in said["instance_overview"]}


def path_of(world: World, offer: int) -> str:
    """Return the path of the callback URL of the instance on an offer."""
    return drop_path(next(story.row for story in world.stories() if story.row.offer_id == offer))


@dataclass
class Caller:
    """Call again and again, each time anew, and keep the calls that were not answered with 200 in time."""

    world: World
    path: str
    calls: int = 0
    unanswered: list[str] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._enough.is_set():
            for path in ("/healthz", self.path.replace("drop", "verify")):
                self.calls += 1
                if not self.world.answers(path):
                    self.unanswered.append(path)

    @contextmanager
    def calling(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()


def test_a_lower_cap_shrinks_the_pool_at_once_and_no_call_is_lost(tmp_path: Path) -> None:
    with a_pool(tmp_path, 4) as world:
        cheapest, next_one, *_ = sorted(prices(world).items(), key=lambda box: box[1])
        cap = f"{cheapest[1] + next_one[1] + 0.0001:.4f}"
        caller, members = Caller(world, path_of(world, cheapest[0])), set(world.members())
        write(tmp_path, 4, cap=cap)
        with caller.calling():
            hang_up(world)
            world.until(lambda: world.host.lines(event="reload.done"), "the end of the reload")
            world.until(lambda: len(world.live()) == 2, "two boxes at Vast")
        assert prices(world).keys() == {cheapest[0], next_one[0]}
        assert caller.unanswered == []
        assert caller.calls > 20
        assert len(world.ours()) == 4  # none was rented
        for box in world.ours():
            assert box.live is not (Reason.BUDGET in world.reasons(box.id))
        assert len(members & set(world.members())) == 1  # the supervisor, who has the socket
        steps = [line["event"] for line in world.host.lines(logger="magister.serve", child="web")][-4:]
        assert steps == ["child.started", "child.at_work", "child.asked_to_end", "child.ended"]
        steps = [line["event"] for line in world.host.lines(logger="magister.serve", child="worker")][-3:]
        assert steps == ["child.asked_to_end", "child.ended", "child.started"]
        (accepted,) = world.host.lines(event="reload.accepted")
        assert accepted["changed"] == f"budget.usd_per_hour = {cap} instead of 100 (magister.toml)"


def test_bad_settings_change_nothing(tmp_path: Path) -> None:
    with a_pool(tmp_path, 2) as world:
        boxes, members = world.live(), set(world.members())
        write(tmp_path, 1, cap='"little"')
        hang_up(world)
        world.until(lambda: world.host.lines(level="error"), "a refusal")
        write(tmp_path, 1, bind="127.0.0.2")
        hang_up(world)
        world.until(lambda: len(world.host.lines(level="error")) == 2, "another one")
        assert [line["what"] for line in world.host.lines(event="reload.refused")] == [
            'budget.usd_per_hour = "little" from magister.toml: must be a number of USD, 0 or more',
            'web.bind = "127.0.0.2" from magister.toml: must stay "127.0.0.1" while the service runs; '
            "restart it to change that",
        ]
        assert set(world.members()) == members
        world.kill_loop()
        world.until(lambda: len(world.host.lines(event="loop.acting")) == 2, "another loop like the first")
        assert world.settled()
        assert world.live() == boxes
        assert len(world.host.lines(level="error")) == 2


def test_two_reloads_in_quick_succession_end_with_the_last_settings(tmp_path: Path) -> None:
    with a_pool(tmp_path, 2) as world:
        dropped = next(iter(prices(world)))
        write(tmp_path, 4)
        hang_up(world)
        world.until(lambda: world.host.lines(event="reload.accepted"), "the first settings")
        write(tmp_path, 3)
        hang_up(world)
        assert world.answers(path_of(world, dropped), method="DELETE")
        world.target = 3
        world.until(lambda: world.host.lines(event="reload.done"), "the end of the reload")
        world.until(world.settled, "a pool of three")
        assert [line["changed"] for line in world.host.lines(event="reload.accepted")] == [
            "number_instances = 4 instead of 2 (magister.toml)",
            "number_instances = 3 instead of 4 (magister.toml)",
        ]
        assert dropped not in prices(world)
        assert len(world.running("worker")) == 1
        assert len(world.ours()) <= 5  # four were wanted for a moment, and one took the place of the dropped
        write(tmp_path, 0)
        hang_up(world)
        world.until(lambda: len(world.host.lines(event="reload.accepted")) == 3, "the last settings")
        assert world.terminate() == 0  # in the midst of it
        assert len(world.live()) == 3


def test_a_drop_that_is_kept_in_memory_outlives_a_reload(tmp_path: Path) -> None:
    write(tmp_path, 2)
    settings = {"NUMBER_INSTANCES": "", "WEB_BIND": "", "WEB_BUSY_TIMEOUT_SECS": "1"}
    with a_steady_world(tmp_path, 2, MAGISTER_LOG="debug", **settings) as world:
        world.start()
        world.until(lambda: world.settled() and world.listed(), "a full pool that was listed")
        dropped, _ = prices(world)
        path = path_of(world, dropped)
        with closing(sqlite3.connect(tmp_path / "magister.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert not world.answers(path, method="DELETE")
            assert world.host.lines(event="drop.kept")
            write(tmp_path, 2, cap="99")
            hang_up(world)
            world.until(lambda: len(world.host.lines(event="child.started", child="web")) == 2, "another web")
            # by then it answers calls, and the old one would have gone
            world.until(lambda: len(world.host.lines(event="web.sign_left_out")) > 2, "tries of it to write")
            write(tmp_path, 2, cap="98")
            hang_up(world)
            world.until(lambda: len(world.host.lines(event="child.started", child="web")) == 3, "a third one")
            asked = [line for line in world.host.lines(event="child.asked_to_end") if line["child"] == "web"]
            assert asked == []
        world.until(lambda: world.host.lines(event="reload.done"), "the end of the reload")
        world.until(lambda: dropped not in prices(world), "the end of the dropped box")
        assert world.host.lines(event="drop.heard")
