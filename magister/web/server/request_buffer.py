"""The bytes of one HTTP request as they arrive: when they are enough, and when they will never be.

Only as much is understood of them as it takes to see the end. Whether the request is a good one is for the
server to say, who gets all of it; so what is doubtful here is let through.

Drops and verifies are made once. What they ask for stands in the first line, so neither their headers nor
their body can spoil it: the server gets the first line, the headers that the application reads, and the
beginning of the reason. One connection is for one request, so nothing can hide in what is left out.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto
from urllib.parse import unquote, urlsplit

BODY_LIMIT = 64 * 1024
"""Bytes that are waited for of a body that nobody reads."""

REASON_LIMIT = 1024
"""Bytes that are read of the reason of a drop; it may have any length."""

LINE_LIMIT = 4094
"""Bytes that the first line may have."""

HEAD_LIMIT = 32 * 1024
"""Bytes that the first line and the headers may have together."""

RAW_LIMIT = 2 * BODY_LIMIT
"""Bytes that a body may have on its way, where chunks bring some of their own along."""

_BEGUN_LINE = re.compile(rb"[^\x00-\x1f\x7f]*\r?")
_LINE = re.compile(rb"\S+ \S+ HTTP/1\.[01]\r")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]{1,18})", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue", re.IGNORECASE)
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}(?=[ \t]*(;|$))")
_PRINTABLE = re.compile(rb"[\t\x20-\x7e\x80-\xff]{1,1024}")
_LABEL = rb"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(
    rb"[ \t]*(\[[0-9A-Fa-f:.]{2,60}\]|%b(\.%b){0,9}\.?)(:[0-9]{1,5})?[ \t]*" % (_LABEL, _LABEL)
)
_BROWSER = re.compile(
    rb"\r\n(origin|sec-fetch-site|accept-language|user-agent[ \t]*:[ \t]*mozilla/)", re.IGNORECASE
)

ODD = b"odd.invalid"
"""What a header is given as that is not what it can be: that it was there counts."""

READ_HEADERS = (b"host", b"origin", b"sec-fetch-site", b"accept-language", b"user-agent")
"""Headers of a drop or a verify that the application reads, or the access log."""


class Verdict(Enum):
    """Say what the bytes so far amount to."""

    MORE = auto()  # the rest has to come yet
    WHOLE = auto()  # all is there, or enough to refuse it
    NO_REQUEST = auto()
    LINE_TOO_LONG = auto()
    HEAD_TOO_LONG = auto()


class Kind(Enum):
    """Tell apart what has threads of its own."""

    DROP = auto()  # made once, and nobody waits for the answer
    VERIFY = auto()  # made once by a worker, or again and again by a heartbeat
    OTHER = auto()


def kind_of(data: bytes) -> Kind:
    """Return the kind of a request from its first line, as far as the server will understand that."""
    line = data[: LINE_LIMIT + 4].removeprefix(b"\r\n").partition(b"\r\n")[0]
    method, _, rest = line.partition(b" ")
    if method == b"DELETE":
        return Kind.DROP
    try:
        path = unquote(urlsplit(rest.partition(b" ")[0].decode("latin-1")).path)
    except ValueError:
        return Kind.OTHER
    return Kind.VERIFY if method == b"GET" and path.startswith("/verify/") else Kind.OTHER


class Arrival:
    """Gather one request; looks at each byte a few times at most, however small the pieces."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.data = bytearray()
        self.headed = False  # the head is there
        self.kind = Kind.OTHER  # until the first line is there
        self.expects_go_on = False  # the client waits to be told before it sends the body
        self._line_read = False
        self._searched = 0
        self._ends: int | None = None  # None = in chunks
        self._body_at = 0
        self._chunk_at = 0
        self._decoded = 0

    def take(self, piece: bytes) -> Verdict:
        """Add what came and judge all of it."""
        self.data += piece
        if not self._line_read:
            verdict = self._line()
            if verdict is not Verdict.WHOLE:
                return verdict
            self._line_read = True
            self.kind = kind_of(bytes(self.data[: LINE_LIMIT + 4]))
        if not self.headed:
            at = self.data.find(b"\r\n\r\n", self._searched, HEAD_LIMIT)
            self._searched = max(0, len(self.data) - 3)
            if at < 0 and len(self.data) >= HEAD_LIMIT:
                return Verdict.WHOLE if self.clear else Verdict.HEAD_TOO_LONG
            if at < 0:
                return Verdict.MORE
            self._head(bytes(self.data[: at + 2]))
        if self._ends is None:
            return self._chunks()
        return Verdict.WHOLE if len(self.data) >= self._ends else Verdict.MORE

    @property
    def once(self) -> bool:
        """Say whether it asks for what may be asked for once only."""
        return self.kind is not Kind.OTHER

    @property
    def clear(self) -> bool:
        """Say whether it can be answered as it is, although there may be more of it.

        Of a browser the whole head is needed: it tells which page made it ask.
        """
        return self.headed or (self.once and not _BROWSER.search(self.data))

    def request(self) -> bytes:
        """Return the request for the server: of one that is made once no more than is read."""
        if not self.once:
            return bytes(self.data)
        head = bytes(self.data[: self._body_at - 2 if self.headed else HEAD_LIMIT])
        line, *lines = head.removeprefix(b"\r\n").split(b"\r\n")[:-1]
        reason = self._reason() if self.kind is Kind.DROP else b""
        kept = [line, *_read_of(lines), b"Content-Length: %d" % len(reason)]
        return b"\r\n".join(kept) + b"\r\n\r\n" + reason

    def _reason(self) -> bytes:
        """Return the beginning of the body, as far as it is there and can be read."""
        if not self.headed:
            return b""
        if self._ends is not None:
            return bytes(self.data[self._body_at : self._ends])
        data, at, reason = bytes(self.data), self._body_at, bytearray()
        while len(reason) < REASON_LIMIT and (end := data.find(b"\r\n", at)) >= 0:
            size = _SIZE.match(data[at:end])
            length = 0 if size is None else int(size[0], 16)
            if not length:
                break
            reason += data[end + 2 : end + 2 + length]
            at = end + 2 + length + 2
        return bytes(reason[:REASON_LIMIT])

    def _line(self) -> Verdict:
        """Judge the first line, before which one empty line is allowed; WHOLE = it may be one."""
        line, end, _ = bytes(self.data[: LINE_LIMIT + 4]).removeprefix(b"\r\n").partition(b"\n")
        if end:
            return Verdict.WHOLE if _LINE.fullmatch(line) else Verdict.NO_REQUEST
        if not _BEGUN_LINE.fullmatch(line):
            return Verdict.NO_REQUEST
        return Verdict.LINE_TOO_LONG if len(line) > LINE_LIMIT else Verdict.MORE

    def _head(self, head: bytes) -> None:
        """Learn from the headers where the body ends, or what is read of it; the rest is not waited for."""
        self.headed = True
        self._body_at = self._chunk_at = len(head) + 2
        self.expects_go_on = _EXPECTS.search(head) is not None
        if self.kind is Kind.VERIFY:
            self._ends = self._body_at
            return
        if _CHUNKED.search(head):
            return
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if self.kind is Kind.DROP:
            length = min(length, REASON_LIMIT)
        self._ends = self._body_at + (length if length <= BODY_LIMIT else 0)

    def _chunks(self) -> Verdict:
        """Walk on over the chunks that are there; what is none is for the server to refuse."""
        data = self.data
        while (end := data.find(b"\r\n", self._chunk_at)) >= 0:
            size = _SIZE.match(bytes(data[self._chunk_at : end]))
            if size is None:
                return Verdict.WHOLE
            length = int(size[0], 16)
            if not length:
                trailers_end = end if data[end + 2 : end + 4] == b"\r\n" else data.find(b"\r\n\r\n", end)
                return Verdict.WHOLE if trailers_end >= 0 else self._enough(0)
            follows = end + 2 + length + 2
            if follows > len(data):
                return self._enough(len(data) - end - 2)
            self._chunk_at, self._decoded = follows, self._decoded + length
        return Verdict.WHOLE if len(data) - self._chunk_at > LINE_LIMIT else self._enough(0)

    def _enough(self, more: int) -> Verdict:
        """Wait no more for the end of a body that is too long; `more` is what came of its last chunk."""
        limit = REASON_LIMIT if self.kind is Kind.DROP else BODY_LIMIT + 1
        too_long = self._decoded + more > limit or len(self.data) - self._body_at > RAW_LIMIT
        return Verdict.WHOLE if too_long else Verdict.MORE


def _read_of(lines: list[bytes]) -> Iterator[bytes]:
    """Yield the headers that are read, each once and none that a server might refuse."""
    left = set(READ_HEADERS)
    for line in lines:
        name, _, value = line.partition(b":")
        if (name := name.strip().lower()) in left:
            left.remove(name)
            usual = (_HOST if name == b"host" else _PRINTABLE).fullmatch(value)
            yield name + b": " + (value.strip() if usual else ODD)
