"""The wheel and the executable file, really built and really run: `make build-test`, which needs PyPI."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from magister import __version__
from magister.store.db.migrations import head
from tests.shipping.checkout import OUTSIDE, copied

MOMENT = "1700000000"


def built(source: Path, place: Path, umask: int) -> dict[str, Path]:
    """Run `make build` in a copy of a checkout at `place`, and return what it made by name."""
    checkout = Path(shutil.copytree(source, place))
    command = ["make", f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.installed", "build"]
    environment = OUTSIDE | {"SOURCE_DATE_EPOCH": MOMENT}
    subprocess.run(command, cwd=checkout, env=environment, umask=umask, check=True, capture_output=True)
    return {file.name: file for file in (checkout / "out").iterdir()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(source, tmp_path_factory.mktemp("one") / "checkout", umask=0o022)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def run(
    made: dict[str, Path], home: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the executable file with nothing but the Python that made it."""
    path = home / "bin"
    path.mkdir(exist_ok=True)
    if not (path / "python3").exists():
        (path / "python3").symlink_to(os.path.realpath(sys.executable))
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(home)} | settings
    return subprocess.run(
        [str(made["magister"]), *arguments],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )


def test_two_builds_of_one_source_are_the_same_bytes(
    source: Path, made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = built(source, tmp_path_factory.mktemp("two") / "deeper" / "checkout", umask=0o077)
    assert made.keys() == again.keys()
    assert len(made) == 3
    assert [name for name in made if made[name].read_bytes() != again[name].read_bytes()] == []


def test_the_executable_file_says_its_version(made: dict[str, Path], home: Path) -> None:
    done = run(made, home, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"magister {__version__}\n", "")


def test_it_makes_a_database_from_the_migrations_within(made: dict[str, Path], home: Path) -> None:
    settings = {"THIS_MAGISTER_ADDR": "http://203.0.113.7", "HIEROPHANT_IP": "203.0.113.8"}
    settings |= {"HIEROPHANT_HTTP_PORT": "9010", "VAST_API_KEY": "key", "NUMBER_INSTANCES": "1"}
    done = run(made, home, "migrate", TEMPLATE_HASH="abc", **settings)
    assert done.returncode == 0, done.stderr
    assert f"to revision {head()}" in done.stdout


def test_the_demo_runs_from_it_with_all_its_processes(made: dict[str, Path], home: Path) -> None:
    done = run(made, home, "demo", "--once")
    assert done.returncode == 0, done.stderr
    assert "the story is told, and every box is verified" in done.stdout


def test_postgresql_is_not_within(made: dict[str, Path]) -> None:
    with zipfile.ZipFile(made["magister"]) as archive:
        brought = {
            name.split("/")[1].split("-")[0] for name in archive.namelist() if name.startswith(".deps/")
        }
    assert {"magister", "pydantic_core", "sqlalchemy"} <= brought
    assert not {"psycopg", "psycopg_binary"} & brought
