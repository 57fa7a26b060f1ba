"""An answer before it is sent, so that faults can still spoil it."""

import json
from dataclasses import dataclass

JSON = "application/json"
"""Exactly this: the official command line refuses the type with a charset behind it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold a status, a body, its type and further headers."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def reply(value: object, status: int = 200) -> Reply:
    """Answer with JSON; NaN and Infinity go out bare, as Vast sends them."""
    return Reply(status, json.dumps(value).encode())


class Cut(ConnectionResetError):
    """The connection is to be closed without an answer."""
