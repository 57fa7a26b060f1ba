"""The web side before the first listing: calls about what is not known yet keep nobody else waiting."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from magister.domain import callback_key
from magister.store import pool
from magister.store.db.engine import open_database
from magister.web.waiting import OTHER_PLACES
from tests.acceptance.host import Host
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.acceptance

HOUR = "3600"
"""Seconds for which a call may wait: whoever is answered at all has waited for none of them."""

THREADS = 8
READS = ("/healthz", "/readyz", "/summary", "/instances")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Run the web side alone, on a database in which nothing was listed yet."""
    settings = {
        "THIS_MAGISTER_ADDR": "http://127.0.0.1",
        "HIEROPHANT_IP": "127.0.0.1",
        "HIEROPHANT_HTTP_PORT": "9",
        "VAST_API_URL": f"http://127.0.0.1:{free_port()}",
        "VAST_API_KEY": "simulated-key",
        "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
        "NUMBER_INSTANCES": "1",
        "WEB_THREADS": str(THREADS),
        "WEB_BUSY_TIMEOUT_SECS": HOUR,
    }
    host = Host(tmp_path, settings, command=("web",))
    host.run("migrate")
    with changing(host) as session:
        pool.callback_secret(session)
    host.start()
    try:
        host.until(host.answers, "an answer")
        yield host
    finally:
        host.kill()
    assert "Traceback" not in host.log


def calling(stack: ExitStack, host: Host, line: str) -> socket.socket:
    connection = stack.enter_context(
        closing(socket.create_connection(("127.0.0.1", host.port), timeout=PATIENCE))
    )
    connection.sendall(f"{line} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
    return connection


def answer(connection: socket.socket) -> bytes:
    raw = bytearray()
    while chunk := connection.recv(65_536):
        raw += chunk
    return bytes(raw)


def status(connection: socket.socket) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer(connection))
    assert found is not None
    return int(found[1])


def waits(connection: socket.socket) -> bool:
    """Say whether a call is not answered yet."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False


def test_verifies_of_strangers_keep_nobody_who_reads_waiting_and_so_many_of_them_wait(host: Host) -> None:
    with ExitStack() as stack:
        flood = [calling(stack, host, f"GET /verify/{number}") for number in range(OTHER_PLACES + 40)]
        until(lambda: sum(map(waits, flood)) == OTHER_PLACES, "forty that are refused")
        for path in READS * 4:
            assert status(calling(stack, host, f"GET {path}")) in {200, 503}  # not ready, for no loop acts
        refused = [answer(call) for call in flood if not waits(call)]
        assert all(b"\r\nRetry-After: " in said and b" 503 " in said[:13] for said in refused)
        waiting = [call for call in flood if waits(call)]
        listed(host)
        assert {status(call) for call in waiting} == {404}


def test_drops_of_strangers_keep_nobody_waiting_either(host: Host) -> None:
    with ExitStack() as stack:
        flood = [calling(stack, host, f"DELETE /drop/{number}") for number in range(OTHER_PLACES + 8)]
        until(lambda: sum(map(waits, flood)) == OTHER_PLACES, "eight that are answered at once")
        for path in READS:
            assert status(calling(stack, host, f"GET {path}")) in {200, 503}
        assert {status(call) for call in flood if not waits(call)} == {503}


def test_a_call_with_a_good_key_waits_although_strangers_have_taken_all_their_places(host: Host) -> None:
    with changing(host) as session:
        key = callback_key.make(pool.callback_secret(session), 77, "0123456789abcdef")
    with ExitStack() as stack:
        flood = [calling(stack, host, f"GET /verify/{number}") for number in range(OTHER_PLACES + 1)]
        until(lambda: sum(map(waits, flood)) == OTHER_PLACES, "one that is refused")

        def waiting() -> socket.socket | None:
            call = calling(stack, host, f"GET /verify/77?key={key}")
            assert status(calling(stack, host, f"GET /verify/77?key={key[::-1]}")) == 503
            return call if waits(call) else None

        call = until(waiting, "a call that waits")
        listed(host)
        assert call is not None
        assert status(call) == 404


def listed(host: Host) -> None:
    """Write what the loop does after its first listing."""
    with changing(host) as session:
        pool.note_listed(session, datetime.now(UTC))


@contextmanager
def changing(host: Host) -> Iterator[Session]:
    """Yield a session that writes to the database of the host."""
    sessions = open_database(f"sqlite:///{host.directory / 'magister.db'}", busy_timeout=5)
    try:
        with sessions.write() as session:
            yield session
    finally:
        sessions.engine.dispose()
