"""README says what is true."""

import re
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from magister.database import Sessions
from tests.readme import README, written

ROOT = Path(__file__).parent.parent.parent


def test_the_generated_parts_are_as_the_code_has_them() -> None:
    assert written(README.read_text()) == README.read_text(), "run: make readme"


def test_every_make_goal_that_it_names_exists() -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", README.read_text()))
    assert named <= goals
    assert {"demo", "test", "init"} <= named


def test_every_command_that_it_names_exists() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "magister", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in set(re.findall(r"\bmagister ([a-z]{3,})\b", "".join(code_in(README.read_text())))):
        assert re.search(rf"^  {command}\b", shown, re.MULTILINE), command


def code_in(page: str) -> list[str]:
    """Return the fenced and the inline code of a page."""
    return re.findall(r"```(?:sh|console)\n(.*?)```", page, re.DOTALL) + re.findall(r"`([^`\n]+)`", page)


def test_the_sql_that_it_shows_works(sqlite_sessions: Sessions) -> None:
    blocks = "\n".join(re.findall(r"```sql\n(.*?)```", README.read_text(), re.DOTALL))
    statements = [statement for statement in re.sub(r"--.*", "", blocks).split(";") if statement.strip()]
    assert len(statements) == 5
    with sqlite_sessions.read() as session:
        for statement in statements:
            session.execute(text(statement)).all()


def test_make_without_a_goal_lists_the_goals() -> None:
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert "make demo" in shown
    assert "make test" in shown
