"""Where the migrations are, which revision a database stands at, and the upgrade under a lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect

from magister.errors import DatabaseUnusable
from magister.store.db.engine import NO_CHANGE, RESCUE, Sessions, finding, open_database, plain_words
from magister.store.db.models_accounting import Rate
from magister.store.db.sqlite import sqlite_file

MIGRATION_LOCK = 0x4D61_6769
"""The PostgreSQL advisory lock under which a database is upgraded: the letters "Magi"."""

ORIGINAL = frozenset({"instances", "transitions", "lease", "pool"})
"""The tables that every revision has."""

TABLES = Rate.metadata.tables
"""All tables of this version: the module that is imported last knows them."""


def migrations() -> Path:
    """Return where the migrations are: in the wheel, or beside the package in a checkout."""
    packaged = Path(str(files("magister") / "migrations"))
    return packaged if (packaged / "env.py").is_file() else Path(__file__).parents[3] / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration without a file; `connection` is the one to migrate on."""
    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def revision(sessions: Sessions) -> str | None:
    """Return the revision the database stands at; None = it is empty.

    Raises DatabaseUnusable if it cannot be reached, is corrupt, half made, or from a newer Magister.
    """
    with plain_words(sessions), sessions.engine.connect() as connection:
        _require_sound(sessions, connection)
        found = MigrationContext.configure(connection).get_current_revision()
        tables = frozenset(inspect(connection).get_table_names())
        if found is not None:
            _require_known(sessions, found)
        if lacking := _lacking(connection, found, tables):
            raise DatabaseUnusable(f"the database {sessions.shown} is half made: {lacking}: {RESCUE}")
    return found


def _require_sound(sessions: Sessions, connection: Connection) -> None:
    """Raise DatabaseUnusable for a SQLite file whose pages do not fit together; PostgreSQL minds its own."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise DatabaseUnusable(f"the database {sessions.shown} is corrupt ({finding(found)}): {RESCUE}")


def _lacking(connection: Connection, found: str | None, tables: frozenset[str]) -> str:
    """Say what keeps the tables from being those of the revision; "" = nothing."""
    if found is None:
        there = ", ".join(sorted(tables & ORIGINAL))
        return f"it holds {there} but no revision" if there else ""
    current = found == head()
    if missing := sorted((frozenset(TABLES) if current else ORIGINAL) - tables):
        return f"revision {found} without the table {missing[0]}"
    if not current:
        return ""
    for name, table in TABLES.items():
        columns = {column["name"] for column in inspect(connection).get_columns(name)}
        if absent := [column.name for column in table.columns if column.name not in columns]:
            return f"the table {name} lacks the column {absent[0]}"
    for single in ("lease", "pool"):
        if connection.exec_driver_sql(f"SELECT count(*) FROM {single}").scalar() != 1:  # noqa: S608 - our names
            return f"the table {single} has not its one row"
    return ""


def require_usable(sessions: Sessions) -> str | None:
    """Return the revision, None = empty; raise DatabaseUnusable if `migrate` would."""
    found = revision(sessions)
    if found == head():
        probe_write(sessions)
    return found


def head() -> str | None:
    """Return the revision this version of Magister works with."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def migrate(sessions: Sessions) -> bool:
    """Bring the database to this version's revision and return whether anything changed.

    Two that do so at once wait for one another. Raises DatabaseUnusable if the database cannot be
    reached or written, is corrupt or half made, or comes from a newer Magister.
    """
    found = revision(sessions)
    if found == head():
        probe_write(sessions)
        return False
    _change(sessions, "head")
    return True


def downgrade(sessions: Sessions, to: str) -> None:
    """Take the database back to revision `to`; "base" empties it. Raises as `migrate` does."""
    _change(sessions, to)


def _change(sessions: Sessions, to: str) -> None:
    """Run the migrations in one transaction that nobody else can run beside."""
    with plain_words(sessions), sessions.engine.connect() as plain:
        if plain.dialect.name == "sqlite":
            plain.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        connection = plain.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            config = alembic_config(connection)
            if to == "head":
                command.upgrade(config, to)
            else:
                command.downgrade(config, to)
        if plain.dialect.name == "sqlite":
            plain.connection.cursor().execute("PRAGMA foreign_keys=ON")


def _require_known(sessions: Sessions, found: str) -> None:
    """Raise DatabaseUnusable for a revision that only a newer Magister, or another program, can have made."""
    try:
        ScriptDirectory.from_config(alembic_config()).get_revision(found)
    except CommandError as error:
        raise DatabaseUnusable(
            f"the database {sessions.shown} is from a newer Magister (revision {found}, newest known "
            f"{head()}): run that version, or `magister restore` a backup"
        ) from error


def require_current(sessions: Sessions) -> None:
    """Raise DatabaseUnusable unless the database stands at this version's revision; never makes one."""
    require_there(sessions)
    found = revision(sessions)
    if found is None:
        raise DatabaseUnusable(f"the database {sessions.shown} is empty: run `magister migrate` first")
    if found != head():
        raise DatabaseUnusable(
            f"the database {sessions.shown} is at revision {found}, this Magister needs {head()}: "
            "run `magister migrate`"
        )


def require_there(sessions: Sessions) -> None:
    """Raise DatabaseUnusable if SQLite would make the file only now."""
    file = sqlite_file(sessions.engine.url.render_as_string(hide_password=False))
    if file is not None and not file.exists():
        raise DatabaseUnusable(
            f"there is no database {file}: `magister serve` or `magister migrate` makes it"
        )


@contextmanager
def existing(url: str, *, busy_timeout: float) -> Iterator[Sessions]:
    """Yield sessions on a database that is there and at this version's revision. Raises DatabaseUnusable."""
    sessions = open_database(url, busy_timeout=busy_timeout)
    try:
        require_current(sessions)
        with plain_words(sessions):
            yield sessions
    finally:
        sessions.engine.dispose()


def probe_write(sessions: Sessions) -> None:
    """Find out now, and not at the first rental, that the database cannot be written."""
    with plain_words(sessions), sessions.write() as session:
        session.connection().exec_driver_sql(NO_CHANGE)
