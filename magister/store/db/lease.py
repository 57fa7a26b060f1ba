"""Which loop acts: a row that expires, and a kernel lock that proves at once that its holder is dead."""

import fcntl
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from magister.errors import LeaseLost
from magister.store.db.engine import Sessions
from magister.store.db.models import Lease, Utc
from magister.store.db.sqlite import sqlite_file

LOOP_LOCK = 0x4D61_676C
"""The PostgreSQL advisory lock that the acting loop holds: the letters "Magl"."""

HELD = text(
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = :lock AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Ask whether any session of this PostgreSQL database holds an advisory lock."""

LONGEST_HOST_NAME = 40
"""Characters of the host's name in the lease, whose holder has 64 in all."""


class KernelLock(Protocol):
    """A lock that its holder's death releases, whatever the holder did not get to do."""

    def take(self) -> bool:
        """Take the lock, or say that another holds it; taking it again is harmless."""

    def release(self) -> None:
        """Give the lock back."""


class FileLock:
    """Lock a file beside the SQLite database; process ids would lie between containers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock, or say that another holds it."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def free(self) -> bool:
        """Say whether nobody holds the lock; False also where that cannot be seen. Nothing is changed."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> None:
        """Give the lock back by closing the file, which stays where it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AdvisoryLock:
    """Lock a number for as long as one PostgreSQL connection lives."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._locked = False

    def take(self) -> bool:
        """Take the lock, or say that another holds it; the connection is kept for the next try."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            query = "SELECT 1" if self._locked else f"SELECT pg_try_advisory_lock({LOOP_LOCK})"
            self._locked = bool(self._connection.scalar(text(query)))
        except DBAPIError:
            self.release()
            raise
        return self._locked

    def release(self) -> None:
        """Give the lock back, and close its connection."""
        held, self._locked = self._locked, False
        if self._connection is not None:
            if held:
                with suppress(SQLAlchemyError):  # the server frees it with the connection, a moment later
                    self._connection.execute(text(f"SELECT pg_advisory_unlock({LOOP_LOCK})"))
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


class NoLock:
    """Stand in where no kernel lock is to be had: a database in memory. The row alone decides."""

    def take(self) -> bool:
        """Say that nothing is proved."""
        return False

    def release(self) -> None:
        """Do nothing."""


def kernel_lock(sessions: Sessions) -> KernelLock:
    """Return the lock that fits the database."""
    if sessions.engine.dialect.name == "postgresql":
        return AdvisoryLock(sessions.engine)
    path = sqlite_file(sessions.engine.url.render_as_string(hide_password=False))
    return NoLock() if path is None else loop_lock(path)


def loop_lock(database: Path) -> FileLock:
    """Return the lock that the loop which acts on a SQLite file holds."""
    return FileLock(database.with_name(database.name + ".loop"))


def this_host() -> str:
    """Return the name of this machine, as far as the name of a holder has room for it."""
    return socket.gethostname()[:LONGEST_HOST_NAME]


@dataclass(frozen=True, slots=True)
class Acting:
    """Name the process of the loop that acts; `here` = on this machine."""

    host: str
    pid: int
    here: bool


def acting(session: Session, now: datetime) -> Acting | None:
    """Return which loop holds the lease; None = none does."""
    row = session.scalars(select(Lease).where(Lease.id == 1)).one()
    named = re.fullmatch(r"(.+):(\d+):[0-9a-f]+", row.holder)
    if named is None or row.expires_at <= LeaseHolder.time(session, now) or ended(session, now):
        return None
    return Acting(named[1], int(named[2]), here=named[1] == this_host())


def ended(session: Session, now: datetime) -> bool:
    """Say whether the loop that acted last acts no more; False also if none ever did.

    Then the lock that it held is free, however it ended. Without a lock the end of its lease tells. One that
    is late, since it cannot write, still holds its lock.
    """
    row = session.scalars(select(Lease).where(Lease.id == 1)).one()
    if row.fence == 0:
        return False
    return _freed(session) if row.locked else row.expires_at <= LeaseHolder.time(session, now)


def _freed(session: Session) -> bool:
    """Say whether nobody holds the lock of the acting loop, as far as that can be seen from here."""
    engine = session.get_bind().engine
    if engine.dialect.name == "postgresql":
        return session.scalar(HELD, {"lock": LOOP_LOCK}) is None
    path = sqlite_file(engine.url.render_as_string(hide_password=False))
    return path is not None and loop_lock(path).free()


class Ground(StrEnum):
    """Say by what right a loop took the lease."""

    FIRST = "nobody had the lease before"
    ENDED = "the last holder has ended: its lock is free"
    EXPIRED = "the lease of the last holder had ended"


class LeaseHolder:
    """Take, renew and check the lease on behalf of one loop.

    `fence` is the number under which this holder acts; None = it does not hold the lease. `ground` is by
    what right it last took it; None = it never did.
    """

    def __init__(
        self, sessions: Sessions, lock: KernelLock, *, holder: str, lasts: timedelta, renew: timedelta
    ) -> None:
        self._sessions = sessions
        self._lock = lock
        self._holder = holder
        self._lasts = lasts
        self._renew = renew
        self._renewed_at: datetime | None = None
        self.fence: int | None = None
        self.ground: Ground | None = None

    @property
    def margin(self) -> timedelta:
        """Return for how long after a check of the lease nobody else can have taken it."""
        return self._lasts - self._renew

    def hold(self, now: datetime) -> bool:
        """Hold the lease after this call, or say that another loop does; returns at once either way."""
        if self.fence is not None:
            fresh = self._renewed_at is not None and timedelta() <= now - self._renewed_at < self._renew
            if fresh or self._renewed(now):
                return True
            self.fence = None
            self._lock.release()
        return self._taken(now)

    def require(self, session: Session, now: datetime) -> int:
        """Return the fence if the lease is still this holder's within `session`, else raise LeaseLost.

        On PostgreSQL the row stays locked against a successor until the transaction ends.
        """
        query = select(Lease).where(Lease.id == 1).with_for_update(read=True)
        row = session.scalars(query).one()
        if self.fence is None or row.fence != self.fence or row.expires_at <= self.time(session, now):
            raise LeaseLost
        return row.fence

    def release(self, now: datetime) -> None:
        """Let a successor take the lease without waiting."""
        if self.fence is not None:
            with self._sessions.write() as session:
                mine = update(Lease).where(Lease.id == 1, Lease.fence == self.fence)
                session.execute(mine.values(expires_at=self.time(session, now)))
        self.fence = None
        self._lock.release()

    def _renewed(self, now: datetime) -> bool:
        """Renew the lease, also one that has expired: while the fence stands, nobody took it meanwhile."""
        locked = self._lock.take()
        with self._sessions.write() as session:
            until = self.time(session, now) + self._lasts
            mine = update(Lease).where(Lease.id == 1, Lease.fence == self.fence)
            renewed = mine.values(expires_at=until, locked=locked).returning(Lease.fence)
            kept = session.scalar(renewed) is not None
        self._renewed_at = now
        return kept

    def _taken(self, now: datetime) -> bool:
        """Take a lease that has expired, or whose holder had the kernel lock and has it no more.

        A holder that never got the lock, because a frozen one kept it, is not proved dead by a free lock.
        """
        locked = self._lock.take()
        with self._sessions.write() as session:
            row = session.scalars(select(Lease).where(Lease.id == 1).with_for_update()).one()
            moment = self.time(session, now)
            ground = _ground(row, locked=locked, moment=moment)
            if ground is not None:
                row.holder, row.fence, row.locked = self._holder, row.fence + 1, locked
                row.expires_at = moment + self._lasts
                fence = row.fence
        if ground is None:
            if locked:
                self._lock.release()
            return False
        self.fence, self.ground, self._renewed_at = fence, ground, now
        return True

    @staticmethod
    def time(session: Session, now: datetime) -> datetime:
        """Return the database's clock on PostgreSQL, where several machines share the lease."""
        if session.get_bind().dialect.name != "postgresql":
            return now
        moment: datetime = session.scalars(select(func.clock_timestamp(type_=Utc()))).one()
        return moment


def _ground(row: Lease, *, locked: bool, moment: datetime) -> Ground | None:
    """Return by what right the lease can be taken at `moment`; None = it cannot. `locked` = by this loop."""
    if row.fence == 0:
        return Ground.FIRST
    if locked and row.locked:
        return Ground.ENDED
    return Ground.EXPIRED if row.expires_at <= moment else None
