"""One answer of Vast, read once: its status, its headers, its JSON object and its words."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import islice

from magister.http_errors import one_line
from magister.vast.values import mapping

_KEPT = 4000  # characters of them that are kept to classify by
_CODES = ("code", "error", "type", "name")
"""Where an error that is an object may have its word."""

_WORDY = ("error", "code", "msg", "message", "detail", "details", "reason", "errors", "title")
"""Names under which errors have words; others are not read, for what was sent may be repeated there."""

_PARTS = 20
_DEPTH = 6
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold one answer of Vast.

    `fields` is the JSON object of the body; None = there was none, or it could not be read.
    """

    status: int
    at: datetime  # when it came
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # names in lower case
    fields: Mapping[str, object] | None = field(default=None, repr=False)
    said: str = field(default="", repr=False)  # Vast's words in lower case, to classify by
    words: str = ""  # the same in one short line, to show

    @property
    def code(self) -> str:
        """Return Vast's error word; "" = there is none."""
        error = (self.fields or {}).get("error")
        if isinstance(error, dict):
            error = next((word for name in _CODES if isinstance(word := error.get(name), str)), "")
        return error if isinstance(error, str) else ""

    @property
    def good(self) -> bool:
        """Say whether the status is one of success."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def denied(self) -> bool:
        """Say whether the body says that it failed, whatever the status."""
        fields = self.fields or {}
        success = fields.get("success")
        if success in (False, "false", "False"):
            return True
        return success is None and bool(self.code)

    @property
    def worded(self) -> bool:
        """Say whether the body is an error in Vast's own form, not that of a proxy in between.

        That is an error word, a `msg`, or, with the `success` of false that is Vast's, words of any form.
        """
        fields = self.fields or {}
        if isinstance(fields.get("error"), str) or "success" in fields:
            return bool(self.code or _told(fields))
        return isinstance(fields.get("msg"), str) and bool(fields["msg"])

    def __str__(self) -> str:
        """Say the answer in one line."""
        return f"Vast said {self.status}: {self.words or 'nothing'}"


def read(
    status: int, headers: Mapping[str, str], raw: bytes, *, at: datetime, secret: str = "", trouble: str = ""
) -> Answer:
    """Make an answer of what came.

    `secret` is masked in the words; `trouble` = why the body could not be read, "" = it could.
    """
    names = {name.lower(): value for name, value in headers.items()}
    parsed = None if trouble else _parsed(raw)
    fields = mapping(parsed)
    told = isinstance(parsed, dict | list)
    said = trouble or (_told(parsed) if told else _plain(raw))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        said = f"redirected to {names.get('location', 'nowhere')}"
    # What is left of broken JSON may hold the key that Vast gave to a box, so it is not shown.
    broken = not told and said.lstrip().startswith(("{", "[", '"'))
    return Answer(
        status=status,
        at=at,
        headers=names,
        fields=fields,
        said=" ".join(said[:_KEPT].lower().split()),
        words="broken JSON" if broken else one_line(said, secret),
    )


def _parsed(raw: bytes) -> object:
    """Parse JSON with NaN and the infinities as null; None = it is not JSON."""
    try:
        parsed: object = json.loads(raw, parse_constant=_null, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return parsed


def _null(_: str) -> None:
    return None


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _told(parsed: object) -> str:
    """Join what a body says of an error, however it is nested; of other fields nothing is shown."""
    parts = [part for part in islice(_words(parsed), _PARTS) if part]
    return ": ".join(part for part in parts if not any(part in other and part != other for other in parts))


def _words(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the words of an error: a text, a list of them, or an object with words under the usual names.

    The place that a complaint is about, `loc`, comes before what is wrong with it.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < _DEPTH:
        for one in value:
            yield from _words(one, depth + 1)
    elif isinstance(value, dict) and depth < _DEPTH:
        if isinstance(place := value.get("loc"), list):
            yield ".".join(str(step) for step in place if isinstance(step, str | int))
        for name in _WORDY:
            yield from _words(value.get(name), depth + 1)


def _plain(raw: bytes) -> str:
    """Take a body that is not an object as text, less the markup of HTML pages."""
    return _TAGS.sub(" ", raw[:_KEPT].decode("utf-8", "replace"))
