"""Hierophant over HTTP: two lists, each read once, wholly, or not at all."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from magister import __version__
from magister.domain.observed import Roster
from magister.errors import Unreachable
from magister.hierophant import schemas
from magister.http_errors import one_line, told

BODY_LIMIT = 512 * 1024 * 1024
"""Bytes of a list, more than a million entries: the dead are never pruned. They are read as they come."""

_CHUNK = 65_536
_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)

log = logging.getLogger("magister.hierophant")


class HttpHierophant:
    """Ask Hierophant over HTTP, from one thread at a time.

    Proxies and certificates are taken from the environment, as requests does. Nothing is signed, cookies are
    refused and no redirect is followed.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime],
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        body_limit: int = BODY_LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open no connection yet.

        `timeout` is how long an answer may take to begin, and again for all of its body, in seconds;
        `clock` tells the time in UTC, `monotonic` is in seconds.
        """
        self._url = url.rstrip("/")
        self._clock = clock
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._body_limit = body_limit
        self._monotonic = monotonic
        self._session = requests.Session()
        self._session.auth = _unsigned  # else requests takes a password for this host from a .netrc file
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["User-Agent"] = f"magister/{__version__}"
        self._session.headers["Accept"] = "application/json"
        self._session.mount(self._url, HTTPAdapter(max_retries=0))

    def roster(self) -> Roster:
        """Read both lists, the dead first; raises Unreachable."""
        begun_at = self._clock()
        # The other way round, one that comes back between the two would be among the dead alone.
        dead = self._listed("/dead-contemplants")
        living = self._listed("/contemplants")
        unread = dead.unread + living.unread
        if unread:
            log.info("%d entries of Hierophant's lists could not be read", unread)
        return Roster(begun_at, frozenset(living.endpoints), Counter(dead.endpoints), unread)

    def close(self) -> None:
        """Close the connections that are kept open; a later call opens new ones."""
        self._session.close()

    def _listed(self, path: str) -> schemas.Listed:
        url = self._url + path
        try:
            return schemas.read(self._chunks(url))
        except schemas.NoList as oddity:
            raise Unreachable(f"{url} gave no list of workers: {oddity}") from None
        except _FAILURES as failure:
            raise Unreachable(f"{url} cannot be read: {told(failure)}") from None

    def _chunks(self, url: str) -> Iterator[bytes]:
        with self._session.get(
            url,
            timeout=(self._connect_timeout, self._timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != HTTPStatus.OK:
                raise schemas.NoList(one_line(f"{response.status_code} {response.reason or ''}"))
            read, ends = 0, self._monotonic() + self._timeout
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                read += len(chunk)
                if read > self._body_limit:
                    raise schemas.NoList(f"more than {self._body_limit} bytes")
                if self._monotonic() > ends:
                    raise schemas.NoList(f"the body did not end within {self._timeout:g} s")
                yield chunk


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
