"""The commands that copy the database while the service runs, and put a copy back."""

import shlex
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import make_url

from magister.errors import DatabaseUnusable, Unusable
from magister.reports import overview
from magister.service import wiring
from magister.settings import spec
from magister.settings.model import Settings, load
from magister.states import State
from magister.store import pool
from magister.store import restore as hindsight
from magister.store.db import migrations, sqlite_backup
from magister.store.db.engine import RESCUE, Sessions, open_database, plain_words
from magister.store.db.lease import kernel_lock
from magister.store.db.sqlite import sqlite_file
from magister.store.former_keys import prepare_callbacks
from magister.store.restore import Doubted

PG_DUMP = "pg_dump --format=custom --file={file} --dbname={url}"
PG_RESTORE = "pg_restore --clean --if-exists --single-transaction --dbname={url} {file} && {then}"


def backup(config: Path | None, file: Path, *, force: bool) -> str:
    """Copy the database to `file` as it is at one moment, and return in a sentence what was done.

    The service may run. Raises Unusable.
    """
    settings = load(config).settings
    database = _sqlite_file(settings, "backed up", PG_DUMP, file)
    sessions = wiring.database(settings)
    migrations.require_there(sessions)
    _require_writable(file, database, force=force)
    found = migrations.revision(sessions)
    sessions.engine.dispose()
    if found is None:
        raise DatabaseUnusable(f"the database {sessions.shown} is empty: there is nothing to back up")
    with sqlite_backup.copied(database, beside=file, live=True) as copy:
        copied = _opened(copy, file)
        what = _described(copied)
        copied.engine.dispose()
        sqlite_backup.publish(copy, file, force=force)
    return f"backed up {settings.database_url_shown} to {file}: {what}, {file.stat().st_size} bytes"


def restore(config: Path | None, file: Path) -> str:
    """Put a backup in the place of the database, which is kept aside, and return what was done.

    1. Nobody may have the database open; the loop's lock keeps others out meanwhile.
    2. The backup is copied, checked and migrated beside the database. `file` itself is only read.
    3. What it cannot know is marked, and then it takes the place of the database in one step.

    Raises Unusable, and then nothing has been changed.
    """
    settings = load(config).settings
    then = ["magister", "restore", "--by-hand", *(() if config is None else ("--config", str(config)))]
    database = _sqlite_file(settings, "restored", PG_RESTORE, file, then=shlex.join(then))
    if not file.is_file():
        raise Unusable(f"{file} cannot be restored: there is no such file")
    if database.exists() and file.samefile(database):
        raise Unusable(f"{file} is the database itself")
    now = wiring.now()
    with sqlite_backup.alone_with(database), sqlite_backup.copied(file, beside=database, live=False) as copy:
        what, doubted = _prepared(copy, file, settings, now)
        aside = sqlite_backup.put_in_place(copy, database, now)
    kept = "there was none before" if aside is None else f"the one before is kept as {aside}"
    done = f"restored {file}: {what}; it is {settings.database_url_shown} now, {kept}"
    return "\n".join(_told(done, doubted))


def put_back(config: Path | None) -> str:
    """Mark what a database that other tools have put back cannot know, and return what was done.

    Nobody may act on it meanwhile. Raises Unusable.
    """
    settings = load(config).settings
    sessions = wiring.database(settings)
    migrations.require_there(sessions)
    lock = kernel_lock(sessions)
    try:
        with plain_words(sessions):
            taken = lock.take()
        if not taken:
            raise Unusable(f"a service keeps the pool on {settings.database_url_shown}: stop it first")
        what, doubted = _brought_up(sessions, settings, wiring.now())
    finally:
        lock.release()
        sessions.engine.dispose()
    return "\n".join(_told(f"taken as put back: {settings.database_url_shown}, {what}", doubted))


def _told(done: str, doubted: Doubted) -> list[str]:
    lines = [done]
    if doubted.sent:
        lines.append(
            f"{doubted.sent} intents may have been sent since: listings will tell, none is sent again"
        )
    if doubted.verified:
        lines.append(f"{doubted.verified} workers may have called since: their boxes count as verified")
    lines.append("drops heard since are forgotten; boxes rented since are taken in by the next start")
    return lines


def _prepared(copy: Path, file: Path, settings: Settings, now: datetime) -> tuple[str, Doubted]:
    """Make of a copy what this version can go on with, and say what it was."""
    sessions = _opened(copy, file)
    try:
        return _brought_up(sessions, settings, now)
    except DatabaseUnusable as error:
        raise Unusable(f"{str(error).removesuffix(f': {RESCUE}')}; nothing has been changed") from error
    finally:
        sessions.engine.dispose()


def _brought_up(sessions: Sessions, settings: Settings, now: datetime) -> tuple[str, Doubted]:
    """Migrate a database that was put back, mark what it cannot know, and say what it was."""
    what = _described(sessions)
    migrations.migrate(sessions)
    prepare_callbacks(sessions, settings.api_token)
    with plain_words(sessions), sessions.write() as session:
        return what, hindsight.doubt(session, fleet=spec.fleet(settings), at=now)


def _opened(copy: Path, file: Path) -> Sessions:
    """Open a copy under the name of the file that it is, or will be, known by."""
    return replace(open_database(f"sqlite:///{copy}", busy_timeout=sqlite_backup.PATIENCE), called=str(file))


def _described(sessions: Sessions) -> str:
    """Say what a database holds. Raises DatabaseUnusable for one that is not Magister's."""
    found = migrations.revision(sessions)
    if found is None:
        raise DatabaseUnusable(f"{sessions.shown} is no database of Magister")
    if found != migrations.head():
        return f"revision {found}"
    with plain_words(sessions), sessions.read() as session:
        held = [view for view in overview.instances(session) if view.state is not State.DROPPING]
        beaten = pool.read(session).heartbeat_at
    of = "never used" if beaten is None else f"last used {beaten:%Y-%m-%d %H:%M:%S} UTC"
    return f"revision {found}, {of}, {len(held)} instances kept"


def _require_writable(file: Path, database: Path, *, force: bool) -> None:
    """Refuse before anything is copied what would be refused afterwards."""
    if not file.parent.is_dir():
        raise Unusable(f"there is no folder {file.parent}")
    if not file.exists():
        return
    if not file.is_file():
        raise Unusable(f"{file} is not a file")
    if file.samefile(database):
        raise Unusable(f"{file} is the database itself")
    if not force:
        raise Unusable(f"{file} is there already: --force overwrites it")


def _sqlite_file(settings: Settings, done: str, command: str, file: Path, *, then: str = "") -> Path:
    """Return the file of the database; raises Unusable, with the `command` for PostgreSQL, if it has none.

    `then` is our own command that has to follow it.
    """
    found = sqlite_file(settings.database_url.get_secret_value())
    if found is not None:
        return found
    url = make_url(settings.database_url.get_secret_value())
    if url.get_backend_name() != "postgresql":
        raise Unusable(f"a database in memory cannot be {done}")
    open_url = url.set(drivername="postgresql").difference_update_query(["password", "passfile"])
    shown = open_url._replace(password=None).render_as_string(hide_password=False)
    tool = command.format(file=shlex.quote(str(file)), url=shlex.quote(shown), then=then)
    raise Unusable(f"a PostgreSQL database is {done} by its own tools: {tool}")
