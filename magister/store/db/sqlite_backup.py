"""Consistent copies of SQLite files, and putting one in the place of another; no file is ever lost."""

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from urllib.parse import quote

from magister.errors import Unusable
from magister.store.db.engine import finding, trouble
from magister.store.db.lease import loop_lock

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file, and would take for a part of another that comes in its place."""

PATIENCE = 30.0
"""Seconds to wait for a writer."""


@contextmanager
def copied(source: Path, *, beside: Path, live: bool) -> Iterator[Path]:
    """Yield a checked copy of a SQLite file in the folder of `beside`; it is gone afterwards unless renamed.

    `live` = others may write to the source meanwhile: the copy is of one moment. Otherwise nothing is made
    or changed beside it. Raises Unusable.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{beside.name}.", suffix=".part", dir=beside.parent)
    except OSError as error:
        raise Unusable(f"nothing can be written in {beside.parent}: {error.strerror}") from error
    os.close(descriptor)
    copy = Path(name)
    try:
        _fill(copy, source, live=live)
        yield copy
    finally:
        for suffix in ("", *COMPANIONS):
            Path(name + suffix).unlink(missing_ok=True)


def _fill(copy: Path, source: Path, *, live: bool) -> None:
    try:
        with closing(_opened(source, live=live)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
            found = str(new.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise Unusable(f"{source} cannot be copied to {copy.parent}: {_why(error)}") from error
    if found != "ok":
        raise Unusable(f"{source} is corrupt: {finding(found)}")


def _opened(source: Path, *, live: bool) -> sqlite3.Connection:
    """Open a source, which is not made if it is not there."""
    logged = Path(f"{source}-wal").exists()
    mode = "mode=rw" if live else "mode=ro" if logged else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(source))}?{mode}", uri=True, timeout=PATIENCE)


def publish(copy: Path, target: Path, *, force: bool) -> None:
    """Give a copy its name for good, at once and whole; raises Unusable if it is taken, unless `force`."""
    try:
        _whole(copy)
        if force:
            copy.replace(target)
        else:
            _link(copy, target)
        synced(target.parent)
    except FileExistsError as error:
        raise Unusable(f"{target} is there already: --force overwrites it") from error
    except (OSError, sqlite3.Error) as error:
        raise Unusable(f"{target} cannot be written: {_why(error)}") from error


@contextmanager
def alone_with(database: Path) -> Iterator[None]:
    """Keep every loop from acting on a database meanwhile. Raises Unusable if a process has it open."""
    lock = loop_lock(database)
    try:
        taken = lock.take()
    except OSError as error:
        raise Unusable(f"nothing can be written beside {database}: {error.strerror}") from error
    if not taken:
        raise Unusable(f"a service keeps the pool on {database}: stop it first")
    try:
        _require_unused(database)
        yield
    finally:
        lock.release()


def _require_unused(database: Path) -> None:
    """Take a database out of its log, which SQLite does only while nobody else has it open.

    Afterwards all of it is in the one file. One that is broken is left as it is.
    """
    if not database.exists():
        return
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(database, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise Unusable(f"another process has {database} open: stop it first") from error
            raise


def put_in_place(copy: Path, database: Path, now: datetime) -> Path | None:
    """Put a copy in the place of a database; return where that is kept from now on, None = there was none.

    The path leads to the one or to the other at every moment. Raises Unusable.
    """
    try:
        _whole(copy)
        if database.exists():
            _made_like(copy, database)
        aside = _set_aside(database, now) if database.exists() else None
        for suffix in COMPANIONS:  # without a file of theirs they are of no use, and go with the copy's
            with suppress(FileNotFoundError):
                Path(f"{database}{suffix}").rename(f"{aside or copy}{suffix}")
        copy.replace(database)
        synced(database.parent)
    except (OSError, sqlite3.Error) as error:
        raise Unusable(f"{database} cannot be replaced: {_why(error)}") from error
    return aside


def _set_aside(database: Path, now: datetime) -> Path:
    """Give a database a second, dated name that no other file has."""
    dated = f"{database.name}.{now:%Y%m%dT%H%M%SZ}"
    for number in count(1):
        aside = database.with_name(dated if number == 1 else f"{dated}-{number}")
        with suppress(FileExistsError):
            _link(database, aside)
            break
    return aside


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, or on a file system without links a new one; raises FileExistsError."""
    try:
        os.link(path, name)
    except FileExistsError:
        raise
    except OSError:
        if name.exists():
            raise FileExistsError from None
        path.rename(name)


def _why(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    known = trouble(error)
    return f"{known.what} ({error})" if known else str(error)


def _whole(copy: Path) -> None:
    """Put on the disk, in the one file, all that SQLite holds of a copy."""
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    synced(copy)


def _made_like(path: Path, model: Path) -> None:
    """Let those use a file who may use the other: this command may be run by another user."""
    found = model.stat()
    path.chmod(stat.S_IMODE(found.st_mode))
    with suppress(PermissionError):  # only root can give a file away
        os.chown(path, found.st_uid, found.st_gid)


def synced(path: Path) -> None:
    """Wait until what was written to a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
