"""The engine, SQLite's pragmas, and transactions that say whether they will write."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from magister.errors import DatabaseUnusable


class _Cursor(Protocol):
    def execute(self, sql: str, /) -> object: ...
    def close(self) -> object: ...


class _DbapiConnection(Protocol):
    def cursor(self) -> _Cursor: ...


@dataclass(frozen=True, slots=True)
class Sessions:
    """Open short transactions: `read` never locks, `write` takes SQLite's write lock at once.

    A transaction that reads first and locks later can fail on SQLite in the middle; one that says at
    its beginning that it will write only ever waits.
    """

    engine: Engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading; nothing is committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose work is committed on leaving, or rolled back if an error leaves it."""
        engine = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session


def open_database(url: str, *, busy_timeout: float) -> Sessions:
    """Return sessions on the database at `url`, waiting `busy_timeout` seconds for its locks.

    Nothing is connected yet. Raises DatabaseUnusable if the URL or its driver cannot be used.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return Sessions(_sqlite(url, busy_timeout))
        if parsed.get_backend_name() == "postgresql":
            return Sessions(_postgresql(url, busy_timeout))
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseUnusable("database_url is not a database URL; sqlite:///magister.db is one") from error
    except ModuleNotFoundError as error:
        raise DatabaseUnusable(f"database_url needs {error.name}: install magister[postgres]") from error
    raise DatabaseUnusable("database_url must begin with sqlite:/// or postgresql+psycopg://")


def sqlite_file(url: str) -> Path | None:
    """Return the file behind a SQLite URL; None for PostgreSQL and for databases in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or ":memory:" in parsed.database:
        return None
    return Path(parsed.database.removeprefix("file:"))


def _sqlite(url: str, busy_timeout: float) -> Engine:
    memory = sqlite_file(url) is None
    options: dict[str, object] = {"connect_args": {"timeout": busy_timeout, "check_same_thread": False}}
    if memory:
        options["poolclass"] = StaticPool
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # else the driver decides when a transaction begins
        cursor = connection.cursor()
        pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
        for pragma in pragmas[memory:]:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


def _postgresql(url: str, busy_timeout: float) -> Engine:
    wait = int(busy_timeout * 1000)
    frozen = min(wait // 2, 10_000)  # a process stopped within a transaction keeps its locks no longer
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        connect_args={
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": f"-c lock_timeout={wait} -c statement_timeout={wait} "
            f"-c idle_in_transaction_session_timeout={frozen} -c timezone=UTC",
        },
    )


@contextmanager
def plain_words() -> Iterator[None]:
    """Turn what drivers raise about a database that cannot be used into one line."""
    try:
        yield
    except DBAPIError as error:
        words = " ".join(str(error.orig).split())
        raise DatabaseUnusable(f"the database cannot be used: {words}") from error
