"""The wheel holds all that is needed: migrations above all."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the sdist, as an installer would, and unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def magister(unpacked: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(unpacked), "TEMPLATE_HASH": "abc"}
    environment |= {"THIS_MAGISTER_ADDR": "http://203.0.113.7", "HIEROPHANT_IP": "203.0.113.8"}
    environment |= {"HIEROPHANT_HTTP_PORT": "9010", "VAST_API_KEY": "key", "NUMBER_INSTANCES": "1"}
    command = [sys.executable, "-P", "-m", "magister", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)


def test_a_database_is_made_from_the_migrations_in_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    assert (unpacked / "magister" / "migrations" / "env.py").is_file()
    done = magister(unpacked, tmp_path, "migrate")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "magister.db").is_file()


def test_the_licence_and_the_types_are_in_the_wheel(unpacked: Path) -> None:
    (licence,) = unpacked.glob("*.dist-info/licenses/LICENSE")
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in licence.read_text()
    assert (unpacked / "magister" / "py.typed").is_file()
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    assert "License-Expression: AGPL-3.0-only" in metadata.read_text()
