"""Start a private PostgreSQL server for the tests, or use the one that MAGISTER_TEST_POSTGRES names."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.ports import free_port
from tests.waiting import PATIENCE

VARIABLE = "MAGISTER_TEST_POSTGRES"


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's server programs; None = there is none on this machine."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


@contextmanager
def server() -> Iterator[str | None]:
    """Yield the URL of a database on a throw-away server; None = none can be had here."""
    given = os.environ.get(VARIABLE)
    if given:
        yield given
        return
    programs = binaries()
    if programs is None:
        yield None
        return
    with TemporaryDirectory(prefix="magister-postgres-", ignore_cleanup_errors=True) as folder:
        yield from _served(programs, Path(folder))


def _served(programs: Path, folder: Path) -> Iterator[str]:
    data = folder / "data"
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    _run([*as_user, str(programs / "initdb"), "-D", str(data), "-U", "magister", "-A", "trust", "--no-sync"])
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200 -k ''"
    control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-l", str(folder / "log"), "-w"]
    _run([*control, "-t", f"{PATIENCE:g}", "-o", options, "start"])
    try:
        yield f"postgresql+psycopg://magister@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd="/")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/")
