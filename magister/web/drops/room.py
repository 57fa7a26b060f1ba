"""Room for so many drops that wait for the database: on disk, or else in memory."""

import threading
from collections.abc import Iterator
from enum import Enum, auto

from magister.web.drops.spool import Drop, Spool


class Kept(Enum):
    """Say what became of a drop that was to be kept."""

    ON_DISK = auto()
    IN_MEMORY = auto()
    ALREADY = auto()
    NOT = auto()  # there is no room


class DropRoom:
    """Keep each drop once; one that is asked for again is the same one."""

    def __init__(self, spool: Spool) -> None:
        """Begin with what lies in `spool`."""
        self.spool = spool
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._unspooled: dict[tuple[int, str | None], Drop] = {}

    def keep(self, drop: Drop, most: int) -> Kept:
        """Keep a drop while there are fewer than `most`."""
        with self._keeping:  # this thread's, or a timer's
            with self._lock:
                known = drop.of in self._unspooled
            if known or self.spool.has(drop):
                return Kept.ALREADY
            if self.count() >= most:
                return Kept.NOT
            if self.spool.put(drop):
                return Kept.ON_DISK
            with self._lock:
                self._unspooled[drop.of] = drop
            return Kept.IN_MEMORY

    def drops(self) -> Iterator[Drop]:
        """Yield what is kept; what found no room on the disk is put there first if there is some by now."""
        for drop in self.memory():
            if self.spool.put(drop):
                self._leave_memory(drop)
        yield from (*self.memory(), *self.spool.drops())

    def memory(self) -> tuple[Drop, ...]:
        """Return what is on no disk, and ends with this process."""
        with self._lock:
            return tuple(self._unspooled.values())

    def offers(self) -> frozenset[int]:
        """Return the offers that something is kept for."""
        return frozenset(drop.offer_id for drop in self.memory()) | self.spool.offers()

    def count(self) -> int:
        """Return how many are kept, those of other processes beside this one's."""
        return len(self.memory()) + self.spool.count()

    def forget(self, drop: Drop) -> None:
        """Keep a drop no longer."""
        self._leave_memory(drop)
        self.spool.remove(drop)

    def _leave_memory(self, drop: Drop) -> None:
        with self._lock:
            self._unspooled.pop(drop.of, None)
