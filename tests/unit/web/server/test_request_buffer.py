"""A request is seen to be complete at its last byte, in whatever pieces it comes."""

from collections.abc import Callable

import pytest
from gunicorn.config import Config
from gunicorn.http import Request, get_parser
from hypothesis import given
from hypothesis import strategies as st

from magister.web.server.request_buffer import (
    BODY_LIMIT,
    HEAD_LIMIT,
    LINE_LIMIT,
    ODD,
    RAW_LIMIT,
    REASON_LIMIT,
    Arrival,
    Kind,
    Verdict,
    kind_of,
)

START = b"POST /nowhere HTTP/1.1\r\nHost: m\r\n"
DROP = b"DELETE /drop/77?key=abc HTTP/1.1\r\nHost: m\r\n"
VERIFY = b"GET /verify/77?key=abc HTTP/1.1\r\nHost: m\r\n"
bodies = st.binary(max_size=300)


def told(body: bytes) -> bytes:
    return START + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%X;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return START + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


requests = st.one_of(
    st.just(START + b"\r\n"),
    st.just(b"\r\n" + START + b"\r\n"),
    bodies.map(told),
    st.lists(bodies).map(chunked),
    st.lists(bodies).map(lambda pieces: chunked(pieces, b"X-Trailer: 1\r\n")),
)


def arriving(request: bytes, size: int = 1) -> Arrival:
    """Take in all but the last piece of a request, none of which may be the end."""
    arrival = Arrival()
    pieces = [request[at : at + size] for at in range(0, len(request), size)]
    for piece in pieces[:-1]:
        assert arrival.take(piece) is Verdict.MORE
    return arrival


def parsed_by_the_server(request: bytes) -> Request:
    """Return what the server makes of the bytes of a request and no others."""
    return next(get_parser(Config(), iter((request,)), ("127.0.0.1", 1)))


def read(request: bytes) -> bytes:
    """Return the body that the server reads from the bytes of a request and no others."""
    parsed = parsed_by_the_server(request)
    body = parsed.body.read() if parsed.body else b""
    assert isinstance(body, bytes)
    return body


@given(request=requests, size=st.integers(1, 50))
def test_a_request_is_whole_at_its_last_byte(request: bytes, size: int) -> None:
    arrival = arriving(request, size)
    assert arrival.take(request[len(arrival.data) :]) is Verdict.WHOLE
    assert bytes(arrival.data) == request


@given(pieces=st.lists(bodies))
def test_what_is_whole_is_whole_to_the_server_too(pieces: list[bytes]) -> None:
    assert read(chunked(pieces)) == b"".join(pieces)
    assert read(told(b"".join(pieces))) == b"".join(pieces)


@given(request=st.binary(max_size=400) | requests.map(lambda request: request[:-1]), size=st.integers(1, 50))
def test_any_bytes_are_judged_alike_in_any_pieces(request: bytes, size: int) -> None:
    verdict, at = Verdict.MORE, 0
    arrival = Arrival()
    while verdict is Verdict.MORE and at < len(request):
        verdict = arrival.take(request[at : at + size])
        at += size
    whole = Arrival().take(request[:at]) if request else Verdict.MORE
    assert verdict is whole


@pytest.mark.parametrize(
    "begun",
    [
        b"\x16\x03\x01",
        b"\x00",
        b"\n",
        b"\r\n\r\n",
        b"GET /\r\n",
        b"GET /summary HTTP/0.9\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET  /  HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
    ],
)
def test_what_is_no_request_is_known_by_its_first_line(begun: bytes) -> None:
    assert Arrival().take(begun) is Verdict.NO_REQUEST


def filled(fill: Callable[[int], bytes], limit: int) -> tuple[Verdict, Verdict]:
    """Return the verdicts on what is just short enough, and on what is a byte too long."""
    return Arrival().take(fill(limit)), Arrival().take(fill(limit + 1))


def test_a_line_without_an_end_is_not_waited_for() -> None:
    assert filled(lambda size: b"GET /".ljust(size, b"x"), LINE_LIMIT) == (
        Verdict.MORE,
        Verdict.LINE_TOO_LONG,
    )


def test_a_head_without_an_end_is_not_waited_for() -> None:
    assert filled(lambda size: START.ljust(size, b"x"), HEAD_LIMIT - 1) == (
        Verdict.MORE,
        Verdict.HEAD_TOO_LONG,
    )


def test_a_body_up_to_the_limit_is_waited_for_and_a_longer_one_is_not() -> None:
    head = START + b"Content-Length: %d\r\n\r\n"
    assert filled(lambda size: head % size, BODY_LIMIT) == (Verdict.MORE, Verdict.WHOLE)


def test_chunks_that_come_to_more_than_the_limit_are_not_waited_for() -> None:
    head = START + b"Transfer-Encoding: chunked\r\n\r\n"
    one = head + b"fffffff\r\n"
    assert filled(lambda size: one + b"x" * size, BODY_LIMIT + 1) == (Verdict.MORE, Verdict.WHOLE)
    tiny = head + b"1\r\nx\r\n" * (RAW_LIMIT // 6)
    assert Arrival().take(tiny) is Verdict.MORE
    assert Arrival().take(tiny + b"1\r\nx\r\n" * 2) is Verdict.WHOLE


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-5\r\n", b"0x5\r\n", b"\r\n", b"1_0\r\n", b"5" * 5000])
def test_what_is_no_chunk_is_for_the_server_to_refuse(chunks: bytes) -> None:
    assert Arrival().take(START + b"transfer-encoding: chunked\r\n\r\n" + chunks) is Verdict.WHOLE


def test_whether_a_client_waits_to_be_told_to_go_on_is_known_with_its_head() -> None:
    for expects, line in ((True, b"EXPECT: 100-Continue\r\n"), (False, b"X-Expect: 100-continue\r\n")):
        arrival = Arrival()
        assert arrival.take(START + line + b"Content-Length: 5\r\n\r\n") is Verdict.MORE
        assert arrival.headed
        assert arrival.expects_go_on is expects


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"DELETE /drop/77?key=a HTTP/1.1", Kind.DROP),
        (b"GET /verify/77?key=a HTTP/1.1", Kind.VERIFY),
        (b"GET /verify/77?beat=60 HTTP/1.1", Kind.VERIFY),
        (b"GET /%76erify%2F77 HTTP/1.1", Kind.VERIFY),
        (b"GET http://m/verify/77 HTTP/1.1", Kind.VERIFY),
        (b"HEAD /verify/77 HTTP/1.1", Kind.OTHER),
        (b"GET /instances?x=/verify/ HTTP/1.1", Kind.OTHER),
        (b"GET http://[ HTTP/1.1", Kind.OTHER),
        (b"GET", Kind.OTHER),
    ],
)
def test_what_may_wait_is_told_from_what_only_reads_by_the_first_line(line: bytes, kind: Kind) -> None:
    assert kind_of(line + b"\r\nHost: m\r\n\r\n") is kind
    assert kind_of(b"\r\n" + line + b"\r\nHost: m\r\n\r\n") is kind


# what is made once


def heard(request: bytes) -> Request:
    """Take a request in, and return what the server makes of what it is given."""
    arrival = Arrival()
    assert arrival.take(request) is Verdict.WHOLE or arrival.clear
    return parsed_by_the_server(arrival.request())


@pytest.mark.parametrize(
    "header",
    [
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Protocol: http",
        *(b"SCRIPT_NAME: /pool", b"SCRIPT-NAME: /pool", b"PATH_INFO: /pool", b"X_Forwarded_For: 1", b"_: _"),
        *(b"X-A : x", b" folded", b"no colon", b": no name", b"X-A: \x00", b"X-A: a\nb", b"X\xe4: a"),
        *(b"Expect: a miracle", b"Host: again", b"Content-Type: a\r\nContent-Type: b", b"Upgrade: h2c"),
        *(b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: 5\r\nContent-Length: 6"),
        *(
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked, chunked",
            b"Content-Length: " + b"9" * 40,
        ),
        *(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"X-A: " + b"x" * 20_000),
        b"\r\n".join(b"X-%d: x" % number for number in range(500)),
    ],
    ids=lambda header: ascii(header[:40].decode("latin-1")),
)
@pytest.mark.parametrize("start", [DROP, VERIFY], ids=["drop", "verify"])
def test_no_header_can_refuse_what_is_made_once(start: bytes, header: bytes) -> None:
    asked = heard(start + header + b"\r\nOrigin: http://m\r\n\r\n")
    assert (asked.method, asked.uri) == tuple(word.decode() for word in start.split(b" ")[:2])
    assert {("HOST", "m"), ("ORIGIN", "http://m")} <= set(asked.headers)


@pytest.mark.parametrize("host", [b"x" * 2000, b"[", b"a\x00b", b"a b", b""])
def test_a_host_that_is_none_refuses_nothing_and_is_trusted_by_nobody(host: bytes) -> None:
    asked = heard(DROP.replace(b"Host: m", b"Host: " + host) + b"\r\n")
    assert ("HOST", ODD.decode()) in asked.headers


@pytest.mark.parametrize("host", [b"m", b"m:8555", b"203.0.113.7:8555", b"[2001:db8::7]:8555", b"a.b-c.d_e."])
def test_a_usual_host_is_handed_on(host: bytes) -> None:
    asked = heard(DROP.replace(b"Host: m", b"Host:  " + host) + b"\r\n")
    assert ("HOST", host.decode()) in asked.headers


@pytest.mark.parametrize("size", [0, 1, REASON_LIMIT, REASON_LIMIT + 1, 100 * REASON_LIMIT])
def test_of_the_reason_of_a_drop_the_beginning_is_read(size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    pieces = [body[at : at + 300] for at in range(0, size, 300)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    for request in (
        DROP + b"Content-Length: %d\r\n\r\n" % size + body,
        DROP + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
    ):
        for piece in (1, 7, 4096):
            arrival = Arrival()
            at = 0
            while arrival.take(request[at : at + piece]) is Verdict.MORE:
                at += piece
            assert at < len(request)
            assert read(arrival.request()) == body[:REASON_LIMIT]


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"Content-Length: 100\r\n\r\nstrikes", b"strikes"),
        (b"Content-Length: 3\r\n\r\nstrikes", b"str"),
        (b"Transfer-Encoding: chunked\r\n\r\n7\r\nstrikes\r\n", b"strikes"),
        (b"Transfer-Encoding: chunked\r\n\r\nff\r\nstrikes", b"strikes"),
        (b"Transfer-Encoding: chunked\r\n\r\n7\r\nstrikes\r\nzz\r\n", b"strikes"),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\nstrikes", b""),
        (b"X-A: never ending", b""),
        (b"", b""),
    ],
    ids=repr,
)
def test_a_drop_that_does_not_end_is_heard_with_what_has_come(rest: bytes, reason: bytes) -> None:
    arrival = Arrival()
    arrival.take(DROP + rest)
    assert arrival.clear
    assert read(arrival.request()) == reason


def test_for_what_follows_a_verify_nobody_waits() -> None:
    for framing in (b"Content-Length: 1000", b"Transfer-Encoding: chunked"):
        assert Arrival().take(VERIFY + framing + b"\r\n\r\n") is Verdict.WHOLE


def test_without_a_whole_first_line_nothing_is_heard() -> None:
    arrival = Arrival()
    assert arrival.take(DROP[:30]) is Verdict.MORE
    assert not arrival.clear


def test_of_a_browser_the_whole_head_is_needed() -> None:
    arrival = Arrival()
    arrival.take(DROP + b"User-Agent: Mozilla/5.0\r\nOrigin: http://elsewh")
    assert not arrival.clear
    assert arrival.take(b"x" * HEAD_LIMIT) is Verdict.HEAD_TOO_LONG


def test_what_is_made_once_is_heard_although_its_head_is_too_long() -> None:
    assert Arrival().take((DROP + b"X-A: ").ljust(HEAD_LIMIT, b"x")) is Verdict.WHOLE
    assert Arrival().take((START + b"X-A: ").ljust(HEAD_LIMIT, b"x")) is Verdict.HEAD_TOO_LONG
