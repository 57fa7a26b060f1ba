"""Run the migrations on the connection that was passed in, or on DATABASE_URL for developers."""

import os

from alembic import context
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from magister.store.db.engine import open_database
from magister.store.db.models_accounting import Rate
from magister.store.db.views import views


def drop_views(connection: Connection) -> None:
    """Drop the views for people, which would stand in the way of a changed table."""
    for name in views(connection.dialect.name):
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def make_views(connection: Connection) -> None:
    """Make the views anew; they belong to the newest revision and exist at no other."""
    for name, query in views(connection.dialect.name).items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))


def run(connection: Connection) -> None:
    """Migrate within the transaction that `connection` is in."""
    context.configure(
        connection=connection,
        target_metadata=Rate.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    drop_views(connection)
    context.run_migrations()
    head = ScriptDirectory.from_config(context.config).get_current_head()
    if context.get_context().get_current_revision() == head:
        make_views(connection)


def run_for_a_developer() -> None:
    """Migrate the database named by DATABASE_URL, as `alembic upgrade` and `alembic check` do."""
    sessions = open_database(os.environ.get("DATABASE_URL", "sqlite:///magister.db"), busy_timeout=30)
    with sessions.engine.connect() as plain:
        if plain.dialect.name == "sqlite":  # else a table that others refer to cannot be made anew
            plain.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        with plain.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin():
            run(plain)


passed = context.config.attributes.get("connection")
if passed is None:
    run_for_a_developer()
else:
    run(passed)
