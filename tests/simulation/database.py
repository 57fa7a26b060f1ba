"""A database at whose commits a process may die, and which may be in trouble."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from magister.store.db.engine import Sessions, open_database
from magister.store.db.migrations import migrate
from tests.simulation.death import Death


@dataclass(slots=True)
class Trouble:
    """Say how many of the next transactions fail, and where: at their begin, their commit or its answer."""

    begins: int = 0
    commits: int = 0
    answers: int = 0

    def strike(self, where: str) -> None:
        """Raise what a driver raises, if it is to."""
        left = getattr(self, where)
        if left > 0:
            setattr(self, where, left - 1)
            words = {"begins": "database is locked", "commits": "disk I/O error", "answers": "server closed"}
            raise OperationalError("COMMIT", None, sqlite3.OperationalError(words[where]))


@dataclass(slots=True)
class Usage:
    """Count the sessions that are open."""

    sessions: int = 0


@dataclass(frozen=True, slots=True)
class MortalSessions(Sessions):
    """Sessions of one process, which may die before and after each commit."""

    death: Death = field(default_factory=Death)
    trouble: Trouble = field(default_factory=Trouble)
    usage: Usage = field(default_factory=Usage)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading."""
        self.trouble.strike("begins")
        with self._counted(), Sessions.read(self) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose work is committed on leaving, unless the process dies or the commit fails."""
        who = sys._getframe(2).f_code.co_qualname  # behind the frame of contextlib: who begins it
        self.trouble.strike("begins")
        with self._counted(), Sessions.write(self) as session:
            yield session
            self.death(f"before the commit of {who}")
            self.trouble.strike("commits")
        self.death(f"after the commit of {who}")
        self.trouble.strike("answers")

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.usage.sessions += 1
        try:
            yield
        finally:
            self.usage.sessions -= 1


def in_memory() -> Sessions:
    """Open a migrated, empty SQLite database in memory."""
    sessions = open_database("sqlite://", busy_timeout=5)
    put_in_place(sessions.engine, migrated())
    return sessions


def saved(engine: Engine) -> bytes:
    """Copy a database in memory."""
    with engine.connect() as connection:
        return _plain(connection.connection.driver_connection).serialize()


def put_in_place(engine: Engine, image: bytes) -> None:
    """Put a copy into the place of a database in memory."""
    with engine.connect() as connection:
        _plain(connection.connection.driver_connection).deserialize(image)


@cache
def migrated() -> bytes:
    """Return an empty database with all its tables."""
    sessions = open_database("sqlite://", busy_timeout=5)
    migrate(sessions)
    image = saved(sessions.engine)
    sessions.engine.dispose()
    return image


def _plain(connection: object) -> sqlite3.Connection:
    assert isinstance(connection, sqlite3.Connection)
    return connection
