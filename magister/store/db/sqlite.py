"""SQLite as the embedded database: its engine, its pragmas, and the file that it keeps everything in."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from magister.errors import DatabaseReplaced

FILE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "journal_size_limit=8388608",  # bytes: what a long reader let the log grow to is given back
)

PRAGMAS = ("foreign_keys=ON",)

Identity = tuple[int, int] | None
"""The device and the inode of a file; None = there is none."""


def sqlite_file(url: str) -> Path | None:
    """Return the file behind a SQLite URL; None for PostgreSQL and for databases in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or ":memory:" in parsed.database:
        return None
    return Path(parsed.database.removeprefix("file:"))


def identity(path: Path) -> Identity:
    """Return which file a path leads to by now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def sqlite_engine(url: str, *, busy_timeout: float, bound: bool) -> Engine:
    """Return an engine that waits `busy_timeout` seconds for locks; nothing is opened yet.

    SQLite goes on writing to a file that was removed, and what it writes there is lost. So the path is
    looked at before each transaction. `bound` = a transaction begun once it leads elsewhere raises
    DatabaseReplaced; otherwise the file that it leads to by then is opened. Only an engine that is not bound
    makes a file, and only the first time.
    """
    path = sqlite_file(url)
    options: dict[str, object] = {"connect_args": {"timeout": busy_timeout, "check_same_thread": False}}
    if path is None:
        options["poolclass"] = StaticPool
    engine = create_engine(url, **options)
    written = path is not None and engine.url.query.get("mode") != "ro"
    if path is not None:
        # before the pragmas, which make the file
        _Watch(path, bound=bound).over(engine)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # else the driver decides when a transaction begins
        cursor = connection.cursor()
        for pragma in FILE_PRAGMAS + PRAGMAS if written else PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        record.info["file"] = None if path is None else identity(path)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


@dataclass(slots=True)
class _Watch:
    """See to it that no connection goes on with a file that its path does not lead to any more."""

    path: Path
    bound: bool
    first: Identity = None

    def over(self, engine: Engine) -> None:
        event.listen(engine, "do_connect", self._before_opening)
        event.listen(engine, "checkout", self._before_use)

    def _before_opening(self, *connecting: object) -> None:
        if identity(self.path) is not None:
            return
        if self.bound:
            raise self._replaced()
        if self.first is not None:
            raise sqlite3.OperationalError(f"{self.path} was removed or moved")

    def _before_use(self, connection: object, record: ConnectionPoolEntry, proxy: object) -> None:
        there, opened = identity(self.path), record.info["file"]
        if self.first is None:
            self.first = opened
        if self.bound and there != self.first:
            raise self._replaced()
        if there != opened:
            raise DisconnectionError(f"{self.path} is another file by now")

    def _replaced(self) -> DatabaseReplaced:
        if identity(self.path) is None:
            return DatabaseReplaced(
                f"the database file {self.path} was removed or moved while in use: nothing is rented or "
                "given up any more; start again with the file put back, or without it: then a new one is "
                "made, and all boxes of ours are taken into it before anything is rented"
            )
        return DatabaseReplaced(
            f"the database file {self.path} was replaced by another while in use: nothing is rented or given "
            "up any more; start again to go on with the one that is there now"
        )
