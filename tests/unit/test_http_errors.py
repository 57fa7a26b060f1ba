"""What happened on the wire, in words for people."""

import json
import socket
from collections.abc import Callable
from http.client import RemoteDisconnected

import pytest
import requests
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    IncompleteRead,
    MaxRetryError,
    NameResolutionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from magister.http_errors import told

POOL = HTTPConnectionPool("vast.example")
HERE = HTTPConnection("vast.example")


def not_json() -> Exception:
    try:
        json.loads("<html>")
    except ValueError as error:
        return error
    raise AssertionError


FAILURES: list[tuple[Callable[[], Exception], str]] = [
    (
        lambda: requests.ReadTimeout(ReadTimeoutError(POOL, "/", "Read timed out. (read timeout=30)")),
        "no answer came in time",
    ),
    (
        lambda: requests.ConnectTimeout(MaxRetryError(POOL, "/", ConnectTimeoutError(HERE, "timed out"))),
        "no connection was made in time",
    ),
    (
        lambda: requests.ConnectionError(
            MaxRetryError(POOL, "/", NameResolutionError("vast.example", HERE, socket.gaierror("unknown")))
        ),
        "the name of the host is not known",
    ),
    (
        lambda: requests.ConnectionError(
            ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
        ),
        "the connection broke off",
    ),
    (
        lambda: requests.ConnectionError(
            ProtocolError("Connection aborted.", RemoteDisconnected("Remote end closed connection"))
        ),
        "the connection broke off",
    ),
    (
        lambda: requests.exceptions.ChunkedEncodingError(ProtocolError("broken", IncompleteRead(7, 9))),
        "the answer broke off",
    ),
    (
        lambda: requests.exceptions.SSLError(
            MaxRetryError(POOL, "/", SSLError("certificate verify failed: self-signed certificate"))
        ),
        "the certificate of the host is not accepted",
    ),
    (not_json, "the answer is not JSON"),
    (lambda: OSError(101, "Network is unreachable"), "the network does not reach the host"),
    (lambda: OSError("something else"), "something else"),
    (RuntimeError, "an error without words (RuntimeError)"),
]


@pytest.mark.parametrize(("failure", "words"), FAILURES)
def test_what_happened_is_said_in_plain_words(failure: Callable[[], Exception], words: str) -> None:
    assert told(failure()) == words


def test_a_secret_in_an_error_is_masked() -> None:
    assert told(OSError("no key-of-mine here"), "key-of-mine") == "no *** here"
