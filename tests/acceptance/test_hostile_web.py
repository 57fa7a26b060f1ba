"""The service in the open: whatever comes in by HTTP, the pool is kept and the coordinator is heard."""

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from magister.domain.instance import Held
from magister.states import Reason, State
from magister.store import pool
from magister.store.db.engine import open_database
from magister.web.server.limited_log import LINES
from tests.acceptance.host import PATIENT
from tests.acceptance.records import drop_path
from tests.acceptance.world import QUICK_PACE, World, a_market
from tests.waiting import PATIENCE

pytestmark = pytest.mark.acceptance

THREADS = 8
SLOW = 40
"""Slow clients at a time: five for each thread of the web side."""

CROWD, FLOOD = 400, 700
"""Silent clients at a time: fewer and more than the web side keeps connections for."""

PACE = QUICK_PACE | {"WEB_THREADS": str(THREADS), "WEB_HEARTBEAT_STALE_SECS": "3"}
DELETE = "DELETE {path} HTTP/1.1\r\nHost: magister\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what came back on a connection, as bytes; empty = it was closed without a word."""

    raw: bytes

    @property
    def status(self) -> int | None:
        """Return the first status; None = there is none."""
        found = re.match(rb"HTTP/1\.[01] (\d{3}) ", self.raw)
        return int(found[1]) if found else None

    @property
    def statuses(self) -> list[int]:
        """Return all of them, in their order."""
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", self.raw)]

    @property
    def problem(self) -> dict[str, object]:
        """Return the body as a problem."""
        head, _, body = self.raw.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head, self.raw[:500]
        said: dict[str, object] = json.loads(body)
        return said


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one service with a pool of two for nearly all tests of this file.

    Its clients have an hour for everything, so whoever is answered at all has waited for no other client.
    """
    directory = tmp_path_factory.mktemp("hostile")
    with a_market() as simulator, World(directory, simulator, 2, PACE | PATIENT) as world:
        world.start()
        world.until(world.settled, "a full pool")
        assert "clients have an hour" in world.host.log
        yield world


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run a service that gives its clients as long as it does in life, with a pool of one."""
    directory = tmp_path_factory.mktemp("impatient")
    with a_market() as simulator, World(directory, simulator, 1, PACE) as world:
        world.start()
        world.until(world.settled, "a full pool")
        yield world
        assert "Traceback" not in world.host.log


@pytest.fixture(autouse=True)
def unharmed(world: World) -> Iterator[None]:
    """Let each test begin with a full pool, and prove afterwards that nothing failed and nothing grew."""
    world.until(world.settled, "a full pool")
    processes, log = set(world.members()), world.host.directory / "log"
    said, weight = log.stat().st_size, memory(world)
    yield
    written = log.read_bytes()[said:].decode()
    assert "Traceback" not in written, written
    assert "web.failed" not in written, written
    assert set(world.members()) == processes, "a process died"
    assert memory(world) - weight < 64 * 1024 * 1024


def memory(world: World) -> int:
    """Return the bytes that all processes of the service keep in memory."""
    pages = [
        re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in world.members()
    ]
    return sum(int(found[1]) * 1024 for found in pages if found)


def opened(world: World) -> socket.socket:
    return socket.create_connection(("127.0.0.1", world.host.port), timeout=PATIENCE)


def received(connection: socket.socket) -> Answer:
    """Read until the service closes; a reset ends the answer as well."""
    raw = bytearray()
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            raw += chunk
    return Answer(bytes(raw))


def said(world: World, request: bytes) -> Answer:
    """Send bytes and read until the service closes."""
    with closing(opened(world)) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has answered and listens no more
            connection.sendall(request)
        return received(connection)


def asked(world: World, path: str, *, method: str = "GET", body: bytes = b"", headers: str = "") -> Answer:
    """Send a whole request that asks for the connection to be closed."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: magister\r\nConnection: close\r\n{length}{headers}\r\n"
    return said(world, head.encode("latin-1") + body)


def verified(world: World) -> list[Held]:
    """Return the instances that work, once the pool is full: another test may have dropped one."""
    world.until(world.settled, "a full pool")
    return [story.row for story in world.stories() if story.row.state is State.VERIFIED]


def reasons(world: World, row: Held) -> list[str]:
    """Return what the coordinator is on record to have said of a row."""
    story = next(story for story in world.stories() if story.row.id == row.id)
    return [step.detail for step in story.steps if step.reason is Reason.COORDINATOR]


def coordinator(world: World) -> Held:
    """Drop a worker as the coordinator does, prove that it was answered, and return its row."""
    row = verified(world)[0]
    answer = asked(world, drop_path(row), method="DELETE", body=b"strikes: 3")
    assert answer.status == 200, answer.raw
    return row


def heartbeat(world: World) -> datetime:
    sessions = open_database(world.database, busy_timeout=5)
    try:
        with sessions.read() as session:
            at = pool.read(session).heartbeat_at
    finally:
        sessions.engine.dispose()
    assert at is not None
    return at


@contextmanager
def the_loop_goes_on(world: World) -> Iterator[None]:
    """Prove that the loop acts while something goes on: its heart beats, and what is dropped is replaced."""
    before = heartbeat(world)
    row = coordinator(world)
    yield
    world.until(lambda: heartbeat(world) > before, "a heartbeat")
    world.until(lambda: row.contract_id not in world.live(), "the end of what was dropped")
    world.until(world.settled, "a full pool")


@contextmanager
def dribbling(world: World, clients: int, request: bytes, every: float = 0.2) -> Iterator[None]:
    """Let clients send a request a byte at a time, and begin anew when they are cut off."""
    stop, sent = threading.Event(), Counter[str]()

    def dribble() -> None:
        while not stop.is_set():
            with suppress(OSError), closing(opened(world)) as connection:
                for byte in request:
                    connection.sendall(bytes((byte,)))
                    sent["bytes"] += 1
                    if stop.wait(every):
                        return
            stop.wait(every)

    threads = [threading.Thread(target=dribble, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        while sent["bytes"] < clients * 3:
            stop.wait(0.02)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# ids

BAD = [
    *("-1", "+1", "0x10", "1.0", "1e3", "%", "%zz", "x" * 3000),
    *("%31%20", "%2d1", "%00", "1%00", "%D9%A7", "%EF%BC%91", "\N{ARABIC-INDIC DIGIT SEVEN}"),
]
ABSENT = ["0", "9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 3000, "0" * 3000]
ELSEWHERE = ["1/2", "1%2f2", "..%2f..%2fetc%2fpasswd", "..", "%2e%2e", "1/", "", "%2f", "1\\2"]


@pytest.mark.parametrize("which", BAD, ids=lambda which: ascii(which[:12]))
@pytest.mark.parametrize("request_line", ["GET /verify", "DELETE /drop"], ids=["verify", "drop"])
def test_what_is_no_id_is_a_400(world: World, request_line: str, which: str) -> None:
    method, _, path = request_line.partition(" ")
    answer = said(world, f"{method} {path}/{which} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == 400, answer.raw


@pytest.mark.parametrize("which", ABSENT, ids=lambda which: which[:24])
def test_an_id_that_no_offer_of_ours_has_is_a_404(world: World, which: str) -> None:
    for method, path in (("GET", "verify"), ("DELETE", "drop")):
        assert asked(world, f"/{path}/{which}", method=method).problem["status"] == 404


@pytest.mark.parametrize("which", ELSEWHERE)
def test_a_path_that_leads_elsewhere_leads_nowhere(world: World, which: str) -> None:
    for method, path in (("GET", "verify"), ("DELETE", "drop")):
        assert asked(world, f"/{path}/{which}", method=method).status in (400, 404)


def test_an_id_longer_than_a_line_may_be_is_refused(world: World) -> None:
    assert asked(world, f"/verify/{'9' * 100_000}").status in (414, 431)


# bodies


@pytest.mark.parametrize("chunked", [False, True], ids=["told", "chunked"])
@pytest.mark.parametrize("size", [1024 * 1024, 16 * 1024 * 1024])
def test_a_reason_of_megabytes_is_cut_and_the_drop_is_made(world: World, size: int, chunked: bool) -> None:
    row = verified(world)[-1]
    head = f"DELETE {drop_path(row)} HTTP/1.1\r\nHost: m\r\n"
    if chunked:
        piece = b"%x\r\n" % 8000 + b"x" * 8000 + b"\r\n"
        body = piece * (size // 8000) + b"0\r\n\r\n"
        request = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body
    else:
        request = f"{head}Content-Length: {size}\r\n\r\n".encode() + b"x" * size
    assert said(world, request).status == 200
    assert reasons(world, row) == ["x" * 1024]


def test_a_length_beyond_all_measure_is_not_waited_for_for_long(impatient: World) -> None:
    request = b"DELETE /drop/1 HTTP/1.1\r\nHost: m\r\nContent-Length: 99999999999999999999\r\n\r\nx"
    assert said(impatient, request).status == 404


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: -1",
        "Content-Length: 1e3",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, chunked",
    ],
)
def test_a_drop_whose_body_has_no_clear_end_is_heard_all_the_same(impatient: World, framing: str) -> None:
    row = verified(impatient)[-1]
    request = f"{DELETE.format(path=drop_path(row))}{framing}\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    assert said(impatient, request.encode()).status == 200


@pytest.mark.parametrize(
    "chunks", ["zz\r\nabc\r\n0\r\n\r\n", "-5\r\nabc\r\n", "5\r\nabcdefgh\r\n0\r\n\r\n", "0" * 20_000]
)
def test_chunks_that_are_none_are_not_read_and_the_drop_is_heard(world: World, chunks: str) -> None:
    row = verified(world)[-1]
    request = f"{DELETE.format(path=drop_path(row))}Transfer-Encoding: chunked\r\n\r\n{chunks}"
    assert said(world, request.encode()).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
        "SCRIPT_NAME: /pool\r\n",
        "SCRIPT-NAME: /pool\r\n",
        "X_Forwarded_For: 203.0.113.1\r\n",
    ],
)
def test_headers_of_proxies_that_nobody_reads_refuse_nothing(world: World, headers: str) -> None:
    row = verified(world)[-1]
    assert asked(world, "/summary", headers=headers).status == 200
    assert asked(world, drop_path(row).replace("drop", "verify"), headers=headers).status == 200
    assert asked(world, drop_path(row), method="DELETE", headers=headers).status == 200


def test_a_drop_may_come_in_chunks(world: World) -> None:
    row = verified(world)[-1]
    body = b"8\r\nstrikes:\r\n2\r\n 3\r\n0\r\nX-Trailer: 1\r\n\r\n"
    head = f"{DELETE.format(path=drop_path(row))}Transfer-Encoding: chunked\r\n\r\n"
    assert said(world, head.encode() + body).status == 200
    assert reasons(world, row) == ["strikes: 3"]


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(world: World) -> None:
    row = verified(world)[-1]
    head = f"{DELETE.format(path=drop_path(row))}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with closing(opened(world)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"why")
        assert received(connection).statuses[-1] == 200


# methods


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"])
@pytest.mark.parametrize(
    "path", ["/summary", "/instances", "/verify/1", "/healthz", "/readyz", "/openapi.json"]
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(world: World, path: str, method: str) -> None:
    answer = asked(world, path, method=method)
    assert answer.problem["status"] == 405
    assert re.search(rb"\r\nAllow: [A-Z, ]*GET", answer.raw)


def test_connect_and_methods_that_are_none_are_refused(world: World) -> None:
    for line in ("CONNECT magister:80", "get /summary", "G\x00T /summary", "GÉT /summary"):
        answer = said(world, f"{line} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
        assert answer.status in (400, 404, 405), answer.raw


# slow clients

HEAD = b"GET /summary HTTP/1.1\r\nHost: magister\r\nX-Slow: " + b"x" * 4000
BODY = b"DELETE /drop/1 HTTP/1.1\r\nHost: magister\r\nContent-Length: 4000\r\n\r\n" + b"x" * 3999
CHUNKS = (
    b"DELETE /drop/1 HTTP/1.1\r\nHost: magister\r\nTransfer-Encoding: chunked\r\n\r\nfa0\r\n" + b"x" * 3999
)


@pytest.mark.parametrize("request_", [HEAD, BODY, CHUNKS], ids=["head", "body", "chunks"])
def test_slow_clients_keep_nobody_waiting(world: World, request_: bytes) -> None:
    with dribbling(world, SLOW, request_), the_loop_goes_on(world):
        for _ in range(10):
            assert asked(world, "/healthz").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"DELETE /drop/1 HTTP/1.1\r\nHost: m\r\nX-Much: " + b"x" * 30_000,
        b"DELETE /drop/1 HTTP/1.1\r\nHost: m\r\nContent-Length: 60000\r\n\r\n" + b"x" * 50_000,
        b"DELETE /drop/1 HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\nea60\r\n" + b"x" * 50_000,
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk"],
)
@pytest.mark.parametrize("clients", [CROWD, FLOOD], ids=["crowd", "flood"])
def test_many_that_fall_silent_keep_nobody_waiting(world: World, sent: bytes, clients: int) -> None:
    with ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(closing(opened(world))).sendall(sent)
        with the_loop_goes_on(world):
            pass


def test_clients_that_do_not_take_their_answer_or_do_not_hang_up_keep_nobody_waiting(world: World) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(closing(socket.socket()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.connect(("127.0.0.1", world.host.port))
            connection.sendall(b"GET /instances HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n")
        with the_loop_goes_on(world):
            pass


def test_a_client_that_is_slow_but_not_that_slow_is_answered(impatient: World) -> None:
    with closing(opened(impatient)) as connection:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes((byte,)))
            threading.Event().wait(0.02)
        assert received(connection).status == 200


def test_who_sends_no_whole_request_in_time_is_told_so_and_a_drop_without_an_end_is_heard(
    impatient: World,
) -> None:
    (row,) = verified(impatient)
    head = f"{DELETE.format(path=drop_path(row))}Content-Length: 100\r\n\r\nstrikes"
    with closing(opened(impatient)) as asking, closing(opened(impatient)) as dropping:
        asking.sendall(b"GET /healthz HTTP/1.1\r\n")
        dropping.sendall(head.encode())
        assert received(asking).problem["status"] == 408
        assert received(dropping).status == 200
    impatient.until(lambda: row.contract_id not in impatient.live(), "the end of what was dropped")


# many clients, and clients that leave


def test_two_hundred_at_once_are_all_answered(world: World) -> None:
    with ThreadPoolExecutor(200) as clients, the_loop_goes_on(world):
        paths = ["/summary", "/instances", "/verify/1", "/healthz"] * 50
        answers = Counter(clients.map(lambda path: asked(world, path).status, paths))
    assert answers == {200: 150, 404: 50}


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET /summary HTTP/1.1\r\nHo",
        b"DELETE /drop/1 HTTP/1.1\r\nHost: m\r\nContent-Length: 100\r\n\r\nhalf",
        b"GET /instances HTTP/1.1\r\nHost: m\r\n\r\n",
    ],
    ids=["at once", "at a letter", "in the head", "in the body", "before the answer"],
)
def test_clients_that_hang_up_do_no_harm(world: World, sent: bytes) -> None:
    with the_loop_goes_on(world):
        for number in range(100):
            connection = opened(world)
            if number % 2:  # a reset instead of an orderly end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(sent)
            connection.close()


def test_the_service_ends_in_time_whoever_is_on_the_line(tmp_path: Path) -> None:
    with a_market() as simulator, World(tmp_path, simulator, 0, PACE) as world:
        world.start()
        world.until(world.answers, "an answer")
        with dribbling(world, SLOW, HEAD), closing(opened(world)) as silent:
            silent.sendall(b"GET /summary HTTP/1.1\r\n")
            assert world.terminate() == 0


# what is hardly HTTP


@pytest.mark.parametrize(
    ("bomb", "status"),
    [
        pytest.param("X-A: " + "x" * 1_000_000 + "\r\n", 431, id="one that is long"),
        pytest.param("".join(f"X-{number}: x\r\n" for number in range(50_000)), 431, id="many"),
        pytest.param("Cookie: " + "a=b; " * 1500 + "\r\n", 200, id="many cookies"),
        pytest.param("X\x00A: x\r\n", 400, id="NUL"),
        pytest.param(" folded\r\n", 400, id="folded"),
        pytest.param("X-A : x\r\n", 400, id="a space before the colon"),
    ],
)
def test_headers_beyond_measure_are_refused(world: World, bomb: str, status: int) -> None:
    assert asked(world, "/healthz", headers=bomb).status == status


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /summary\r\n",
        b"GET /summary\r\n\r\n",
        b"GET /summary HTTP/0.9\r\n\r\n",
        b"GET /summary HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /summary  HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: m\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
        b"\x00" * 1000,
        b"\r\n" * 1000,
        bytes(range(256)) * 40,
        b"GET / HTTP/1.1\nHost: m\n\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: m\r\n\r\n",
    ],
    ids=lambda raw: ascii(raw[:16].decode("latin-1")),
)
def test_what_is_no_request_is_refused_at_once(world: World, raw: bytes) -> None:
    answer = said(world, raw)
    assert answer.status in (400, 404, 431, 505), answer.raw


def test_what_is_refused_before_routing_is_told_in_the_log_and_does_not_fill_it(world: World) -> None:
    log = world.host.directory / "log"
    before = len(log.read_bytes())
    for _ in range(300):
        assert asked(world, "/summary", headers="X-A : x\r\n").status == 400
    written = log.read_bytes()
    assert 400 in refused_statuses(written)  # written by this test or, in the same window, by one before it
    assert len(refused_statuses(written[before:])) <= 3 * LINES  # three windows, on a slow machine


def refused_statuses(written: bytes) -> list[int]:
    return [json.loads(line)["status"] for line in written.splitlines() if b'"web.refused"' in line]


def test_one_connection_is_for_one_request(world: World) -> None:
    row = verified(world)[-1]
    pipelined = (
        b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n" + DELETE.format(path=drop_path(row)).encode() + b"\r\n"
    )
    answer = said(world, pipelined)
    assert answer.statuses == [200]
    assert b"\r\nConnection: close\r\n" in answer.raw
    assert row.contract_id in world.live()


def test_a_key_of_any_kind_is_no_trouble(world: World) -> None:
    row = verified(world)[-1]
    for key in ("", "%00", "%ff%fe", "x" * 3000, "a&key=b", "%F0%9F%94%91"):
        assert asked(world, f"/drop/{row.offer_id}x?key={key}", method="DELETE").status == 400
        assert asked(world, f"/verify/1?key={key}&beat=%00").status == 404
