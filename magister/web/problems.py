"""Errors as application/problem+json (RFC 9457)."""

import json
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from magister.errors import (
    DatabaseUnusable,
    FromBrowser,
    InstanceEnded,
    MagisterError,
    Stale,
    TooEarly,
    UnknownInstance,
    WrongKey,
)
from magister.web.server.limited_log import LimitedLog

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = 5
"""Seconds after which a database that was in trouble may be asked again."""

PATH_SHOWN = 100
"""Characters of a path that are logged: strangers choose it."""

_STATUS: Mapping[type[MagisterError], int] = {
    WrongKey: 403,
    FromBrowser: 403,
    TooEarly: 503,  # before UnknownInstance, whose kind it is: a 404 would end the beats of a box for good
    UnknownInstance: 404,
    InstanceEnded: 410,
    Stale: 503,
    DatabaseUnusable: 503,
}


def install(app: Flask, log: LimitedLog) -> None:
    """Let every error of `app` be answered as a problem, and those somebody should see be logged."""
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(MagisterError, partial(_said, log))
    app.register_error_handler(Exception, partial(_unexpected, log))


def problem(status: int, detail: str, headers: Headers | None = None) -> Response:
    """Return the problem with `status`; `headers` go along, but what they say of the body does not."""
    kept = Headers(
        [(name, value) for name, value in headers or () if not name.lower().startswith("content-")]
    )
    said = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "instance": quote(request.path),  # without the query, which holds the key
    }
    return Response(json.dumps(said), status, kept, content_type=MEDIA_TYPE)


def _refused(error: HTTPException) -> Response:
    """Answer what the framework refused, with the headers it would have set (Allow, Retry-After)."""
    headers = error.get_response().headers
    return problem(error.code or 500, error.description or error.name, headers)


def _said(log: LimitedLog, error: MagisterError) -> Response:
    """Answer an error of ours in its own words; one without a status here is unexpected."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        return _unexpected(log, error)
    log.info(
        "web.refused",
        per=status,
        status=status,
        path=request.path[:PATH_SHOWN],
        client=request.remote_addr,
        why=str(error),
    )
    headers = Headers({"Retry-After": str(RETRY_AFTER)}) if status == 503 else None
    return problem(status, str(error), headers)


def _unexpected(log: LimitedLog, error: Exception) -> Response:
    """Log what nobody foresaw, and tell the client no more than that."""
    log.error("web.failed", method=request.method, path=request.path[:PATH_SHOWN], exc_info=error)
    return problem(500, "an unexpected error; the log says more")
