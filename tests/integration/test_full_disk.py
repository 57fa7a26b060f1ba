"""A disk that is full or cannot be written: no move is lost, it is said, and it goes on by itself."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from magister.control.loop import Loop
from magister.control.reconciler import Clock, Rhythm
from magister.domain.observed import Route
from magister.errors import Transient
from magister.settings.runtime import Web
from magister.states import Reason, State
from magister.store.db.engine import Sessions
from magister.web import create_app
from tests.builders import ADDRESS, a_fleet, an_offer, some_settings
from tests.controller import Controller


class _Cursor(Protocol):
    def execute(self, sql: str, /) -> object: ...


@dataclass
class Disk:
    """Let a database find no room or no permission for what it writes; SQLite itself says so."""

    engine: Engine
    full: bool = False
    frozen: bool = False

    def __post_init__(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE filler (what BLOB)"))
        event.listen(self.engine, "do_execute", self._execute)

    def _execute(self, cursor: _Cursor, statement: str, *rest: object) -> None:
        cursor.execute(f"PRAGMA query_only={int(self.frozen)}")
        if not statement.startswith(("INSERT", "UPDATE")):
            return
        # a limit below the present size lets the file keep that size
        cursor.execute(f"PRAGMA max_page_count={1 if self.full else 2**30}")
        if self.full:
            cursor.execute("INSERT INTO filler VALUES (zeroblob(1000000))")


@pytest.fixture
def pool(sqlite_sessions: Sessions) -> Controller:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=3))
    pool.vast.stock(an_offer() for _ in range(20))
    return pool


@pytest.fixture
def disk(pool: Controller) -> Disk:
    return Disk(pool.sessions.engine)


@pytest.fixture(params=["full", "frozen"])
def trouble(request: pytest.FixtureRequest) -> str:
    """Name what is wrong with the disk: it has no room, or it was remounted read-only."""
    return str(request.param)


def strike(disk: Disk, trouble: str, on: bool = True) -> None:
    setattr(disk, trouble, on)


def test_the_trouble_is_real(pool: Controller, disk: Disk, trouble: str) -> None:
    strike(disk, trouble)
    codes = {"full": sqlite3.SQLITE_FULL, "frozen": sqlite3.SQLITE_READONLY}
    with pytest.raises(OperationalError) as raised:
        pool.step()
    assert isinstance(raised.value.orig, sqlite3.OperationalError)
    assert raised.value.orig.sqlite_errorcode == codes[trouble]


def test_a_create_whose_answer_cannot_be_written_is_found_by_its_key(
    pool: Controller, disk: Disk, trouble: str
) -> None:
    pool.vast.boundary = lambda name: strike(disk, trouble) if name == "created" else None
    with pytest.raises(OperationalError):
        pool.step()
    assert len(pool.vast.boxes) == 1
    pool.vast.boundary = lambda name: None
    for _ in range(10):
        with pytest.raises(OperationalError):
            pool.step(5)
    assert len(pool.vast.boxes) == 1, "nothing is rented that could not be written"
    strike(disk, trouble, on=False)
    pool.run(60)
    pool.verify_all()
    pool.run(60)
    assert len(pool.vast.boxes) == len(pool.vast.named("create")) == len(pool.rows(State.VERIFIED)) == 3
    first = pool.rows()[0]
    assert [reason for _, reason in pool.story(first.id)] == [Reason.SHORT, Reason.FOUND, Reason.CALLED]


def test_nothing_is_sent_that_could_not_be_written_first(pool: Controller, disk: Disk, trouble: str) -> None:
    pool.filled()
    pool.drop(pool.rows()[0])
    calls = len(pool.vast.calls)
    strike(disk, trouble)
    for _ in range(20):
        with pytest.raises(OperationalError):
            pool.step(5)
    assert {name for name, _ in pool.vast.calls[calls:]} <= {"listing", "account"}
    strike(disk, trouble, on=False)
    pool.run(60)
    assert pool.story(pool.rows()[0].id)[-1] == (State.DESTROYED, Reason.PROVED_GONE)


def test_a_destroy_whose_answer_cannot_be_written_is_proved_or_repeated(
    pool: Controller, disk: Disk, trouble: str
) -> None:
    pool.filled()
    row = pool.rows()[0]
    pool.drop(row)
    pool.vast.boundary = lambda name: strike(disk, trouble) if name == "destroyed" else None
    with suppress(OperationalError):  # it is the call that fails, and the heartbeat only if it is due
        pool.step()
    pool.vast.boundary = lambda name: None
    assert row.contract_id not in pool.vast.boxes
    assert pool.row(row.id).state is State.DROPPING
    strike(disk, trouble, on=False)
    pool.run(60)
    pool.verify_all()
    pool.run(60)
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.PROVED_GONE)
    assert len(pool.vast.boxes) == len(pool.rows(State.VERIFIED)) == 3


def test_a_move_that_cannot_be_written_whole_is_not_written_at_all(
    pool: Controller, disk: Disk, trouble: str
) -> None:
    pool.filled()
    row = pool.rows()[0]
    pool.vast.change(row.contract_id or 0, actual_status="exited")
    strike(disk, trouble)
    for _ in range(3):
        with pytest.raises(OperationalError):
            pool.step(40)
    assert pool.row(row.id).state is State.VERIFIED
    strike(disk, trouble, on=False)
    pool.run(120)
    assert (State.DROPPING, Reason.EXITED) in pool.story(row.id)
    for each in pool.rows():
        assert pool.story(each.id)[-1] == (each.state, each.reason)


def test_the_loop_says_what_is_wrong_without_a_traceback_and_goes_on(
    pool: Controller, disk: Disk, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"full": "its disk is full", "frozen": "it cannot be written"}
    strike(disk, trouble)
    pauses: list[float] = []
    loop = Loop(
        worker=pool.worker,
        sessions=pool.sessions,
        vast=pool.vast,
        clock=Clock(pool.clock.wall, pool.clock.monotonic),
        rhythm=Rhythm(),
    )

    class Wake(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            pool.clock.advance(timeout or 0.0)
            if len(pauses) == 4:
                strike(disk, trouble, on=False)
            pool.sign()
            if len(pauses) == 40:
                loop.end()
            return False

    loop.wake = Wake()
    with capture_logs() as lines:
        loop.run()
    told = [line for line in lines if line["event"] == "loop.database_trouble"]
    assert [line["what"] for line in told] == [said[trouble]] * 4
    assert all(line["cure"] and "exc_info" not in line for line in lines if line in told)
    assert pauses[:4] == [1.0, 2.0, 5.0, 10.0], "it does not spin meanwhile"
    assert len(pool.vast.boxes) == 3


# the web side


@pytest.fixture
def client(pool: Controller) -> Iterator[FlaskClient]:
    """Answer for a pool, with a patience that passes at once."""
    settings = some_settings(
        this_magister_addr=ADDRESS, api_token=None, web=Web(busy_timeout_secs=2, heartbeat_stale_secs=60)
    )
    app = create_app(
        settings,
        pool.sessions,
        clock=pool.clock.wall,
        nap=lambda secs: void(pool.clock.advance(secs)),
        monotonic=pool.clock.monotonic,
    )
    with app.test_client() as client:
        yield client


def void(value: object) -> None:
    """Take a value for none."""


@pytest.mark.parametrize("what", ["verify", "drop"])
def test_a_call_that_cannot_be_committed_is_a_503_and_heard_when_made_again(
    pool: Controller, disk: Disk, trouble: str, client: FlaskClient, what: str
) -> None:
    pool.step()
    pool.step(5)
    row = pool.rows(State.CREATED)[0]
    method, path = {"verify": "GET", "drop": "DELETE"}[what], f"/{what}/{row.offer_id}?key={row.callback_key}"
    strike(disk, trouble)
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert pool.row(row.id).state is State.CREATED
    strike(disk, trouble, on=False)
    assert client.open(path, method=method).status_code == 200
    assert pool.row(row.id).state is {"verify": State.VERIFIED, "drop": State.DROPPING}[what]


def test_a_call_is_heard_if_there_is_room_within_the_patience(
    pool: Controller, disk: Disk, trouble: str, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.step()
    pool.step(5)
    row = pool.rows(State.CREATED)[0]
    strike(disk, trouble)
    ticks = iter([False, False, False, True])

    def advance(seconds: float) -> object:
        if next(ticks):
            strike(disk, trouble, on=False)
        return pool.clock.now

    monkeypatch.setattr(pool.clock, "advance", advance)
    assert client.get(f"/verify/{row.offer_id}?key={row.callback_key}").status_code == 200
    assert pool.row(row.id).state is State.VERIFIED


def test_what_is_read_is_shown_all_the_same(
    pool: Controller, disk: Disk, trouble: str, client: FlaskClient
) -> None:
    pool.filled()
    strike(disk, trouble)
    assert [client.get(path).status_code for path in ("/summary", "/instances", "/healthz")] == [200] * 3


def test_readyz_names_the_disk_as_soon_as_the_loop_is_late(
    pool: Controller, disk: Disk, trouble: str, client: FlaskClient
) -> None:
    pool.filled()
    assert client.get("/readyz").status_code == 200
    strike(disk, trouble)
    pool.clock.advance(31)
    answer = client.get("/readyz")
    said = {"full": "the database: its disk is full", "frozen": "the database: it cannot be written"}
    assert answer.status_code == 503
    assert [why.partition(";")[0] for why in answer.get_json()["why"]] == [said[trouble]]
    strike(disk, trouble, on=False)
    pool.run(10)
    assert client.get("/readyz").status_code == 200


def test_a_late_loop_alone_is_no_trouble_of_the_disk(
    pool: Controller, disk: Disk, client: FlaskClient
) -> None:
    pool.filled()
    pool.clock.advance(31)
    assert client.get("/readyz").status_code == 200


def test_a_listing_that_cannot_be_written_proves_nothing(pool: Controller, disk: Disk, trouble: str) -> None:
    pool.filled()
    pool.vast.boundary = lambda name: strike(disk, trouble) if name == "listing" else None
    with pytest.raises(OperationalError):
        pool.step(31)
    pool.vast.boundary = lambda name: None
    pool.vast.before("destroy", *[Transient("never")] * 9)
    strike(disk, trouble, on=False)
    pool.run(120)
    assert len(pool.rows(State.VERIFIED)) == 3
    assert pool.vast.wait_secs(Route.LIST) == 0.0
    assert pool.clock.now - timedelta(minutes=1) < max(
        row.last_seen_at for row in pool.rows() if row.last_seen_at
    )
