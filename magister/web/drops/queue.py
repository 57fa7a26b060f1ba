"""Drops that the database does not take at once: kept, and written as soon as it does.

The coordinator asks once and listens to no answer. What it asked for is kept on disk, where it outlives this
process, else in memory, and is then named in the log if the process ends before. The answer is a 503 all the
same, since nothing is committed.

Anybody can ask. So what is known to be about an instance of ours has a room of its own; what may be a
stranger's is kept in another one, which is smaller. Each is looked up before it is carried out.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain

import structlog
from sqlalchemy.exc import SQLAlchemyError

from magister.errors import DatabaseUnusable, MagisterError, Stale, TooEarly, UnknownInstance
from magister.planner.conditions import Condition
from magister.store import requests
from magister.store.db.engine import Sessions
from magister.web.callbacks import Callbacks
from magister.web.drops.room import DropRoom, Kept
from magister.web.drops.spool import Drop, Spool
from magister.web.server.limited_log import LimitedLog
from magister.web.transactions import TROUBLE

MOST = 1000
"""Drops that are kept at a time: more than one for each box of any pool, and still a small room."""

OTHERS = 200
"""Drops of which nothing is known that are kept at a time, one for each offer."""

CROWD = 4
"""So many that are kept while the database is in trouble: the next one does not wait to see."""

AT_ONCE = 1.0
"""Seconds after which a drop that the database has not taken is kept, while it is tried further."""

RETRY = 1.0
"""Seconds between two tries to write them."""

CLOCKS_APART = timedelta(minutes=10)
"""How far the clock of the host that rented a box may be ahead of this one's."""

UNHEARD = (DatabaseUnusable, Stale, TooEarly, SQLAlchemyError, OSError)
"""What says nothing about the drop, so that it can be written later."""

log = structlog.get_logger("magister.web")


class KeptDrops:
    """Keep each drop once until it is written."""

    def __init__(
        self,
        sessions: Sessions,
        clock: Callable[[], datetime],
        spool: Spool | None = None,
        *,
        callbacks: Callbacks | None = None,
        at_once: float = AT_ONCE,
        open_callbacks: bool = False,
    ) -> None:
        """Begin with what lies in `spool`; None = all are kept in memory. `at_once` is in seconds.

        `callbacks` tells which drops are about instances of ours; None = all are taken to be.
        """
        self._sessions = sessions
        self._clock = clock
        self._open_callbacks = open_callbacks
        self._callbacks = callbacks
        self._at_once = at_once
        ours = spool or Spool(None)
        self._ours, self._others = DropRoom(ours), DropRoom(ours.beside())
        self._log = LimitedLog()
        self._lock = threading.Lock()
        self._failed: set[tuple[int, str | None]] = set()
        self._named: set[tuple[int, str | None]] = set()
        self._left = 0
        self._refused = self._others_refused = 0
        self._obstructed = False  # the database failed when they were last written

    def start(self, stop: threading.Event | None = None) -> None:
        """Write from a thread of its own until `stop` is set; None = until the process ends."""
        ended = stop or threading.Event()

        def go_on() -> None:
            while not ended.is_set():
                self.write()
                ended.wait(RETRY)

        threading.Thread(target=go_on, name="kept-drops", daemon=True).start()

    def require_no_crowd(self) -> None:
        """Raise DatabaseUnusable while the database takes none of so many that one more waits in vain."""
        if self._obstructed and self.count() >= CROWD:
            raise DatabaseUnusable("the database is in trouble, and other drops wait for it")

    @contextmanager
    def until_heard(self, drop: Drop) -> Iterator[None]:
        """Keep a drop that is not heard at once, or not at all; only what says that it cannot be lets it go.

        Raises DatabaseUnusable in the place of what makes it be heard later.
        """
        late = threading.Timer(self._at_once, self._keep, (drop,))
        late.daemon = True
        late.start()
        try:
            yield
        except UNHEARD as error:
            if not self.keep(drop):
                raise
            if not isinstance(error, MagisterError):
                self._log.error("drop.failed", offer=drop.offer_id, exc_info=error)
            words = str(error).rstrip(".") if isinstance(error, MagisterError) else "the database failed"
            raise DatabaseUnusable(f"{words}; the drop is kept, and written when it can be") from error
        except MagisterError:
            self._let_go(drop, late)
            raise
        except Exception:
            self.keep(drop)  # an error of ours, which another version may not make
            raise
        else:
            self._let_go(drop, late)
        finally:
            late.cancel()

    def keep(self, drop: Drop) -> bool:
        """Keep a drop, or say that there is no room; one that is asked for again is kept once."""
        kept = self._keep(drop)
        if not kept:
            with self._lock:
                if self._known(drop):
                    self._refused += 1
                else:
                    self._others_refused += 1
        return kept

    def write(self) -> None:
        """Write what is kept, as far as the database takes it."""
        for drop in chain(self._ours.drops(), self._others.drops()):
            try:
                self._write(drop)
            except (Stale, TooEarly):
                continue
            except (*TROUBLE, DatabaseUnusable, OSError) as error:
                log.debug(
                    "drop.still_kept", error=" ".join(str(getattr(error, "orig", None) or error).split())
                )
                self._obstructed = True
                return
            except MagisterError as error:
                self._log.warning("drop.given_up", offer=drop.offer_id, why=str(error))
            except Exception:
                if drop.of not in self._failed:
                    self._failed.add(drop.of)
                    log.exception("drop.failed", offer=drop.offer_id, why="it is tried again")
                continue
            self._forget(drop)
        self._obstructed = False

    def end(self) -> None:
        """Write what is kept for the last time, and tell of what is not written."""
        self.write()
        self.name()

    def name(self) -> None:
        """Name in the log what ends with this process, each once, and what is left to the next one."""
        for drop in self._ours.memory():
            if drop.of in self._named:
                continue
            self._named.add(drop.of)
            log.error(
                "drop.forgotten",
                offer=drop.offer_id,
                why=drop.why,
                cure=f"when the database can be written: magister drop offer:{drop.offer_id}; "
                "this process ends, and no disk takes the drop either",
            )
        if unknown := sorted(drop.offer_id for drop in self._others.memory() if drop.of not in self._named):
            self._named.update(drop.of for drop in self._others.memory())
            log.warning("drops.forgotten_unchecked", offers=unknown, why="they may be strangers'")
        spool = self._ours.spool
        left, before = spool.count(), self._left
        self._left = left
        if left > before:
            log.warning("drops.left", count=left, where=str(spool.place), until="the next start")

    def name_before(self, ending: threading.Event, within: float) -> None:
        """Once `ending` is set, wait `within` seconds for the database, and name what ends with this process.

        For a process that is killed while threads of it wait, and so never comes to its end.
        """

        def wait() -> None:
            ending.wait()
            threading.Event().wait(within)
            self.name()

        threading.Thread(target=wait, name="last-words", daemon=True).start()

    def conditions(self) -> tuple[Condition, ...]:
        """Return what an operator should know of the drops that are not written."""
        return (*self._unwritten(), *self._unchecked(), *self._lost())

    def count(self) -> int:
        """Return how many are kept, those of other processes beside this one's."""
        return self._ours.count() + self._others.count()

    def _unwritten(self) -> Iterator[Condition]:
        if not (kept := self._ours.count()):
            return
        yield Condition(
            f"{_drops(kept)} could not be written to the database yet",
            "see to the database: they are written as soon as it takes them; "
            + (
                "a restart of Magister before that forgets them"
                if self._ours.memory()
                else f"until then they lie in {self._ours.spool.place}, which a restart finds again"
            ),
            "drops_unwritten",
        )

    def _unchecked(self) -> Iterator[Condition]:
        if kept := self._others.count():
            yield Condition(
                f"{_drops(kept)} may be a stranger's, and cannot be checked yet",
                "see to the database, or wait for the first listing: those that are about instances of ours "
                "are carried out then",
                "drops_unchecked",
            )

    def _lost(self) -> Iterator[Condition]:
        with self._lock:
            refused, others = self._refused, self._others_refused
        look = (
            "look in the coordinator for workers it has given up, and drop their boxes; a restart of "
            "Magister ends this line"
        )
        if refused:
            what = f"{_drops(refused)} came while {MOST} others waited for the database, and are lost"
            yield Condition(what, look, "drops_lost")
        if others:
            room = f"{OTHERS} at a time and one for each offer"
            what = f"{_drops(others)} may have been a stranger's and found no room ({room}): they are lost"
            yield Condition(what, look, "drops_lost")

    def _known(self, drop: Drop) -> bool:
        return self._callbacks is None or self._callbacks.know(drop.offer_id, drop.key)

    def _keep(self, drop: Drop) -> bool:
        room = self._ours if self._known(drop) else self._others
        if room is self._others and not self._one_more(drop):
            return False
        kept = room.keep(drop, MOST if room is self._ours else OTHERS)
        if kept in {Kept.ON_DISK, Kept.IN_MEMORY}:
            self._log.warning(
                "drop.kept",
                per=room is self._ours,
                offer=drop.offer_id,
                why=drop.why,
                where=str(room.spool.place) if kept is Kept.ON_DISK else "memory",
                until="the database can be written",
            )
        return kept is not Kept.NOT

    def _one_more(self, drop: Drop) -> bool:
        """Say whether one of which nothing is known may be kept: one for each offer, rather with a key."""
        room = self._others
        if drop.offer_id not in room.offers():
            return True
        there = next((one for one in room.drops() if one.offer_id == drop.offer_id), drop)
        if there.key is None and drop.key is not None:
            room.forget(there)
            return True
        return there.of == drop.of

    def _let_go(self, drop: Drop, late: threading.Timer) -> None:
        """Forget a drop, also one that is being kept at this moment."""
        late.cancel()
        late.join()
        self._forget(drop)

    def _forget(self, drop: Drop) -> None:
        self._ours.forget(drop)
        self._others.forget(drop)

    def _write(self, drop: Drop) -> None:
        with self._sessions.write() as session:
            key, is_open = drop.key, self._open_callbacks
            row = requests.find(session, drop.offer_id, key=key, open_callbacks=is_open)
            if key is None and row.requested_at > drop.heard_at + CLOCKS_APART:
                raise UnknownInstance(f"instance {row.id} was rented after the drop was asked for")
            row = requests.drop(
                session,
                drop.offer_id,
                key=key,
                why=drop.why,
                now=self._clock(),
                open_callbacks=is_open,
            )
        log.info("drop.heard", instance=row.id, offer=drop.offer_id, state=row.state, why=drop.why)


def _drops(count: int) -> str:
    return "a drop that was asked for" if count == 1 else f"{count} drops that were asked for"
