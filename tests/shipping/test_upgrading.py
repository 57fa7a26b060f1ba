"""What docs/upgrading.md promises of the database."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from magister.store.db.migrations import head
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


def test_what_it_shows_of_a_database_that_is_too_new_is_what_is_said(
    sqlite_template: Path, tmp_path: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "magister.db")
    with closing(sqlite3.connect(tmp_path / "magister.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0009'")
        database.commit()
    settings = {"THIS_MAGISTER_ADDR": "http://203.0.113.7", "HIEROPHANT_IP": "203.0.113.8"}
    settings |= {"HIEROPHANT_HTTP_PORT": "9010", "VAST_API_KEY": "key", "NUMBER_INSTANCES": "1"}
    command = [sys.executable, "-m", "magister", "migrate"]
    environment = settings | {"PATH": os.environ["PATH"], "TEMPLATE_HASH": "abc"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    (shown,) = re.findall(r"^magister: the database .*$", PAGE, re.MULTILINE)
    known = re.compile(r"newest known \w+")
    assert done.returncode == 2
    assert known.sub("", done.stderr.strip()) == known.sub("", shown)
