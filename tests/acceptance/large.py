"""A WSGI application with an answer larger than any buffer of the kernel."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SIZE = 16 * 1024 * 1024


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer / at length, and everything else in a word."""
    body = b"x" * SIZE if environ["PATH_INFO"] == "/" else b"x"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
