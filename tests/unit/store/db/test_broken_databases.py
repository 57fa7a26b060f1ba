"""Databases that cannot be worked with are refused in one line: what, which one, and what to do."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from magister.cli.main import main
from magister.errors import DatabaseUnusable
from magister.service import loop_process, web_process, wsgi
from magister.service.exit import complain
from magister.settings.model import load
from magister.store.db import migrations
from magister.store.db.engine import RESCUE, Sessions, open_database
from tests.unit.cli.test_main import SETTINGS

FILE = Path("magister.db")
NAMED = "the database sqlite:///magister.db"


def text_file() -> None:
    FILE.write_text("this is no database " * 100)


def torn() -> None:
    whole = FILE.read_bytes()
    FILE.write_bytes(whole[: len(whole) // 2])


def scribbled() -> None:
    with closing(sqlite3.connect(FILE)) as connection:
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'transitions'").fetchone()
    pages = bytearray(FILE.read_bytes())
    start = (found[0] - 1) * 4096
    pages[start : start + 4096] = os.urandom(4096)
    FILE.write_bytes(pages)


def changed(words: str) -> Callable[[], None]:
    def change() -> None:
        with closing(sqlite3.connect(FILE)) as connection, connection:
            connection.executescript(words)

    change.__name__ = words
    return change


BROKEN: list[tuple[Callable[[], None], str]] = [
    (text_file, f"{NAMED} cannot be used: it is no SQLite database (file is not a database): {RESCUE}"),
    (torn, f"{NAMED} cannot be used: it is corrupt (database disk image is malformed): {RESCUE}"),
    (scribbled, f"{NAMED} is corrupt ("),
    (
        changed("UPDATE alembic_version SET version_num = '9999'"),
        f"{NAMED} is from a newer Magister (revision 9999, newest known {migrations.head()}): run that "
        "version, or `magister restore` a backup",
    ),
    (
        changed("DROP VIEW instance_history; DROP TABLE transitions"),
        f"{NAMED} is half made: revision {migrations.head()} without the table transitions: {RESCUE}",
    ),
    (
        changed("DROP TABLE alembic_version"),
        f"{NAMED} is half made: it holds instances, lease, pool, transitions but no revision: {RESCUE}",
    ),
    (
        changed("DELETE FROM alembic_version"),
        f"{NAMED} is half made: it holds instances, lease, pool, transitions but no revision: {RESCUE}",
    ),
    (
        changed("ALTER TABLE pool DROP COLUMN credit"),
        f"{NAMED} is half made: the table pool lacks the column credit: {RESCUE}",
    ),
    (changed("DELETE FROM lease"), f"{NAMED} is half made: the table lease has not its one row: {RESCUE}"),
]


@pytest.fixture(params=BROKEN, ids=[spoil.__name__ for spoil, _ in BROKEN])
def said(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Break the database at hand, and return how the line about it begins."""
    monkeypatch.chdir(tmp_path)
    Path("magister.toml").write_text(SETTINGS)
    shutil.copy(sqlite_template, FILE)
    spoil, words = request.param
    spoil()
    return f"magister: {words}"


def one_line(stderr: str) -> str:
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    return line


@pytest.mark.parametrize(
    "arguments", [("migrate",), ("status",), ("worker",), ("backup", "b.db"), ("adopt", "--dry-run")]
)
def test_every_command_refuses_it_in_one_line(said: str, arguments: tuple[str, ...]) -> None:
    before = FILE.read_bytes()
    result = CliRunner().invoke(main, arguments, prog_name="magister")
    assert result.exit_code == 2
    assert one_line(result.stderr).startswith(said)
    assert FILE.read_bytes() == before, "evidence is not touched"
    assert not Path("b.db").exists()


def test_the_web_side_refuses_it_in_one_line(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DatabaseUnusable) as raised:
        wsgi.require_usable(load(None).settings)
    assert web_process.HOPELESS[complain(raised.value)] == wsgi.HOPELESS
    assert one_line(capsys.readouterr().err).startswith(said)


def test_the_check_fails_for_it_in_one_line(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from magister.service import wiring
    from tests.fakes import FakeVast

    monkeypatch.setattr(wiring, "vast", lambda settings, nap: FakeVast())
    result = CliRunner().invoke(main, ("check",), prog_name="magister")
    assert result.exit_code == 1
    found = [line for line in result.stdout.splitlines() if line.startswith("FAIL  the database")]
    assert len(found) == 1
    assert found[0].startswith(said.replace("magister: ", "FAIL  ", 1))


def test_on_postgresql_as_well_half_made_ones_are_refused(postgres_sessions: Sessions) -> None:
    spoilers = ("UPDATE alembic_version SET version_num = '9999'", "DELETE FROM alembic_version")
    for words, mended in zip(spoilers, ("newer Magister", "half made"), strict=True):
        with postgres_sessions.engine.begin() as connection:
            before = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            connection.exec_driver_sql(words)
        try:
            with pytest.raises(DatabaseUnusable, match=mended) as raised:
                migrations.migrate(postgres_sessions)
        finally:
            with postgres_sessions.engine.begin() as connection:
                connection.exec_driver_sql("DELETE FROM alembic_version")
                connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{before}')")
        assert "the database postgresql+psycopg://" in str(raised.value)
    assert migrations.revision(postgres_sessions) == migrations.head()


def test_a_password_is_masked_wherever_it_stands() -> None:
    url = "postgresql+psycopg://me:secret-word@127.0.0.1:1/db?password=secret-word"
    with pytest.raises(DatabaseUnusable) as raised:
        migrations.migrate(open_database(url, busy_timeout=1))
    assert str(raised.value).startswith(
        "the database postgresql+psycopg://me:***@127.0.0.1:1/db?password=***"
    )
    assert "secret-word" not in str(raised.value)


def test_a_supervised_loop_never_makes_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sessions = open_database("sqlite:///magister.db", busy_timeout=1, bound=True)
    with pytest.raises(DatabaseUnusable, match="removed or moved"), sessions.read() as session:
        session.connection()
    assert not FILE.exists()
    assert loop_process.CLOSE_WITHIN < loop_process.END_WITHIN
