"""The loop dies at every boundary between two effects, on either engine, and nothing is lost or doubled."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from magister.states import Reason, State
from tests.acceptance import gate
from tests.acceptance.host import Host
from tests.acceptance.hosts import Hosts
from tests.acceptance.laws import assert_no_row_was_sent_twice, assert_nothing_is_lost, tallied
from tests.acceptance.records import an_empty_database, no_writes
from tests.acceptance.world import STEADY, a_market

pytestmark = pytest.mark.acceptance

TARGET = 3
STRANGERS = 24
"""Boxes of others on the account: with ours they make a second page of the listing."""

NO_CACHE = {"PACE_SEARCH_CACHE_SECS": "0.3", "PACE_ACCOUNT_POLL_SECS": "0.5"}

GIVEN_UP = {"HEALTH_CREATE_GRACE_SECS": "1"}
"""With which a create that was sent by a loop before is soon held to have come to nothing."""

HEAR_SECS = 0.25
"""How long a service has to hear an answer before it dies: longer than that takes, as nothing tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Name a place between two effects, and how many creates a drop comes to if the service dies there.

    `when` is before Vast's effect, after it (the answer is lost), or when the answer has been heard but
    nothing can be written any more.
    """

    route: str
    when: str
    creates: int = 1
    page: int = 1

    def __str__(self) -> str:
        page = f", page {self.page}" if self.route == "list" else ""
        return f"{self.route}{page}: {self.when}"


BEFORE, AFTER, HEARD = "before its effect", "after its effect", "answered, not written"

BOUNDARIES = [
    Boundary(route="search", when=BEFORE),
    Boundary(route="search", when=AFTER),
    Boundary(route="search", when=HEARD),
    Boundary(route="create", when=BEFORE, creates=2),
    Boundary(route="create", when=AFTER),
    Boundary(route="create", when=HEARD),
    Boundary(route="destroy", when=BEFORE),
    Boundary(route="destroy", when=AFTER),
    Boundary(route="destroy", when=HEARD),
    Boundary(route="list", when=AFTER),
    Boundary(route="list", when=HEARD),
    Boundary(route="list", when=AFTER, page=2),
    Boundary(route="list", when=HEARD, page=2),
    Boundary(route="show", when=AFTER),
    Boundary(route="show", when=HEARD),
    Boundary(route="user", when=AFTER),
    Boundary(route="user", when=HEARD),
]


CLAIM = "the claim of a create"
"""Nobody can tell after it whether the create was sent."""

COMMITS = {
    "the intent to rent": gate.INTENT,
    CLAIM: gate.CLAIM,
    "the answer to a create": gate.RENTED,
    "the claim of a destroy": gate.DESTROY,
    "the proof that a box is gone": gate.GONE,
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Give a pool whose two halves run apart: the web side is there all the time, so workers are heard."""
    with ExitStack() as stack:
        directory, simulator = tmp_path_factory.mktemp("pool"), stack.enter_context(a_market())
        database = stack.enter_context(an_empty_database(request.param, request, directory))
        hosts = stack.enter_context(
            Hosts(directory, simulator, TARGET, database=database, settings=STEADY | NO_CACHE)
        )
        hosts.rent_strangers(STRANGERS)
        web, _ = hosts.add("web", "web"), hosts.add("loop", "worker")
        web.run("migrate")
        web.start()
        yield hosts


@pytest.fixture
def loop(pool: Hosts) -> Host:
    """Give the half that has the loop, with a pool at rest, which the tests share."""
    loop = pool.hosts[1]
    if not (loop.up and pool.settled()):
        pool.release()
        loop.kill()
        loop.start()
        pool.until(pool.settled, "a full pool")
    pool.until(pool.listed, "a listing that shows all of it")
    return loop


def hold_page(pool: Hosts, when: str, page: int) -> None:
    """Let go the page of a listing that is held until it is the one; there are two."""
    while (2 if "after_token" not in pool.entries("list")[-1].parameters else 1) != page:
        passed = pool.held()
        pool.hold("list", when)
        pool.let_go()
        pool.until(partial(_another_is_held, pool, passed), "the next page")


def _another_is_held(pool: Hosts, passed: list[dict[str, object]]) -> bool:
    return pool.held() not in ([], passed)


def die_at(boundary: Boundary, pool: Hosts, loop: Host) -> None:
    """Let the coordinator give up on a worker, and kill the loop at a boundary."""
    when = "before" if boundary.when == BEFORE else "after"
    pool.hold(boundary.route, when)
    pool.happen("coordinator_drop")
    pool.until(pool.held, str(boundary))
    if boundary.route == "list":
        hold_page(pool, when, boundary.page)
    if boundary.when == HEARD:
        with no_writes(pool.database):
            pool.let_go()
            threading.Event().wait(HEAR_SECS)
            loop.kill()
    else:
        loop.kill()


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_a_death_costs_nothing(boundary: Boundary, pool: Hosts, loop: Host) -> None:
    before, creates = pool.verified(), pool.asked("create")
    with tallied(str(boundary), "SIGKILL", pool.engine):
        die_at(boundary, pool, loop)
        unborn = {story.row.id for story in pool.stories() if story.row.state is State.REQUESTED}
        pool.release()
        loop.start(**GIVEN_UP if boundary.creates > 1 else {})
        pool.until(pool.settled, "a full pool")
        (dropped,) = before - pool.live()
        assert pool.reasons(dropped)[-2:] == [Reason.COORDINATOR, Reason.PROVED_GONE]
        assert pool.asked("create") == creates + boundary.creates
        if boundary.creates > 1:
            (ended,) = [story.row for story in pool.stories() if story.row.id in unborn]
            assert (ended.state, ended.reason) == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
            loop.kill()  # so that nothing else is given up so soon
        assert_no_row_was_sent_twice(pool)
        assert_nothing_is_lost(pool)


def test_a_create_that_takes_effect_after_the_restart_is_found_as_well(pool: Hosts, loop: Host) -> None:
    with tallied("create: takes effect after the restart", "SIGKILL", pool.engine):
        before, creates = pool.live(), pool.asked("create")
        pool.hold("create", "before")
        pool.happen("coordinator_drop")
        pool.until(pool.held, "a create that is held")
        loop.kill()
        listings = pool.asked("list")
        loop.start()
        pool.until(lambda: pool.asked("list") > listings + 1, "a listing after the restart")
        pool.release(cut=False)
        (made,) = pool.until(lambda: pool.live() - before, "a box that was made late")
        pool.until(lambda: len(pool.reasons(made)) > 1, "a row that knows the box")
        assert pool.asked("create") == creates + 1
        assert pool.reasons(made)[1] in {Reason.FOUND, Reason.CALLED}
        pool.until(pool.settled, "a full pool")
        assert_nothing_is_lost(pool)


@pytest.mark.parametrize("pool", ["postgresql"], indirect=True)
@pytest.mark.parametrize("commit", COMMITS)
def test_a_commit_whose_answer_was_lost_is_carried_on_from(commit: str, pool: Hosts, loop: Host) -> None:
    before, creates = pool.verified(), pool.asked("create")
    with tallied(f"{commit}: committed, not answered", "SIGKILL", pool.engine):
        with gate.shut(pool.database, COMMITS[commit]) as waiting:
            pool.happen("coordinator_drop")
            pool.until(waiting, commit)
            loop.kill()
        loop.start(**GIVEN_UP if commit == CLAIM else {})
        pool.until(pool.settled, "a full pool")
        (dropped,) = before - pool.live()
        assert pool.reasons(dropped)[-2:] == [Reason.COORDINATOR, Reason.PROVED_GONE]
        assert pool.asked("create") == creates + 1
        if commit == CLAIM:
            loop.kill()  # so that nothing else is given up so soon
        assert_no_row_was_sent_twice(pool)
        assert_nothing_is_lost(pool)


@pytest.mark.parametrize("pool", ["postgresql"], indirect=True)
def test_a_drop_that_was_committed_stands_though_nobody_answered(pool: Hosts, loop: Host) -> None:
    web = pool.hosts[0]
    with tallied("a drop: committed, not answered", "SIGKILL of the web side", pool.engine):
        with gate.shut(pool.database, gate.DROP) as waiting:
            dropped = pool.happen("coordinator_drop")
            pool.until(waiting, "the commit of a drop")
            web.kill()
        web.start()
        pool.until(lambda: dropped not in pool.live(), "the end of the box")
        assert dropped not in pool.dropped()
        pool.until(web.answers, "an answer of the web side")
        pool.until(pool.settled, "a full pool")
        assert pool.reasons(dropped)[-2:] == [Reason.COORDINATOR, Reason.PROVED_GONE]
        assert_nothing_is_lost(pool)
