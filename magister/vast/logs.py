"""Fetch logs from where Vast says they are: a foreign place, which gets no key and little trust."""

from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import SplitResult, urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from magister import __version__
from magister.errors import Refused, Transient
from magister.http_errors import told

TAIL = 200
"""Lines that Vast is asked for."""

LARGEST = 1_000_000
"""Bytes that are read; of a longer log, which was not asked for, the rest is left where it is."""

KEPT = 65_536
"""Bytes that are returned, the last of those read."""

EVERY = 1.0
"""Seconds between two looks whether the logs have come."""

LONGEST_LOOK = 5.0
"""Seconds that one look may wait for an answer, so that one that hangs is not the only one."""

_CHUNK = 65_536
_NOT_YET = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS})
_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class Nobody(AuthBase):
    """Sign nothing; being the session's own, it also keeps a .netrc file from doing so."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request as it is."""
        return request


class Shelf:
    """Fetch what Vast has uploaded for us. No redirect is followed, no cookie kept, and no key sent."""

    def __init__(self, vast: str, *, nap: Callable[[float], None], clock: Callable[[], float]) -> None:
        """Take where Vast itself is; `nap` waits for seconds or raises Stopping, `clock` is monotonic."""
        self._vast = _origin(urlsplit(vast))
        self._nap = nap
        self._clock = clock
        self._session = requests.Session()
        self._session.auth = Nobody()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["User-Agent"] = f"magister/{__version__}"

    def fetch(self, url: str, ends: float) -> str:
        """Return the last KEPT bytes at `url` as text, looked for until `ends` on the clock.

        Until they are uploaded there is a 403 or a 404. Raises Refused for a place that is not fetched
        from, and Transient if they did not come.
        """
        self._require_harmless(url)
        trouble = "they did not come in time"
        while (left := ends - self._clock()) > 0:
            try:
                found = self._look(url, ends, min(left, LONGEST_LOOK))
            except _FAILURES as failure:
                found, trouble = None, told(failure)
            if found is not None:
                return found
            self._nap(min(EVERY, max(ends - self._clock(), 0)))
        raise Transient(f"no logs: {trouble}")

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def _require_harmless(self, url: str) -> None:
        """Let nothing be fetched but by HTTPS, or from where Vast itself is, as when it is simulated."""
        try:
            parts = urlsplit(url)
            harmless = parts.scheme == "https" or _origin(parts) == self._vast
            plain = parts.username is None and parts.password is None and bool(parts.hostname)
        except ValueError:
            harmless = plain = False
        if not (harmless and plain):
            raise Refused("Vast names a place for the logs that is not fetched from")

    def _look(self, url: str, ends: float, timeout: float) -> str | None:
        """Return what is there; None = nothing yet. Raises Refused for an answer that is no log."""
        with self._session.get(url, timeout=timeout, allow_redirects=False, stream=True) as response:
            if response.status_code == HTTPStatus.OK:
                return self._read(response, ends)
            if response.status_code in _NOT_YET or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return None
            raise Refused(f"the place of the logs answers {response.status_code}")

    def _read(self, response: requests.Response, ends: float) -> str:
        raw, read = bytearray(), 0
        while read < LARGEST and self._clock() < ends and (chunk := self._chunk(response)):
            raw += chunk
            read += len(chunk)
            del raw[:-KEPT]
        if read > KEPT:  # its first line has lost its beginning, by which a secret would have been known
            raw = raw.partition(b"\n")[2]
        return bytes(raw).decode("utf-8", "replace")

    def _chunk(self, response: requests.Response) -> bytes:
        chunk: bytes = response.raw.read1(_CHUNK, decode_content=True)
        return chunk


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port
