"""The engine, transactions that say whether they will write, and plain words for what goes wrong."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)
from sqlalchemy.orm import Session

from magister.errors import DatabaseReplaced, DatabaseUnusable
from magister.http_errors import one_line
from magister.store.db.sqlite import sqlite_engine

RESCUE = (
    "put a backup in its place with `magister restore FILE`, or move it away: the next start then makes a "
    "new one and takes in all boxes of ours before anything is rented"
)
"""What to do about a database that can be read no more."""

DATABASE_TROUBLE = (OperationalError, InterfaceError, TimeoutError, DatabaseReplaced)
"""What concerns no row in particular: a lock, a restart, a full disk, a broken connection, a lost file."""

NO_CHANGE = "UPDATE pool SET id = id WHERE id = 1"
"""A statement that writes and changes nothing."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Open short transactions: `read` never locks, `write` takes SQLite's write lock at once.

    A transaction that reads first and locks later can fail on SQLite in the middle; one that says at
    its beginning that it will write only ever waits.
    """

    engine: Engine
    called: str = ""  # what people know it by; "" = its URL

    @property
    def shown(self) -> str:
        """Return what people know the database by, with any password masked."""
        if self.called:
            return self.called
        url = self.engine.url.render_as_string(hide_password=True)
        return re.sub(r"(?i)((?:password|passfile)=)[^&]*", r"\1***", url)

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


def open_database(url: str, *, busy_timeout: float, bound: bool = False) -> Sessions:
    """Return sessions on the database at `url`, waiting `busy_timeout` seconds for its locks.

    Nothing is connected yet. `bound` = once a SQLite file is replaced or removed, each transaction raises
    DatabaseReplaced; otherwise the next one begins in the file that is there by then.
    Raises DatabaseUnusable if the URL or its driver cannot be used.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return Sessions(sqlite_engine(url, busy_timeout=busy_timeout, bound=bound))
        if parsed.get_backend_name() == "postgresql":
            from magister.store.db.postgresql import postgresql_engine  # its driver need not be installed

            return Sessions(postgresql_engine(url, busy_timeout=busy_timeout))
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseUnusable("database_url is not a database URL; sqlite:///magister.db is one") from error
    except ModuleNotFoundError as error:
        raise DatabaseUnusable(f"database_url needs {error.name}: install magister[postgres]") from error
    raise DatabaseUnusable("database_url must begin with sqlite:/// or postgresql+psycopg://")


@contextmanager
def plain_words(sessions: Sessions) -> Iterator[None]:
    """Turn what drivers raise about a database that cannot be used into one line that names it."""
    try:
        yield
    except DBAPIError as error:
        found = trouble(error)
        words = " ".join(str(error.orig).split())
        said = words if found is None else f"{found.what} ({words}): {found.cure}"
        raise DatabaseUnusable(f"the database {sessions.shown} cannot be used: {said}") from error


@dataclass(frozen=True, slots=True)
class Trouble:
    """Say what keeps a database from being used and what would cure it."""

    what: str
    cure: str


FULL = Trouble("its disk is full", "make room; nothing is lost meanwhile, and it goes on by itself")
UNWRITABLE = Trouble(
    "it cannot be written", "see to the permissions of the file and its folder, and the mount"
)

_OF_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: Trouble(
        "it cannot be opened", "see that its folder is there and may be written"
    ),
    sqlite3.SQLITE_NOTADB: Trouble("it is no SQLite database", RESCUE),
    sqlite3.SQLITE_CORRUPT: Trouble("it is corrupt", RESCUE),
    sqlite3.SQLITE_IOERR: Trouble("its disk fails", "see the log of the system"),
}

_OF_POSTGRESQL = {"53100": FULL, "25006": UNWRITABLE}


def obstacle(sessions: Sessions) -> Trouble | None:
    """Try to write, and name what keeps it from being done; None = nothing does, or only a lock."""
    try:
        with sessions.write() as session:
            session.connection().exec_driver_sql(NO_CHANGE)
    except SQLAlchemyError as error:
        return trouble(error)
    return None


def finding(check: object) -> str:
    """Return in a line what SQLite found wrong with a file."""
    return " ".join(str(check).replace("*** in database main ***", "").split())


def refusal(error: Exception) -> str:
    """Return in a line why the database did not take a value.

    That is the first line of what its driver says: the others, and the statement, show what the row holds.
    """
    cause = getattr(error, "orig", None) or error
    said = str(cause).partition("\n")[0]
    return one_line(f"{type(cause).__name__}: {said}")


def trouble(error: SQLAlchemyError | sqlite3.Error) -> Trouble | None:
    """Name what an error of a driver means for people; None = its own words say all there is to say."""
    cause: object = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        # an error of the module itself, and not of the library, bears no code
        return _OF_SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    return _OF_POSTGRESQL.get(str(getattr(cause, "sqlstate", None)))
