"""What happens on the wire itself, over loopback: connections that fail, break off, are kept and are not."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import NoReturn

import pytest
import requests
from pydantic import SecretStr
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
)

from magister.domain.observed import Route
from magister.errors import Ambiguous, NotSent, Transient, VastError
from magister.vast.access import Access
from magister.vast.transport import Call, Line
from tests.waiting import PATIENCE

KEY = "0123456789abcdef" * 4
READ = Call(route=Route.ACCOUNT, method="GET", path="/api/v0/users/current/")
CREATE = Call(route=Route.CREATE, method="PUT", path="/api/v0/asks/5/", body={"label": "a"})


def received(connection: socket.socket) -> bytes:
    """Read one whole request; empty = the other side is done."""
    request = b""
    while chunk := connection.recv(65_536):
        request += chunk
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if len(body) >= (int(length[1]) if length else 0):
            break
    return request


@contextmanager
def serving(*answers: bytes) -> Iterator[tuple[str, list[int]]]:
    """Answer one request after the other, then close; also count the connections that were opened."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[int] = []
    left = list(answers)

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(PATIENCE)
            while left and received(connection):
                connection.sendall(left.pop(0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            opened.append(1)
            threads.append(Thread(target=answer, args=(connection,), daemon=True))
            threads[-1].start()

    threads = [Thread(target=serve, daemon=True)]
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", opened
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(PATIENCE)


def good(body: bytes = b'{"credit": 1}', status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def line(url: str, **more: object) -> Line:
    return Line(Access(url=url, api_key=SecretStr(KEY), **more))  # type: ignore[arg-type] # names and types are its fields'


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("call", [READ, CREATE], ids=["a read", "a create"])
def test_a_refused_connection_proves_that_nothing_was_sent(call: Call) -> None:
    with pytest.raises(NotSent, match=r"Vast cannot be reached: .*refused"):
        line(f"http://127.0.0.1:{closed_port()}").send(call)


@pytest.mark.parametrize(("call", "kind"), [(READ, Transient), (CREATE, Ambiguous)], ids=["read", "create"])
def test_a_connection_closed_without_an_answer_may_have_carried_the_request(
    call: Call, kind: type[VastError]
) -> None:
    with serving(b"") as (url, _), pytest.raises(VastError) as raised:
        line(url).send(call)
    assert type(raised.value) is kind


def test_reads_share_a_connection_and_creates_do_not() -> None:
    with serving(good(), good(), good(), good()) as (url, opened):
        asking = line(url)
        for call, connections in ((READ, 1), (READ, 1), (CREATE, 2), (CREATE, 3)):
            assert asking.send(call).status == 200
            assert len(opened) == connections
        asking.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(good(b"x" * 2000), "the body is too large", id="too large"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{",
            "the body broke off",
            id="cut short",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "the body broke off",
            id="a broken chunk",
        ),
        pytest.param(
            good(b"no gzip", headers="Content-Encoding: gzip\r\n"), "the body broke off", id="no gzip"
        ),
    ],
)
def test_a_body_that_cannot_be_read_leaves_the_status(answer: bytes, words: str) -> None:
    with serving(answer) as (url, _):
        read = line(url, body_limit=1000).send(Call(route=Route.SHOW, method="GET", path="/", params={}))
    assert read.status == 200
    assert read.fields is None
    assert words in read.words


def test_a_chunked_body_is_read_whole() -> None:
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"a": \r\n2\r\n1}\r\n0\r\n\r\n'
    with serving(chunked) as (url, _):
        assert line(url).send(READ).fields == {"a": 1}


def test_a_body_that_trickles_is_given_up() -> None:
    ticks = iter(range(0, 10_000, 100))
    with serving(good()) as (url, _):
        access = Access(url=url, api_key=SecretStr(KEY), timeout=60.0)
        read = Line(access, clock=lambda: float(next(ticks))).send(READ)
    assert read.words == "the body did not end in time"


POOL = HTTPConnectionPool("vast.test")
REFUSED = NewConnectionError(POOL, "refused")  # type: ignore[arg-type] # names and types are its fields'


@pytest.mark.parametrize(
    ("failure", "unsent"),
    [
        pytest.param(requests.ConnectTimeout(), True, id="no connection in time"),
        pytest.param(requests.ConnectionError(MaxRetryError(POOL, "/", REFUSED)), True, id="refused"),
        pytest.param(
            requests.ConnectionError(
                MaxRetryError(POOL, "/", NameResolutionError("vast.test", POOL, socket.gaierror())),  # type: ignore[arg-type] # names and types are its fields'
            ),
            True,
            id="no such name",
        ),
        pytest.param(
            requests.ConnectionError(MaxRetryError(POOL, "/", ConnectTimeoutError("slow"))), True, id="slow"
        ),
        pytest.param(
            requests.exceptions.ProxyError(MaxRetryError(POOL, "/", ProxyError("no proxy", REFUSED))),
            True,
            id="no proxy to connect to",
        ),
        pytest.param(requests.ConnectionError(ClosedPoolError(POOL, "closed")), True, id="a closed pool"),
        pytest.param(requests.ConnectionError(MaxRetryError(POOL, "/", None)), False, id="no reason given"),
        pytest.param(
            requests.ConnectionError(ProtocolError("aborted", ConnectionResetError())), False, id="reset"
        ),
        pytest.param(requests.ReadTimeout("Read timed out"), False, id="no answer in time"),
        pytest.param(requests.exceptions.SSLError("bad record"), False, id="TLS"),
        pytest.param(requests.exceptions.InvalidURL("odd"), False, id="an odd URL"),
        pytest.param(OSError(32, "Broken pipe"), False, id="a broken pipe"),
    ],
)
def test_only_a_connection_that_never_was_proves_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, unsent: bool
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(requests.Session, "request", fail)
    with pytest.raises(NotSent if unsent else Ambiguous):
        line("http://vast.test").send(CREATE)


def test_an_error_names_what_happened_and_not_the_layers_around_it() -> None:
    with pytest.raises(NotSent) as raised:
        line(f"http://127.0.0.1:{closed_port()}").send(CREATE)
    assert str(raised.value) == "Vast cannot be reached: the connection was refused"
