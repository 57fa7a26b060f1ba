"""Drops that could not be written yet: kept in memory, and written as soon as the database takes them.

The coordinator asks once and listens to no answer. What it asked for is kept for as long as this process
lives, and named in the log if it ends before; the answer is a 503 all the same, since nothing is committed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from magister import operations
from magister.conditions import Condition
from magister.database import Sessions
from magister.errors import MagisterError, Stale, TooEarly, UnknownInstance

MOST = 1000
"""Drops that are kept at a time: more than one for each box of any pool, and still a small room."""

RETRY = 1.0
"""Seconds between two tries to write them."""

CLOCKS_APART = timedelta(minutes=10)
"""How far the clock of the host that rented a box may be ahead of this one's."""

log = structlog.get_logger("magister.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Hold what was asked for; `mac` is the key in the URL, None = there was none."""

    offer_id: int
    mac: str | None
    why: str
    heard_at: datetime


class KeptDrops:
    """Keep each drop once until it is written; `token` None = no key can be checked."""

    def __init__(self, sessions: Sessions, clock: Callable[[], datetime], token: SecretStr | None) -> None:
        """Begin with none."""
        self._sessions = sessions
        self._clock = clock
        self._token = token
        self._lock = threading.Lock()
        self._any = threading.Event()
        self._drops: dict[tuple[int, str | None], Drop] = {}
        self._refused = 0

    def start(self, stop: threading.Event | None = None) -> None:
        """Write from a thread of its own until `stop` is set; None = until the process ends."""
        ended = stop or threading.Event()

        def go_on() -> None:
            while not ended.is_set():
                self._any.wait()
                self.write()
                ended.wait(RETRY)

        threading.Thread(target=go_on, name="kept-drops", daemon=True).start()

    def keep(self, drop: Drop) -> bool:
        """Keep a drop, or say that there is no room; one that is asked for again is kept once."""
        with self._lock:
            of = (drop.offer_id, drop.mac)
            if of not in self._drops and len(self._drops) >= MOST:
                self._refused += 1
                return False
            self._drops.setdefault(of, drop)
            self._any.set()
        log.warning("drop.kept", offer=drop.offer_id, why=drop.why, until="the database can be written")
        return True

    def write(self) -> None:
        """Write what is kept, as far as the database takes it."""
        with self._lock:
            kept = tuple(self._drops.items())
        for of, drop in kept:
            try:
                self._write(drop)
            except (Stale, TooEarly):
                continue
            except SQLAlchemyError as error:
                log.debug(
                    "drop.still_kept", error=" ".join(str(getattr(error, "orig", None) or error).split())
                )
                return
            except MagisterError as error:
                log.warning("drop.given_up", offer=drop.offer_id, why=str(error))
            with self._lock:
                self._drops.pop(of, None)
                if not self._drops:
                    self._any.clear()

    def end(self) -> None:
        """Write what is kept for the last time, and name what ends with this process."""
        self.write()
        with self._lock:
            forgotten = tuple(self._drops.values())
        for drop in forgotten:
            log.error(
                "drop.forgotten",
                offer=drop.offer_id,
                why=drop.why,
                cure="drop its box by hand: this process ends, and the database does not take it",
            )

    def conditions(self) -> tuple[Condition, ...]:
        """Return what an operator should know of the drops that this process has not written."""
        with self._lock:
            kept, refused = len(self._drops), self._refused
        found: list[Condition] = []
        if kept:
            found.append(
                Condition(
                    f"{_drops(kept)} could not be written to the database yet",
                    "see to the database: they are written as soon as it takes them; a restart of Magister "
                    "before that forgets them",
                    "drops_unwritten",
                )
            )
        if refused:
            found.append(
                Condition(
                    f"{_drops(refused)} came while {MOST} others waited for the database, and are lost",
                    "look in the coordinator for workers it has given up, and drop their boxes; a restart of "
                    "Magister ends this line",
                    "drops_lost",
                )
            )
        return tuple(found)

    def _write(self, drop: Drop) -> None:
        with self._sessions.write() as session:
            mac, token = drop.mac, self._token
            row = operations.find(session, drop.offer_id, mac=mac, token=token)
            if mac is None and row.requested_at > drop.heard_at + CLOCKS_APART:
                raise UnknownInstance(f"instance {row.id} was rented after the drop was asked for")
            row = operations.drop(
                session, drop.offer_id, mac=mac, token=token, why=drop.why, now=self._clock()
            )
        log.info("drop.heard", instance=row.id, offer=drop.offer_id, state=row.state, why=drop.why)


def _drops(count: int) -> str:
    return "a drop that was asked for" if count == 1 else f"{count} drops that were asked for"
