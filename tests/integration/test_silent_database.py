"""A PostgreSQL server that falls silent and ends no connection, as behind a firewall that drops packets."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from magister import postgresql
from magister.database import Sessions, open_database
from magister.lease import AdvisoryLock
from magister.wsgi import LONGEST_TRY
from tests.acceptance.relay import Relay
from tests.fakes import FakeClock
from tests.integration.test_web_trouble import a_client

LIMIT = 0.5
"""Seconds that a statement may take here."""

SOON = LIMIT + postgresql.ON_ITS_WAY + 2 + 1
"""Seconds: the silence, a connection that is tried anew, and a busy machine."""


@pytest.fixture
def relay(postgres_sessions: Sessions) -> Iterator[Relay]:
    """A wire to the server that can be silenced."""
    url = postgres_sessions.engine.url
    relay = Relay([(url.host or "", url.port or 5432)])
    yield relay
    relay.close()


@pytest.fixture
def sessions(postgres_sessions: Sessions, relay: Relay) -> Iterator[Sessions]:
    url = make_url(postgres_sessions.engine.url).set(port=relay.port)
    found = open_database(url.render_as_string(hide_password=False), busy_timeout=LIMIT)
    yield found
    relay.cut()  # else nobody could say good-bye
    found.engine.dispose()


@pytest.mark.timeout(30)
def test_a_request_meets_silence_with_a_503_in_time_and_the_next_one_a_new_connection(
    sessions: Sessions, relay: Relay
) -> None:
    client = a_client(sessions, FakeClock())
    assert client.get("/summary").status_code == 200
    relay.silence()
    begun = time.monotonic()
    assert client.get("/summary").status_code == 503
    assert LIMIT < time.monotonic() - begun < SOON
    assert client.get("/readyz").status_code == 503
    relay.mend()
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


@pytest.mark.timeout(30)
def test_a_commit_that_meets_silence_fails_and_what_follows_goes_on(sessions: Sessions, relay: Relay) -> None:
    begun = time.monotonic()
    with pytest.raises(OperationalError, match=r"has said nothing for 1\.5 s"), sessions.write() as session:
        session.execute(text("UPDATE pool SET target = 7"))
        relay.silence()
        begun = time.monotonic()
    assert LIMIT < time.monotonic() - begun < SOON
    relay.mend()
    with sessions.write() as session:
        session.execute(text("UPDATE pool SET target = 8"))
    with sessions.read() as session:
        assert session.scalar(text("SELECT target FROM pool")) == 8


@pytest.mark.timeout(30)
def test_the_lock_of_the_loop_is_given_up_in_silence_and_taken_again(
    sessions: Sessions, relay: Relay
) -> None:
    lock = AdvisoryLock(sessions.engine)
    assert lock.take()
    relay.silence()
    begun = time.monotonic()
    with pytest.raises(OperationalError):
        lock.take()
    assert LIMIT < time.monotonic() - begun < SOON
    relay.mend()
    until = time.monotonic() + 10
    while not lock.take():  # the server frees it when it hears that the old connection is closed
        assert time.monotonic() < until
    lock.release()


@pytest.mark.timeout(30)
def test_a_long_statement_that_the_server_ends_itself_keeps_the_connection(sessions: Sessions) -> None:
    with sessions.read() as session:
        server = session.scalar(text("SELECT pg_backend_pid()"))
    with pytest.raises(OperationalError, match="statement timeout"), sessions.read() as session:
        session.execute(text("SELECT pg_sleep(30)"))
    with sessions.read() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) == server
