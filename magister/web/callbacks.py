"""Which callback URLs are our instances' own, remembered for while the database is away.

Verifies and drops are made once. While the database does not answer, calls of strangers must not take the
places and the room that those of workers and of the coordinator need. So each web process remembers what it
last read: the callback URLs of live instances, and the secret by which any key of ours is known.
"""

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister.domain import callback_key
from magister.errors import DatabaseUnusable
from magister.store import instances, pool
from magister.store.db.engine import Sessions

EVERY = 5.0
"""Seconds between two readings: an instance of the last ones is not remembered yet."""

log = structlog.get_logger("magister.web")


class Callbacks:
    """Remember the callback URLs of live instances."""

    def __init__(self, sessions: Sessions, *, open_callbacks: bool = False) -> None:
        """Begin with nothing known; `open_callbacks` = a call without a key may mean any instance."""
        self._sessions = sessions
        self._open_callbacks = open_callbacks
        self._live: frozenset[tuple[int, str | None]] = frozenset()
        self._heard: frozenset[tuple[int, str | None]] = frozenset()  # since the last reading began
        self._lock = threading.Lock()
        self._secret: str | None = None
        self._warned = False

    def start(self, stop: threading.Event | None = None) -> None:
        """Read now and again from a thread of its own until `stop` is set; None = until the process ends."""
        ended = stop or threading.Event()

        def go_on() -> None:
            while not ended.is_set():
                self.read()
                ended.wait(EVERY)

        threading.Thread(target=go_on, name="callbacks", daemon=True).start()

    def read(self) -> None:
        """Read which instances live, and go on with what is known if the database does not answer."""
        with self._lock:
            heard, self._heard = self._heard, frozenset()
            self._live |= heard
        try:
            with self._sessions.read() as session:
                live, secret = instances.live_callbacks(session), pool.made_secret(session)
        except (SQLAlchemyError, DatabaseUnusable, OSError) as error:
            log.debug(
                "callbacks.not_read", error=" ".join(str(getattr(error, "orig", None) or error).split())
            )
            return
        self._secret = secret
        self._warn(sum(self._is_open(row) for row in live))
        keyless = {(row.offer_id, None) for row in live if self._is_open(row)}
        with_key = {(row.offer_id, row.callback_key) for row in live if row.callback_key}
        self._live = frozenset(keyless | with_key)

    def note(self, offer_id: int, key: str | None) -> None:
        """Remember a callback URL at which a worker was heard, before the next reading."""
        with self._lock:
            self._heard |= {(offer_id, key)}

    def know(self, offer_id: int, key: str | None) -> bool:
        """Say whether a call is sure to be about an instance of ours; False = it may be all the same."""
        if (offer_id, key) in self._live or (offer_id, key) in self._heard:
            return True
        secret = self._secret
        return key is not None and secret is not None and callback_key.is_signed(secret, offer_id, key)

    def _is_open(self, row: instances.Callback) -> bool:
        """Say whether a call without a key may mean this instance."""
        return self._open_callbacks or row.keyless

    def _warn(self, keyless: int) -> None:
        """Log once in a process that some callback URLs have no key."""
        if not keyless or self._warned:
            return
        self._warned = True
        log.warning(
            "callbacks.keyless",
            instances=keyless,
            so="whoever reaches http_port can verify and drop them",
            cure="let a firewall pass workers and the coordinator only; what is rented from now on has a key",
        )
