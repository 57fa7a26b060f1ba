"""A PostgreSQL server that falls silent and ends no connection, as behind a firewall that drops packets."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import OperationalError

from magister.service.wsgi import LONGEST_TRY
from magister.store.db import postgresql
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import AdvisoryLock
from tests.acceptance.relay import Relay
from tests.fakes import FakeClock
from tests.integration.test_web_trouble import a_client
from tests.waiting import PATIENCE, until

SILENCE = 1.5
"""Seconds of silence that are enough, once the wire is silent; before, a slow server is given its time."""


class Wire:
    """A wire to the server that can be silenced, and the connections over it."""

    def __init__(self, sessions: Sessions) -> None:
        url = sessions.engine.url
        self.relay = Relay([(url.host or "", url.port or 5432)])
        here = make_url(url).set(port=self.relay.port).render_as_string(hide_password=False)
        self.sessions = open_database(here, busy_timeout=PATIENCE)
        self._connections: list[postgresql.Connection] = []
        self._silent = False
        event.listen(self.sessions.engine, "do_connect", self._connect, insert=True)
        event.listen(self.sessions.engine, "connect", self._connected)

    def silence(self) -> None:
        """Let nothing through, and have it noticed soon."""
        self.relay.silence()
        self._silent = True
        for connection in self._connections:
            connection.patience = SILENCE

    def mend(self) -> None:
        self._silent = False
        self.relay.mend()

    def close(self) -> None:
        self.relay.cut()  # else nobody could say good-bye
        self.sessions.engine.dispose()
        self.relay.close()

    def _connect(
        self, dialect: object, record: object, arguments: object, options: dict[str, object]
    ) -> None:
        if self._silent:
            options["connect_timeout"] = 2

    def _connected(self, connection: postgresql.Connection, record: object) -> None:
        self._connections.append(connection)


@pytest.fixture
def wire(postgres_sessions: Sessions) -> Iterator[Wire]:
    wire = Wire(postgres_sessions)
    yield wire
    wire.close()


@pytest.fixture
def sessions(wire: Wire) -> Sessions:
    return wire.sessions


def test_a_request_meets_silence_with_a_503_and_the_next_one_a_new_connection(
    sessions: Sessions, wire: Wire
) -> None:
    client = a_client(sessions, FakeClock())
    assert client.get("/summary").status_code == 200
    wire.silence()
    assert client.get("/summary").status_code == 503
    assert client.get("/readyz").status_code == 503
    wire.mend()
    assert client.get("/summary").status_code == 200
    assert sessions.engine.pool.status().count("Checked out connections: 0") == 1


def test_by_default_a_request_that_reads_fails_within_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def connect(*arguments: str, connect_timeout: int, **options: object) -> None:
        told.append(connect_timeout)
        raise psycopg.OperationalError

    monkeypatch.setattr(postgresql.Connection, "connect", connect)
    sessions = open_database("postgresql+psycopg://h/d", busy_timeout=LONGEST_TRY)
    with pytest.raises(OperationalError), sessions.engine.connect():
        pass
    assert LONGEST_TRY + postgresql.ON_ITS_WAY + told[0] <= 10


def test_a_commit_that_meets_silence_fails_and_what_follows_goes_on(sessions: Sessions, wire: Wire) -> None:
    with pytest.raises(OperationalError, match=r"has said nothing for 1\.5 s"), sessions.write() as session:
        session.execute(text("UPDATE pool SET target = 7"))
        wire.silence()
    wire.mend()
    with sessions.write() as session:
        session.execute(text("UPDATE pool SET target = 8"))
    with sessions.read() as session:
        assert session.scalar(text("SELECT target FROM pool")) == 8


def test_the_lock_of_the_loop_is_given_up_in_silence_and_taken_again(sessions: Sessions, wire: Wire) -> None:
    lock = AdvisoryLock(sessions.engine)
    assert lock.take()
    wire.silence()
    with pytest.raises(OperationalError, match=r"has said nothing for 1\.5 s"):
        lock.take()
    wire.mend()
    # the server frees it when it hears that the old connection is closed
    until(lock.take, "a lock that is free again")
    lock.release()


def test_a_long_statement_that_the_server_ends_itself_keeps_the_connection(sessions: Sessions) -> None:
    with sessions.read() as session:
        server = session.scalar(text("SELECT pg_backend_pid()"))
        limit = session.scalar(text("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'"))
    assert limit == f"{PATIENCE * 1000:.0f}"
    with pytest.raises(OperationalError, match="statement timeout"), sessions.read() as session:
        session.execute(text("SET LOCAL statement_timeout = '0.2s'"))
        session.execute(text("SELECT pg_sleep(3600)"))
    with sessions.read() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) == server
