"""One request over HTTP, sent once, and its answer or the error that says whether it may have arrived."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import ClosedPoolError, ConnectTimeoutError, HTTPError, NewConnectionError

from magister import __version__
from magister.domain.observed import Route
from magister.errors import Ambiguous, BadKey, NotSent, Transient, VastError
from magister.http_errors import causes, told
from magister.vast import response as answer
from magister.vast.access import Access

CONNECTIONS = 16
"""Connections kept open: one for each thread that may call at the same time, and some."""

ASKS = "/api/v0/asks/"
"""Where offers are taken."""

_CHUNK = 65_536
_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Hold one request: its route, method and path, its query and its JSON body; None = no body."""

    route: Route
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    timeout: float | None = None  # seconds to wait at most; None = as long as for any call


class Bearer(AuthBase):
    """Put the key into the header; being the session's own, it also keeps a .netrc file from replacing it."""

    def __init__(self, access: Access) -> None:
        """Take the key from `access`."""
        self._key = access.api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request."""
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request


class Line:
    """Send requests over one session, which several threads may share: nothing in it changes between calls.

    Proxies and certificates are taken from the environment, as requests does. Cookies are refused, no
    redirect is followed and nothing is sent twice.
    """

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open no connection yet; `clock` is monotonic, in seconds."""
        self._access = access
        self._clock = clock
        self._url = access.url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = Bearer(access)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["User-Agent"] = f"magister/{__version__}"
        self._session.headers["Accept"] = "application/json"
        self._asks = HTTPAdapter(max_retries=0)
        self._session.mount(self._url, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=0))
        self._session.mount(self._url + ASKS, self._asks)

    def send(self, call: Call) -> answer.Answer:
        """Send one request once and read its answer, whatever its status.

        Raises NotSent when it provably never left; else, without an answer, Ambiguous for a create and
        Transient for anything else; BadKey without sending when the key cannot be one.
        """
        secret = self._access.api_key.get_secret_value()
        if not (secret.isascii() and secret.isprintable()) or " " in secret or not secret:
            raise BadKey("vast_api_key is empty or has characters no key has; set it to a valid one")
        try:
            return self._answer(call, secret)
        except _FAILURES as failure:
            raise _lost(call.route, tuple(causes(failure)), told(failure, secret)) from None

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def _answer(self, call: Call, secret: str) -> answer.Answer:
        if call.route is Route.CREATE:
            # A kept connection may be dead already, and then nobody knows whether the request was heard.
            self._asks.close()
        with self._session.request(
            call.method,
            self._url + call.path,
            params=dict(call.params),
            json=call.body,
            timeout=_timeouts(self._access, call.timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            raw, trouble = self._body(response)
            return answer.read(
                response.status_code,
                response.headers,
                raw,
                at=datetime.now(UTC),
                secret=secret,
                trouble=trouble,
            )

    def _body(self, response: requests.Response) -> tuple[bytes, str]:
        """Read the body and say what kept it from being read, "" = nothing; the status counts even so."""
        raw = bytearray()
        ends = self._clock() + self._access.timeout
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                raw += chunk
                if len(raw) > self._access.body_limit:
                    return b"", "the body is too large"
                if self._clock() > ends:
                    return b"", "the body did not end in time"
        except _FAILURES:
            return b"", "the body broke off"
        return bytes(raw), ""


def _timeouts(access: Access, most: float | None) -> tuple[float, float]:
    """Return how long to wait for the connection and for the answer, each `most` at the longest."""
    longest = access.timeout if most is None else most
    return min(access.connect_timeout, longest), min(access.timeout, longest)


def _lost(route: Route, why: tuple[BaseException, ...], words: str) -> VastError:
    """Name a call without an answer by whether it may have taken effect."""
    unsent = (requests.ConnectTimeout, ConnectTimeoutError, NewConnectionError, ClosedPoolError)
    if any(isinstance(cause, unsent) for cause in why):
        return NotSent(f"Vast cannot be reached: {words}")
    kind = Ambiguous if route is Route.CREATE else Transient
    return kind(f"Vast did not answer: {words}")
