"""A drop that the database does not take is kept, and written as soon as it can be."""

import threading
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import select
from structlog.testing import capture_logs

from magister import onstart, pool
from magister.database import Sessions
from magister.held import Held
from magister.models import Transition
from magister.states import Reason, State
from magister.web import create_app, kept
from magister.web.kept import Drop, KeptDrops
from tests.builders import NOW, a_row, an_offer
from tests.fakes import FakeClock
from tests.integration.test_full_disk import Disk
from tests.integration.test_web_trouble import failing, state_of, the_settings

TOKEN = SecretStr("token-of-the-operator")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=NOW)


@pytest.fixture
def drops(sessions: Sessions, clock: FakeClock) -> KeptDrops:
    return KeptDrops(sessions, clock.wall, TOKEN)


@pytest.fixture
def client(sessions: Sessions, clock: FakeClock, drops: KeptDrops) -> FlaskClient:
    app = create_app(
        the_settings(TOKEN),
        sessions,
        clock=clock.wall,
        nap=lambda secs: void(clock.advance(secs)),
        monotonic=clock.monotonic,
        kept=drops,
    )
    return app.test_client()


def void(value: object) -> None:
    """Take a value for none."""


def a_box(sessions: Sessions, state: State = State.VERIFIED, *, signed: bool = False) -> Held:
    with sessions.write() as session:
        return a_row(session, state=state, offer=an_offer(id=77), mac_required=signed)


def away(sessions: Sessions, drop: Callable[[], object]) -> None:
    """Ask for something while the database does not answer."""
    with failing(sessions, times=1000):
        drop()


def told(client: FlaskClient) -> list[str]:
    """Return the conditions that /readyz names of drops."""
    found = client.get("/readyz").get_json()["conditions"]
    return [one["what"] for one in found if one["kind"].startswith("drops_")]


def reasons(sessions: Sessions, row: Held) -> list[tuple[Reason, str]]:
    with sessions.read() as session:
        moves = select(Transition).where(Transition.instance_id == row.id).order_by(Transition.id)
        return [(move.reason, move.detail) for move in session.scalars(moves)]


def test_a_drop_that_cannot_be_written_is_kept_told_and_written_later(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    row = a_box(sessions)
    with failing(sessions, times=1000):
        answer = client.delete("/drop/77", data="it\nis slow")
        assert (answer.status_code, "kept in memory" in answer.get_json(force=True)["detail"]) == (503, True)
        drops.write()
        assert told(client) == ["a drop that was asked for could not be written to the database yet"]
    assert state_of(sessions, row) is State.VERIFIED
    drops.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "it is slow")
    assert state_of(sessions, row) is State.DROPPING
    assert told(client) == []


def test_what_is_asked_for_again_is_kept_and_written_once(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    row = a_box(sessions)
    away(sessions, lambda: client.delete("/drop/77", data="first"))
    away(sessions, lambda: client.delete("/drop/77", data="second"))
    assert told(client) == ["a drop that was asked for could not be written to the database yet"]
    drops.write()
    drops.write()
    assert [why for reason, why in reasons(sessions, row) if reason is Reason.COORDINATOR] == ["first"]


def test_one_that_was_dropped_meanwhile_is_left_as_it_is(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    row = a_box(sessions)
    away(sessions, lambda: client.delete("/drop/77"))
    assert client.delete("/drop/77", data="asked again").status_code == 200
    drops.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "asked again")
    assert told(client) == []


def test_a_box_that_was_rented_later_on_the_same_offer_is_not_dropped(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions, clock: FakeClock
) -> None:
    away(sessions, lambda: client.delete("/drop/77"))
    clock.advance(86_400)
    with sessions.write() as session:
        later = a_row(session, state=State.VERIFIED, offer=an_offer(id=77), at=clock.now)
        pool.note_listed(session, clock.now)
    drops.write()
    assert state_of(sessions, later) is State.VERIFIED
    assert told(client) == []


def test_with_a_key_it_is_the_box_of_that_key_and_no_other(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    first, second = a_box(sessions, signed=True), a_box(sessions, signed=True)
    away(sessions, lambda: client.delete(f"/drop/77?key={onstart.mac(TOKEN, first.key)}"))
    away(sessions, lambda: client.delete(f"/drop/77?key={'0' * 32}"))
    away(sessions, lambda: client.delete("/drop/77"))
    drops.write()
    assert (state_of(sessions, first), state_of(sessions, second)) == (State.DROPPING, State.VERIFIED)
    assert told(client) == []


def test_before_the_first_listing_it_is_kept_until_the_listing_has_brought_the_box(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    assert client.delete("/drop/77").status_code == 503
    drops.write()
    assert len(told(client)) == 1
    row = a_box(sessions)
    drops.write()
    assert state_of(sessions, row) is State.DROPPING


def test_what_is_about_nobody_is_forgotten_once_that_is_known(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    away(sessions, lambda: client.delete("/drop/78"))
    row = a_box(sessions)
    with sessions.write() as session:
        pool.note_listed(session, NOW)
    drops.write()
    assert told(client) == []
    assert state_of(sessions, row) is State.VERIFIED


def test_only_so_many_are_kept_and_the_others_are_counted(
    client: FlaskClient, drops: KeptDrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 2)
    taken = [drops.keep(Drop(offer_id=offer, mac=None, why="", heard_at=NOW)) for offer in (1, 2, 3, 2, 4)]
    assert taken == [True, True, False, True, False]
    assert told(client) == [
        "2 drops that were asked for could not be written to the database yet",
        "2 drops that were asked for came while 2 others waited for the database, and are lost",
    ]


def test_the_page_tells_of_drops_that_wait_and_of_those_that_are_lost(
    client: FlaskClient, drops: KeptDrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 1)
    for offer in (77, 78):
        drops.keep(Drop(offer_id=offer, mac=None, why="slow", heard_at=NOW))
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert "could not be written to the database yet" in page
    assert "waited for the database, and are lost" in page


def test_a_thread_of_its_own_writes_them(sessions: Sessions) -> None:
    row, stop, tried = a_box(sessions), threading.Event(), threading.Event()

    class Watched(KeptDrops):
        def write(self) -> None:
            super().write()
            tried.set()

    drops = Watched(sessions, lambda: NOW, TOKEN)
    drops.start(stop)
    drops.keep(Drop(offer_id=77, mac=None, why="slow", heard_at=NOW))
    assert tried.wait(20)
    stop.set()
    assert state_of(sessions, row) is State.DROPPING


def test_at_the_end_of_the_process_it_is_tried_once_more_and_else_named(sessions: Sessions) -> None:
    row, drops = a_box(sessions), KeptDrops(sessions, lambda: NOW, TOKEN)
    drops.keep(Drop(offer_id=77, mac=None, why="slow", heard_at=NOW))
    with failing(sessions, times=1000), capture_logs() as lines:
        drops.end()
    assert [(line["event"], line["offer"]) for line in lines if line["log_level"] == "error"] == [
        ("drop.forgotten", 77)
    ]
    with capture_logs() as lines:
        drops.end()
    assert not [line for line in lines if line["log_level"] == "error"]
    assert state_of(sessions, row) is State.DROPPING


def test_on_a_full_disk_it_waits_for_room(sqlite_sessions: Sessions) -> None:
    disk, drops = Disk(sqlite_sessions.engine), KeptDrops(sqlite_sessions, lambda: NOW, None)
    row = a_box(sqlite_sessions)
    drops.keep(Drop(offer_id=77, mac=None, why="slow", heard_at=NOW))
    disk.full = True
    drops.write()
    assert (state_of(sqlite_sessions, row), len(drops.conditions())) == (State.VERIFIED, 1)
    disk.full = False
    drops.write()
    assert (state_of(sqlite_sessions, row), drops.conditions()) == (State.DROPPING, ())
