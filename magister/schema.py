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
from sqlalchemy import Connection

from magister.database import Sessions, open_database, plain_words, sqlite_file
from magister.errors import DatabaseUnusable

MIGRATION_LOCK = 0x4D61_6769
"""The PostgreSQL advisory lock under which a database is upgraded: the letters "Magi"."""


def migrations() -> Path:
    """Return where the migrations are: in the wheel, or beside the package in a checkout."""
    packaged = Path(str(files("magister") / "migrations"))
    return packaged if (packaged / "env.py").is_file() else Path(__file__).parent.parent / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration without a file; `connection` is the one to migrate on."""
    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def revision(sessions: Sessions) -> str | None:
    """Return the revision the database stands at; None = it is empty."""
    with plain_words(), sessions.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def require_usable(sessions: Sessions) -> str | None:
    """Return the revision, None = empty; raise DatabaseUnusable if `migrate` would."""
    found = revision(sessions)
    _require_known(found)
    if found == head():
        probe_write(sessions)
    return found


def head() -> str | None:
    """Return the revision this version of Magister works with."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def migrate(sessions: Sessions) -> bool:
    """Bring the database to this version's revision and return whether anything changed.

    Two that do so at once wait for one another. Raises DatabaseUnusable if the database cannot be
    reached or written, or comes from a newer Magister.
    """
    found = revision(sessions)
    if found == head():
        probe_write(sessions)
        return False
    _require_known(found)
    _change(sessions, "head")
    return True


def downgrade(sessions: Sessions, to: str) -> None:
    """Take the database back to revision `to`; "base" empties it. Raises as `migrate` does."""
    _change(sessions, to)


def _change(sessions: Sessions, to: str) -> None:
    """Run the migrations in one transaction that nobody else can run beside."""
    with plain_words(), sessions.engine.connect() as plain:
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


def _require_known(found: str | None) -> None:
    """Raise DatabaseUnusable for a revision that only a newer Magister can have made."""
    try:
        if found is not None:
            ScriptDirectory.from_config(alembic_config()).get_revision(found)
    except CommandError as error:
        raise DatabaseUnusable(
            f"the database is from a newer Magister (revision {found}, newest known {head()}): "
            "run that version, or restore a backup"
        ) from error


def require_current(sessions: Sessions) -> None:
    """Raise DatabaseUnusable unless the database stands at this version's revision."""
    found = revision(sessions)
    if found is None:
        raise DatabaseUnusable("the database is empty: run `magister migrate` first")
    _require_known(found)
    if found != head():
        raise DatabaseUnusable(
            f"the database is at revision {found}, this Magister needs {head()}: run `magister migrate`"
        )


@contextmanager
def existing(url: str, *, busy_timeout: float) -> Iterator[Sessions]:
    """Yield sessions on a database that is there and at this version's revision. Raises DatabaseUnusable."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise DatabaseUnusable(f"there is no database {file}: `magister serve` makes it")
    sessions = open_database(url, busy_timeout=busy_timeout)
    try:
        require_current(sessions)
        with plain_words():
            yield sessions
    finally:
        sessions.engine.dispose()


def probe_write(sessions: Sessions) -> None:
    """Find out now, and not at the first rental, that the database cannot be written."""
    with plain_words(), sessions.write() as session:
        session.connection().exec_driver_sql("UPDATE pool SET id = id WHERE id = 1")
