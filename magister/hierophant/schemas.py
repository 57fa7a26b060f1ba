"""Hierophant's lists of workers: pairs of an address and facts, of which the drop endpoint matters here."""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from magister.http_errors import one_line

ENDPOINT = "magister_drop_endpoint"

ENTRY_LIMIT = 1024 * 1024
"""Characters of one entry; it has about 400."""

_DECODER = json.JSONDecoder()


class NoList(Exception):
    """The answer is not a list of workers; the message says what it is instead."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Hold the drop endpoints of one list, once for each entry, and how many entries could not be read."""

    endpoints: tuple[str, ...]
    unread: int


def listed(raw: bytes) -> Listed:
    """Read a list that came as a whole; see `read`."""
    return read([raw])


def read(chunks: Iterable[bytes]) -> Listed:
    """Read a list of `[address, {facts}]` as it comes; a worker without a drop endpoint is left out.

    Only the endpoints are kept, so a list may be much longer than what fits into memory as JSON. Raises
    NoList for anything else, also for a list of which nothing can be read.
    """
    text, endpoints, unread, some = _Text(chunks), list[str](), 0, False
    for entry in text.entries():
        endpoint = _endpoint(entry)
        if isinstance(endpoint, _Unread):
            unread += 1
            continue
        some = True
        if endpoint is not None:
            endpoints.append(endpoint)
    if unread and not some:
        raise NoList(f"a list of something else: {text.shown}")
    return Listed(tuple(endpoints), unread)


class _Unread:
    """Stand for an entry that cannot be read."""


def _endpoint(entry: object) -> str | _Unread | None:
    """Return the endpoint of an entry; None = its worker was given none."""
    facts: object = entry[1] if isinstance(entry, list) and len(entry) > 1 else None
    if not isinstance(facts, dict):
        return _Unread()
    endpoint: object = facts.get(ENDPOINT)
    return endpoint if endpoint is None or isinstance(endpoint, str) else _Unread()


class _Text:
    """Hold the part of a JSON list that has come and is not read yet."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._text = ""
        self._at = 0
        self.shown = "nothing"

    def entries(self) -> Iterator[object]:
        """Yield the entries of the list, each as soon as it is there; raises NoList."""
        if self._next() != "[":
            raise NoList(self._what())
        self._at += 1
        if self._next() == "]":
            self._at += 1
        else:
            while True:
                yield self._entry()
                mark = self._next()
                self._at += 1
                if mark == "]":
                    break
                if mark != ",":
                    raise NoList(f"not JSON, but {self.shown}")
        if self._next():
            raise NoList(f"not JSON, but {self.shown}")

    def _entry(self) -> object:
        """Decode one value; one that reaches the end of what has come may go on in the next chunk."""
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise NoList(f"not JSON, but {self.shown}") from None
            except ValueError:
                value, end = None, -1
            if 0 <= end < len(self._text):
                self._at = end
                return value
            if len(self._text) - self._at > ENTRY_LIMIT or not self._more():
                raise NoList(f"not JSON, but {self.shown}")

    def _next(self) -> str:
        """Return the next character that is no space; "" = there is none."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Take in the next chunk, and let go of what is read; False = there is none."""
        for chunk in self._chunks:
            if self.shown == "nothing":
                self.shown = _shown(chunk)
            try:
                came = self._decoder.decode(chunk)
            except UnicodeDecodeError:
                raise NoList(f"not JSON, but {self.shown}") from None
            self._text, self._at = self._text[self._at :] + came, 0
            if came:
                return True
        return False

    def _what(self) -> str:
        """Say what came in the place of a list."""
        try:
            json.loads(self._text + "".join(chunk.decode("utf-8", "replace") for chunk in self._chunks))
        except (ValueError, RecursionError):
            return f"not JSON, but {self.shown}"
        return f"JSON of another kind: {self.shown}"


def _shown(raw: bytes) -> str:
    return one_line(raw[:80].decode("utf-8", "replace")) or "nothing"
