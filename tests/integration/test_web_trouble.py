"""What the HTTP side answers when the request, the database or the code is at fault."""

import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from magister.domain.instance import Held
from magister.errors import Stale
from magister.reports import overview
from magister.settings.model import Settings
from magister.settings.runtime import Web
from magister.states import State
from magister.store import instances, pool, transitions
from magister.store.db.engine import Sessions, open_database
from magister.store.db.models import Transition
from magister.store.db.sqlite import sqlite_file
from magister.store.requests import NO_REASON
from magister.web import create_app
from magister.web.server.limited_log import LINES
from magister.web.server.request_buffer import REASON_LIMIT
from tests.builders import NOW, a_row, an_offer, some_settings, state_of
from tests.fakes import FakeClock

PATIENCE = 2.0


def advance(clock: FakeClock, seconds: float) -> None:
    clock.advance(seconds)


def the_settings() -> Settings:
    return some_settings(web=Web(busy_timeout_secs=PATIENCE))


def a_client(
    sessions: Sessions, clock: FakeClock, *, nap: Callable[[float], None] | None = None
) -> FlaskClient:
    app = create_app(
        the_settings(),
        sessions,
        clock=clock.wall,
        nap=nap or (lambda seconds: advance(clock, seconds)),
        monotonic=clock.monotonic,
    )
    return app.test_client()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=NOW)


@pytest.fixture
def client(sqlite_sessions: Sessions, clock: FakeClock) -> FlaskClient:
    return a_client(sqlite_sessions, clock)


@pytest.fixture
def hasty(sqlite_sessions: Sessions) -> Iterator[Sessions]:
    """The same SQLite file, whose locks are hardly waited for."""
    found = open_database(str(sqlite_sessions.engine.url), busy_timeout=0.01)
    yield found
    found.engine.dispose()


@contextmanager
def locked(sessions: Sessions) -> Iterator[None]:
    """Hold the write lock of a SQLite file from another connection."""
    path = sqlite_file(str(sessions.engine.url))
    connection = sqlite3.connect(str(path), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def failing(sessions: Sessions, *, times: int, error: Exception | None = None) -> Iterator[None]:
    """Break that many transactions at their beginning, as a database that restarts does, or by `error`."""
    left = [times]

    def broken(connection: Connection) -> None:
        if left[0]:
            left[0] -= 1
            failure = error or OperationalError("BEGIN", None, ConnectionError("the server is starting up"))
            failure.__context__ = None
            raise failure.with_traceback(None)  # else it would grow with each time that it is raised

    event.listen(sessions.engine, "begin", broken)
    try:
        yield
    finally:
        event.remove(sessions.engine, "begin", broken)


def row_in(sessions: Sessions, state: State) -> Held:
    with sessions.write() as session:
        return a_row(session, state=state, offer=an_offer(id=77))


def problem_in(answer: TestResponse) -> dict[str, object]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.get_json(force=True)
    assert isinstance(body, dict)
    assert set(body) == {"type", "title", "status", "detail", "instance"}
    assert (body["type"], body["status"]) == ("about:blank", answer.status_code)
    assert body["title"]
    assert body["detail"]
    return body


def chunked(client: FlaskClient, body: bytes) -> TestResponse:
    """Send a body without its length, as a server hands on a chunked one."""
    return client.delete(
        "/drop/77",
        input_stream=io.BytesIO(body),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )


def client_told(client: FlaskClient, body: bytes) -> TestResponse:
    """Send a body with its length."""
    return client.delete("/drop/77", data=body)


def reason_of(sessions: Sessions, row: Held) -> str:
    """Return what is written of the last move of a row."""
    with sessions.read() as session:
        moves = select(Transition.detail).where(Transition.instance_id == row.id)
        return session.scalars(moves.order_by(Transition.id.desc())).first() or ""


# the request


def test_errors_are_problems(client: FlaskClient, sqlite_sessions: Sessions) -> None:
    row_in(sqlite_sessions, State.DESTROYED)
    with sqlite_sessions.write() as session:
        pool.note_listed(session, NOW)
    answers = {
        400: client.get("/verify/x"),
        404: client.get("/nothing/here"),
        405: client.post("/summary"),
        410: client.get("/verify/77"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        problem_in(answer)


def test_a_problem_names_the_path_without_the_key(client: FlaskClient) -> None:
    body = problem_in(client.get("/verify/%C3%A4%20b?key=0123456789abcdef"))
    assert body["instance"] == "/verify/%C3%A4%20b"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/summary", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/verify/5", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/drop/5", {"DELETE", "OPTIONS"}),
        ("HEAD", "/drop/5", {"DELETE", "OPTIONS"}),
        ("PUT", "/", {"GET", "HEAD", "OPTIONS"}),
        ("NONSENSE", "/readyz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("ask", [client_told, chunked], ids=["told", "chunked"])
@pytest.mark.parametrize("size", [0, 1, REASON_LIMIT, REASON_LIMIT + 1, 100 * REASON_LIMIT])
def test_a_drop_is_heard_with_the_beginning_of_its_reason_however_long_that_is(
    client: FlaskClient,
    sqlite_sessions: Sessions,
    size: int,
    ask: Callable[[FlaskClient, bytes], TestResponse],
) -> None:
    row = row_in(sqlite_sessions, State.VERIFIED)
    assert ask(client, b"x" * size).status_code == 200
    assert state_of(sqlite_sessions, row) is State.DROPPING
    assert reason_of(sqlite_sessions, row) == ("x" * min(size, REASON_LIMIT) or NO_REASON)


def test_a_drop_whose_body_breaks_off_is_heard_all_the_same(
    client: FlaskClient, sqlite_sessions: Sessions
) -> None:
    row = row_in(sqlite_sessions, State.VERIFIED)
    answer = client.delete("/drop/77", input_stream=io.BytesIO(b"it was"), headers={"Content-Length": "100"})
    assert answer.status_code == 200
    assert state_of(sqlite_sessions, row) is State.DROPPING


def test_a_drop_whose_body_is_not_even_http_is_heard_all_the_same(
    client: FlaskClient, sqlite_sessions: Sessions
) -> None:
    class Malformed(io.BytesIO):
        def readinto(self, buffer: object, /) -> int:
            raise ArithmeticError("no size of a chunk")

    row = row_in(sqlite_sessions, State.VERIFIED)
    answer = client.delete(
        "/drop/77", input_stream=Malformed(), environ_overrides={"wsgi.input_terminated": True}
    )
    assert answer.status_code == 200
    assert state_of(sqlite_sessions, row) is State.DROPPING


# the code


def test_what_nobody_foresaw_is_a_500_without_a_word_of_it(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(session: Session) -> overview.Summary:
        raise ZeroDivisionError("the inside of it")

    monkeypatch.setattr(overview, "summary", broken)
    answer = client.get("/summary")
    assert answer.status_code == 500
    problem_in(answer)
    assert "inside" not in answer.text
    assert "Traceback" not in answer.text
    logged = capsys.readouterr().out
    assert "web.failed" in logged
    assert "the inside of it" in logged


# the database


@pytest.mark.parametrize("ask", ["verify", "drop"])
def test_a_database_that_stays_busy_is_a_503_after_the_patience(
    hasty: Sessions, clock: FakeClock, ask: str
) -> None:
    client = a_client(hasty, clock)
    row = row_in(hasty, State.CREATED)
    began = clock.monotonic()
    with locked(hasty):
        answer = client.get("/verify/77") if ask == "verify" else client.delete("/drop/77")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    problem_in(answer)
    assert "locked" not in answer.text
    assert clock.monotonic() - began == PATIENCE
    assert state_of(hasty, row) is State.CREATED


def test_a_worker_is_heard_as_soon_as_the_database_is_free(hasty: Sessions, clock: FakeClock) -> None:
    row = row_in(hasty, State.CREATED)
    with ExitStack() as lock:

        def nap(seconds: float) -> None:
            if clock.advance(seconds) >= NOW + timedelta(seconds=1):
                lock.close()

        client = a_client(hasty, clock, nap=nap)
        lock.enter_context(locked(hasty))
        assert client.get("/verify/77").status_code == 200
    with hasty.read() as session:
        seen = instances.one(session, row.id)
    assert seen
    assert (seen.state, seen.verified_at) == (State.VERIFIED, NOW + timedelta(seconds=1))


def test_a_worker_is_heard_across_a_restart_of_the_database(
    postgres_sessions: Sessions, clock: FakeClock
) -> None:
    row = row_in(postgres_sessions, State.CREATED)
    client = a_client(postgres_sessions, clock)
    with failing(postgres_sessions, times=3):
        assert client.get("/verify/77").status_code == 200
    assert clock.now > NOW
    assert state_of(postgres_sessions, row) is State.VERIFIED


@pytest.mark.parametrize(
    "error",
    [
        InternalError("UPDATE", None, Exception("cannot execute UPDATE in a read-only transaction")),
        ProgrammingError("UPDATE", None, Exception('relation "instances" does not exist')),
    ],
    ids=["a standby that becomes the server", "a restore"],
)
def test_a_worker_is_heard_once_an_error_that_nobody_foresaw_has_passed(
    sessions: Sessions, clock: FakeClock, error: Exception
) -> None:
    row = row_in(sessions, State.CREATED)
    client = a_client(sessions, clock)
    with failing(sessions, times=4, error=error):
        assert client.get("/verify/77").status_code == 200
    assert state_of(sessions, row) is State.VERIFIED


def test_an_error_of_the_database_that_does_not_pass_is_a_500_that_is_logged(
    sessions: Sessions, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    row_in(sessions, State.CREATED)
    error = ProgrammingError("UPDATE", None, Exception("no such column"))
    with failing(sessions, times=1000, error=error):
        assert a_client(sessions, clock).get("/verify/77").status_code == 500
    assert "no such column" in capsys.readouterr().out


def test_a_beat_waits_for_no_database_for_it_comes_again(sessions: Sessions, clock: FakeClock) -> None:
    row = row_in(sessions, State.VERIFIED)
    client, began = a_client(sessions, clock), clock.monotonic()
    with failing(sessions, times=2):
        assert client.get("/verify/77?beat=60").status_code == 503
    assert clock.monotonic() == began
    assert client.get("/verify/77?beat=60").status_code == 200
    assert state_of(sessions, row) is State.VERIFIED


@pytest.mark.parametrize("ask", ["verify", "drop"])
def test_a_commit_whose_answer_is_lost_is_made_again_without_harm(
    sessions: Sessions, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    row = row_in(sessions, State.CREATED)
    real, lost = Sessions.write, [True]

    @contextmanager
    def write(self: Sessions) -> Iterator[Session]:
        with real(self) as session:
            yield session
        if lost.pop() if lost else False:
            raise OperationalError("COMMIT", None, ConnectionError("the server went away"))

    monkeypatch.setattr(Sessions, "write", write)
    client = a_client(sessions, clock)
    answer = client.get("/verify/77") if ask == "verify" else client.delete("/drop/77", data="why")
    assert answer.status_code == 200
    with sessions.read() as session:
        moves = [move.to_state for move in session.scalars(select(Transition).order_by(Transition.id))]
    wanted = State.VERIFIED if ask == "verify" else State.DROPPING
    assert moves == [State.REQUESTED, State.CREATED, wanted]
    assert state_of(sessions, row) is wanted


def test_a_database_that_is_away_is_told_at_once_where_nothing_is_lost_by_it(
    sessions: Sessions, clock: FakeClock
) -> None:
    client = a_client(sessions, clock)
    with failing(sessions, times=100):
        for path in ("/summary", "/instances"):
            answer = client.get(path)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            problem_in(answer)
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
    assert clock.now == NOW
    assert ready.status_code == 503
    assert ready.json == {
        "ready": False,
        "why": ["the database does not answer"],
        "conditions": [],
        "target": None,
        "heartbeat_age_secs": None,
        "listing_age_secs": None,
        "acting": None,
    }


def test_an_empty_database_is_not_ready(tmp_path: Path, clock: FakeClock) -> None:
    sessions = open_database(f"sqlite:///{tmp_path / 'empty.db'}", busy_timeout=0.01)
    client = a_client(sessions, clock)
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    sessions.engine.dispose()


def test_a_row_that_never_stands_still_is_a_503(
    client: FlaskClient, sqlite_sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(*args: object, **fields: object) -> None:
        raise Stale

    row_in(sqlite_sessions, State.CREATED)
    monkeypatch.setattr(transitions, "move", moved)
    answer = client.get("/verify/77")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_about_no_instance_of_ours_is_refused_without_waiting_for_a_writer(
    hasty: Sessions, clock: FakeClock, method: str
) -> None:
    row_in(hasty, State.CREATED)
    with hasty.write() as session:
        pool.note_listed(session, clock.now)
    client, path = a_client(hasty, clock), "verify" if method == "GET" else "drop"
    began = clock.mono
    with locked(hasty):
        assert client.open(f"/{path}/5", method=method).status_code == 404
        assert client.open(f"/{path}/77?key=abc", method=method).status_code == 403
    assert clock.mono == began


def test_nothing_that_reads_waits_for_a_writer(hasty: Sessions, clock: FakeClock) -> None:
    client = a_client(hasty, clock)
    row_in(hasty, State.CREATED)
    began = clock.monotonic()
    with locked(hasty):
        for path in ("/summary", "/instances", "/healthz"):
            assert client.get(path).status_code == 200
        assert client.head("/verify/77").status_code == 200
    assert clock.monotonic() == began


# the log


@pytest.mark.parametrize("path", ["/verify/1", "/verify/1?beat=60", "/verify/77?key=abc", "/verify/77"])
def test_calls_of_strangers_do_not_fill_the_log(
    client: FlaskClient, sqlite_sessions: Sessions, path: str
) -> None:
    row_in(sqlite_sessions, State.VERIFIED)
    with sqlite_sessions.write() as session:
        pool.note_listed(session, NOW)
    with capture_logs() as lines:
        for _ in range(315):
            client.get(path)
    assert 0 < len([line for line in lines if line["log_level"] != "debug"]) <= LINES


def test_a_database_in_trouble_fills_no_log_whoever_asks(client: FlaskClient, sessions: Sessions) -> None:
    with failing(sessions, times=100_000), capture_logs() as lines:
        for _ in range(100):
            client.get("/summary")
            client.get("/verify/1?beat=60")
    assert len(lines) <= 3 * LINES


def test_a_path_is_logged_only_in_part(client: FlaskClient, sqlite_sessions: Sessions) -> None:
    with capture_logs() as lines:
        client.get(f"/verify/{'0' * 3000}1?beat=60")
    (line,) = (line for line in lines if line["event"] == "web.refused")
    assert len(line["path"]) == 100
