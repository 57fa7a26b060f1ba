"""The words of the command line, its exit codes, and how little it loads."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

from magister import __version__
from magister.cli.commands import status
from magister.cli.main import main
from magister.planner.conditions import Condition
from magister.store import pool
from magister.store.db.engine import RESCUE, open_database
from tests.waiting import PATIENCE

COMMANDS = (
    "accept-account",
    "adopt",
    "backup",
    "ban",
    "bans",
    "check",
    "cost",
    "demo",
    "health",
    "history",
    "machines",
    "migrate",
    "restore",
    "resume",
    "serve",
    "simulate",
    "status",
    "unban",
    "web",
    "why",
    "worker",
)

NO_DATABASE = "there is no database magister.db: `magister serve` or `magister migrate` makes it"

SETTINGS = """
this_magister_addr = "http://magister.example"
hierophant_ip = "hierophant.example"
hierophant_http_port = 9010
vast_api_key = "key-of-the-account"
template_hash = "819fdf2e42fc8ceb32f295465b5bb21e"
number_instances = 0
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="magister")


def configured() -> None:
    Path("magister.toml").write_text(SETTINGS)


def test_the_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {command} " in result.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_settings(command: str) -> None:
    result = run(command, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "--parent-fd" not in result.stdout


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"magister {__version__}\n"


def test_a_wrong_word_is_told_in_one_line() -> None:
    result = run("sreve")
    assert result.exit_code == 2
    assert result.stderr == (
        "magister: No such command 'sreve'. Did you mean 'serve'? See `magister --help`.\n"
    )


def test_a_wrong_option_is_told_in_one_line() -> None:
    result = run("serve", "--prot", "1")
    assert result.exit_code == 2
    assert result.stderr == "magister: No such option '--prot'. See `magister serve --help`.\n"


@pytest.mark.parametrize(
    "command",
    [
        "accept-account",
        "check",
        "cost",
        "history",
        "machines",
        "migrate",
        "resume",
        "serve",
        "status",
        "web",
        "worker",
    ],
)
def test_all_problems_of_the_settings_are_told_at_once(command: str) -> None:
    result = run(command)
    lines = result.stderr.splitlines()
    assert result.exit_code == 2
    assert len(lines) == 6
    assert all(line.startswith("magister: ") and " is required: " in line for line in lines)


@pytest.mark.parametrize(
    "arguments", [("--config", "other.toml", "status"), ("status", "--config", "other.toml")]
)
def test_the_settings_file_may_be_named_before_and_after_the_command(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr == "magister: other.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_settings_file(command: str) -> None:
    assert run(command, "--config", "other.toml", "--help").exit_code == 0


def _raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: Path | None, *, as_json: bool) -> NoReturn:
        raise error

    monkeypatch.setattr(status, "run", fail)


def test_what_nobody_foresaw_is_one_line_and_how_to_learn_more(monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(LookupError("no\nsuch thing"), monkeypatch)
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr == (
        "magister: unexpected: LookupError: no such thing; set MAGISTER_LOG=debug for the traceback\n"
    )


def test_a_traceback_is_shown_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGISTER_LOG", "debug")
    _raising(LookupError("no such thing"), monkeypatch)
    assert "Traceback" in run("status").stderr


def test_an_interruption_is_no_error_to_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(KeyboardInterrupt(), monkeypatch)
    result = run("status")
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (130, "", "")


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    configured()
    command = f"{sys.executable} -m magister check | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stderr == ""
    assert done.stdout in {"141\n", "1\n"}  # 1 when all was written before the reader went


def test_a_level_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    configured()
    monkeypatch.setenv("MAGISTER_LOG", "loud")
    result = run("migrate")
    assert result.exit_code == 2
    assert result.stderr.startswith('magister: log_level = "loud" from environment MAGISTER_LOG: must be')


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_level_that_is_none_is_told_with_all_other_problems(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MAGISTER_LOG", "loud")
    Path("magister.toml").write_text(SETTINGS.replace("number_instances = 0", "number_instances = -1"))
    result = run(command)
    assert result.exit_code == 2
    assert [line.split(" ")[1] for line in result.stderr.splitlines()] == [
        "number_instances",
        "log_level",
    ]


def test_a_migration_says_what_it_did() -> None:
    configured()
    first, second = run("migrate"), run("migrate")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.startswith("the database sqlite:///magister.db went from empty to revision ")
    assert second.stdout.endswith(" already\n")


@pytest.mark.parametrize("command", ["migrate", "status"])
def test_a_database_that_cannot_be_used_is_told_in_one_line(command: str) -> None:
    configured()
    Path("magister.db").write_text("this is no database, and long enough to be taken for a header " * 9)
    result = run(command)
    assert result.exit_code == 2
    assert result.stderr == (
        "magister: the database sqlite:///magister.db cannot be used: it is no SQLite database "
        f"(file is not a database): {RESCUE}\n"
    )


@pytest.mark.parametrize("command", ["accept-account", "resume", "status"])
def test_a_look_at_no_database_makes_none(command: str) -> None:
    configured()
    result = run(command)
    assert result.exit_code == 2
    assert result.stderr == f"magister: {NO_DATABASE}\n"
    assert not Path("magister.db").exists()


def test_the_status_says_why_the_pool_is_not_well() -> None:
    configured()
    run("migrate")
    result = run("status")
    assert result.exit_code == 1
    assert "target 0: nothing rented; 0.0000 USD/h" in result.stdout
    assert "  the loop has never run on this database" in result.stdout


def test_the_status_as_json_says_the_same() -> None:
    configured()
    run("migrate")
    result = run("status", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (said["well"], said["target"], said["instances"]) == (False, 0, [])
    assert "the loop has never run on this database" in said["why"]


def test_resuming_says_what_was_held_back() -> None:
    configured()
    run("migrate")
    assert run("resume").stdout == "resumed: nothing was held back\n"
    sessions = open_database("sqlite:///magister.db", busy_timeout=5)
    held_back = Condition("the last 5 rentals failed", "see why", "rentals_fail")
    with sessions.write() as session:
        pool.beat(
            session,
            datetime.now(UTC),
            target=3,
            conditions=(held_back, Condition("no credit", "x", "no_credit")),
        )
        pool.hold_renting(session, until=datetime.now(UTC), refusals=3)
    assert run("resume").stdout == "resumed: the last 5 rentals failed\n"
    with sessions.read() as session:
        state = pool.read(session)
    sessions.engine.dispose()
    assert state.trusted_at is not None
    assert (state.rent_not_before, state.rent_refusals) == (None, 0)


def test_the_worker_asks_for_a_migration_first() -> None:
    configured()
    result = run("worker")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"magister: {NO_DATABASE}\n")
    assert not Path("magister.db").exists()


def test_a_simulator_that_cannot_be_is_told_in_one_line() -> None:
    result = run("simulate", "--port", "0", "--hierophant-port", "0", "--speed", "0")
    assert (result.exit_code, result.stderr) == (2, "magister: speed must be above 0, not 0.0\n")


def test_the_demo_does_not_touch_a_directory_that_is_not_its_own() -> None:
    configured()
    result = run("demo", "--dir", ".")
    assert result.exit_code == 2
    assert result.stderr == "magister: . is not empty and not a demo's: choose another with --dir\n"
    assert Path("magister.toml").read_text() == SETTINGS


HEAVY = {"alembic", "flask", "gunicorn", "requests", "rich", "sqlalchemy", "tenacity"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("magister.cli.main", HEAVY | {"magister.settings.model", "pydantic", "structlog"}),
        ("magister.service.serve", HEAVY - {"rich"}),
    ],
)
def test_little_is_loaded(module: str, absent: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert not absent & set(done.stdout.split())
