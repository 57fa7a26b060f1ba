"""What docs/upgrading.md promises of the database."""

import os
import re
import subprocess
import sys
from pathlib import Path

from magister.schema import head
from tests.shipping.checkout import ROOT

PAGE = (ROOT / "docs" / "upgrading.md").read_text()


def alembic(database: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": f"sqlite:///{database}"}
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_a_checkout_takes_a_database_back_and_forth(sqlite_template: Path, tmp_path: Path) -> None:
    database = tmp_path / "magister.db"
    database.write_bytes(sqlite_template.read_bytes())
    shown = [line.strip() for line in re.findall(r"^ *\.venv/bin/alembic ([^#\n]*)", PAGE, re.MULTILINE)]
    assert shown == ["current", "downgrade -1"]
    assert alembic(database, "current").strip() == f"{head()} (head)"
    alembic(database, "downgrade", "-1")
    assert "(head)" not in alembic(database, "current")
    alembic(database, "upgrade", "head")
    assert alembic(database, "current").strip() == f"{head()} (head)"


def test_what_it_shows_of_a_database_that_is_too_new_is_what_is_said() -> None:
    source = (ROOT / "magister" / "schema.py").read_text()
    (shown,) = re.findall(r"^magister: the database is from (.*)$", PAGE, re.MULTILINE)
    pattern = re.sub(r"revision \S+, newest known \S+\)", "revision {found}, newest known {head()})", shown)
    said = re.sub(r'"\s+"', "", source)
    assert pattern.removesuffix(": run that version, or restore a backup") in said
    assert "run that version, or restore a backup" in said
