"""The migrations, on both engines: up and down with data, and the same tables as the models."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import inspect, select, text
from sqlalchemy.engine.interfaces import ReflectedIndex

from magister.domain import callback_key
from magister.errors import DatabaseUnusable
from magister.states import Reason, State
from magister.store import pool, requests, transitions
from magister.store.db import migrations
from magister.store.db.engine import Sessions, open_database
from magister.store.db.models import Transition
from magister.store.db.models_accounting import Rate
from magister.store.db.views import views
from magister.store.former_keys import prepare_callbacks
from tests.builders import NOW, a_row, an_offer
from tests.waiting import PATIENCE


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sessions]:
    """Open a database in which nothing was ever made."""
    if request.param == "sqlite":
        found = open_database(f"sqlite:///{tmp_path / 'empty.db'}", busy_timeout=PATIENCE)
        yield found
        found.engine.dispose()
        return
    server = request.getfixturevalue("postgres_url")
    admin = open_database(server, busy_timeout=PATIENCE)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE IF EXISTS migrating"))
        connection.execute(text("CREATE DATABASE migrating"))
    found = open_database(server.rsplit("/", 1)[0] + "/migrating", busy_timeout=PATIENCE)
    yield found
    found.engine.dispose()
    admin.engine.dispose()


def tables(sessions: Sessions) -> set[str]:
    return set(inspect(sessions.engine).get_table_names()) - {"alembic_version"}


def test_an_empty_database_is_brought_to_the_head_once(empty: Sessions) -> None:
    assert migrations.revision(empty) is None
    assert migrations.migrate(empty) is True
    assert migrations.migrate(empty) is False
    assert migrations.revision(empty) == migrations.head()


def test_the_migrations_make_what_the_models_say(empty: Sessions) -> None:
    migrations.migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, Rate.metadata) == []


def test_constraints_and_partial_indexes_are_the_same_as_the_models_make(empty: Sessions) -> None:
    migrations.migrate(empty)
    migrated = described(empty)
    migrations.downgrade(empty, "base")
    with empty.engine.begin() as connection:
        Rate.metadata.create_all(connection)
    assert described(empty) == migrated


def test_sqlite_gives_no_row_id_twice_after_steps_down_and_up(tmp_path: Path) -> None:
    sessions = open_database(f"sqlite:///{tmp_path / 'steps.db'}", busy_timeout=10)
    migrations.migrate(sessions)
    migrations.downgrade(sessions, "0001")
    migrations.migrate(sessions)
    with sessions.engine.connect() as connection:
        made = connection.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"))
        assert set(made.scalars()) == {"instances", "transitions"}
    sessions.engine.dispose()


def described(sessions: Sessions) -> dict[str, object]:
    """Return the checks, unique constraints and indexes of every table, comparably."""
    found: dict[str, object] = {}
    look = inspect(sessions.engine)
    for table in sorted(tables(sessions)):
        checks = look.get_check_constraints(table)
        uniques = look.get_unique_constraints(table)
        indexes = look.get_indexes(table)
        found[table] = (
            sorted((check["name"] or "", check["sqltext"]) for check in checks),
            sorted((str(unique["name"]), *unique["column_names"]) for unique in uniques),
            sorted((str(index["name"]), str(index["column_names"]), condition(index)) for index in indexes),
        )
    return found


def condition(index: ReflectedIndex) -> str:
    """Return the WHERE of a partial index, or nothing."""
    options = index.get("dialect_options", {})
    return " ".join(str(value) for name, value in sorted(options.items()) if name.endswith("_where"))


def test_a_database_with_data_goes_down_and_up_again(empty: Sessions) -> None:
    migrations.migrate(empty)
    with empty.write() as session:
        for state in State:
            a_row(session, state=state)
    migrations.downgrade(empty, "base")
    assert tables(empty) == set()
    assert migrations.migrate(empty) is True
    assert tables(empty) == set(Rate.metadata.tables)


def test_the_history_can_be_read_by_a_person(sessions: Sessions) -> None:
    with sessions.write() as session:
        a_row(session, state=State.DESTROYED)
    with sessions.read() as session:
        told = session.execute(
            text("SELECT from_state, to_state, reason, usd_per_hour FROM instance_history ORDER BY move")
        ).all()
    assert [tuple(line) for line in told] == [
        (None, "requested", "short", 0.5),
        ("requested", "created", "rented", 0.5),
        ("created", "dropping", "coordinator", 0.5),
        ("dropping", "destroyed", "proved_gone", 0.5),
    ]


def test_what_was_before_money_was_kept_still_tells_of_its_machine(empty: Sessions) -> None:
    migrations.migrate(empty)
    with empty.write() as session:
        for state in (State.VERIFIED, State.DESTROYED, State.DESTROYED):
            a_row(session, state=state, offer=an_offer(machine_id=7))
        session.execute(text("UPDATE instances SET sends = 0 WHERE id = 2"))
        session.execute(text("UPDATE instances SET verified_at = NULL WHERE id = 3"))
    migrations.downgrade(empty, "0002")
    migrations.migrate(empty)
    with empty.read() as session:
        query = text("SELECT rentals, adopted, verified, mean_seconds_to_verify, micros FROM machine_record")
        assert session.execute(query).all() == [(2, 1, 1, 0, 0)]
        reasons = text("SELECT reason FROM instance_totals ORDER BY instance_id")
        assert session.execute(reasons).scalars().all() == ["coordinator", "coordinator"]


def test_every_view_answers(sessions: Sessions) -> None:
    with sessions.read() as session:
        assert all(
            session.execute(text(f"SELECT * FROM {view}")).all() == []
            for view in views(sessions.engine.dialect.name)
        )


def test_two_upgrades_at_once_wait_for_one_another(empty: Sessions) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        other = open_database(empty.engine.url.render_as_string(hide_password=False), busy_timeout=PATIENCE)
        try:
            migrations.migrate(other)
        except BaseException as error:
            failures.append(error)
        finally:
            other.engine.dispose()

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []
    assert migrations.revision(empty) == migrations.head()


def test_a_database_from_a_newer_version_is_refused_in_one_line(empty: Sessions) -> None:
    migrations.migrate(empty)
    with empty.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseUnusable, match=r"newer Magister \(revision 9999") as raised:
        migrations.migrate(empty)
    assert "\n" not in str(raised.value)
    with pytest.raises(DatabaseUnusable, match="revision 9999"):
        migrations.require_current(empty)


def test_an_empty_database_is_not_current(empty: Sessions) -> None:
    with pytest.raises(DatabaseUnusable, match="magister migrate"):
        migrations.require_current(empty)


def test_a_database_that_cannot_be_written_is_found_out_at_once(sqlite_template: Path) -> None:
    readonly = open_database(f"sqlite:///file:{sqlite_template}?mode=ro&uri=true", busy_timeout=1)
    try:
        with pytest.raises(DatabaseUnusable, match="readonly"):
            migrations.migrate(readonly)
    finally:
        readonly.engine.dispose()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://host/db", "must begin with"),
        ("sqlite:////nowhere/at/all.db", "cannot be used"),
        ("postgresql+psycopg://u:secret-word@127.0.0.1:1/db", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line_without_its_password(
    url: str, words: str
) -> None:
    with pytest.raises(DatabaseUnusable, match=words) as raised:
        migrations.migrate(open_database(url, busy_timeout=1))
    assert "secret-word" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_developers_can_use_alembic_from_a_checkout(tmp_path: Path) -> None:
    checkout = Path(__file__).parent.parent.parent
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'dev.db'}"}
    for command in (["upgrade", "head"], ["check"]):
        subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=checkout,
            env=environment,
            check=True,
            capture_output=True,
        )
    with sqlite3.connect(tmp_path / "dev.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (migrations.head(),)
        ]
    connection.close()


def test_developers_can_take_a_database_that_was_used_back_and_forth(sqlite_sessions: Sessions) -> None:
    with sqlite_sessions.write() as session:
        row = a_row(session, state=State.REQUESTED)
        transitions.move(session, row, State.DROPPING, Reason.OPERATOR, actor="test", why="a test", at=NOW)
    checkout = Path(__file__).parent.parent.parent
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{sqlite_sessions.engine.url.database}"}
    for command in (["downgrade", "-1"], ["upgrade", "head"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=checkout,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    with sqlite_sessions.read() as session:
        assert Reason.OPERATOR in session.scalars(select(Transition.reason)).all()


TOKEN = SecretStr("a-token-of-the-operator")


def test_instances_of_the_version_before_are_heard_at_the_urls_that_they_were_started_with(
    empty: Sessions,
) -> None:
    """One instance was rented under a token, the other without: both live during the upgrade."""
    migrations.migrate(empty)
    with empty.write() as session:
        pool.note_listed(session, NOW)
        signed = a_row(session, offer=an_offer(id=77), callback_key="0f" * 24)
        keyless = a_row(session, offer=an_offer(id=78))
    migrations.downgrade(empty, "0005")
    migrations.migrate(empty)
    prepare_callbacks(empty, TOKEN)
    prepare_callbacks(empty, SecretStr("another-token-of-theirs"))
    with empty.write() as session:
        by_key = requests.drop(session, 77, key=callback_key.former(TOKEN, signed.key), why="slow", now=NOW)
        without = requests.drop(session, 78, key=None, why="slow", now=NOW)
    assert [(row.id, row.state) for row in (by_key, without)] == [
        (signed.id, State.DROPPING),
        (keyless.id, State.DROPPING),
    ]


def test_who_goes_back_finds_that_keyed_instances_need_a_key_which_that_version_cannot_check(
    empty: Sessions,
) -> None:
    """The version before refuses a call about a row that needs a key unless `api_token` made the key."""
    migrations.migrate(empty)
    with empty.write() as session:
        key = callback_key.make(pool.callback_secret(session), 77, "0123456789abcdef")
        row = a_row(session, offer=an_offer(id=77), callback_key=key)
    migrations.downgrade(empty, "0005")
    with empty.engine.connect() as connection:
        (needs_key,) = connection.execute(text("SELECT mac_required FROM instances")).scalars()
    assert needs_key
    assert callback_key.former(TOKEN, row.key) != key
