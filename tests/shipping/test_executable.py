"""What the one executable file says to a Python that cannot load its native code."""

import platform
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.shipping.checkout import ROOT

HERE = sys.version_info[:2]
SUFFIX = EXTENSION_SUFFIXES[0]
BEHIND = "print('went on')\n"


@pytest.fixture(scope="module")
def executable() -> ModuleType:
    spec = spec_from_file_location("executable", ROOT / ".ci" / "executable.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(file: Path, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(file), "serve", "--config", "a b"]
    return subprocess.run(command, env={"PATH": str(path)}, check=False, capture_output=True, text=True)


def guarded(executable: ModuleType, place: Path, version: tuple[int, int], suffix: str) -> Path:
    file = place / "magister"
    file.write_text(executable.guarded(version, suffix) + BEHIND)
    return file


def test_the_python_it_was_made_with_goes_on(executable: ModuleType, tmp_path: Path) -> None:
    done = run(guarded(executable, tmp_path, HERE, SUFFIX), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_another_python_is_told_in_a_line_which_one_it_takes(executable: ModuleType, tmp_path: Path) -> None:
    done = run(guarded(executable, tmp_path, (3, 99), ".cpython-399-x86_64-linux-gnu.so"), tmp_path)
    here = SUFFIX.strip(".").removesuffix(".so")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "magister: this file needs Python 3.99 (cpython-399-x86_64-linux-gnu), but python3 is "
        f"{HERE[0]}.{HERE[1]} ({here}): install python3.99, or use the wheel\n"
    )


def test_another_architecture_is_told_as_well(executable: ModuleType, tmp_path: Path) -> None:
    other = SUFFIX.replace(platform.machine(), "riscv64")
    done = run(guarded(executable, tmp_path, HERE, other), tmp_path)
    assert done.returncode == 2
    assert "riscv64" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_right_python_is_taken_where_it_has_another_name(executable: ModuleType, tmp_path: Path) -> None:
    other = tmp_path / "python3.99"
    other.write_text('#!/bin/sh\nfor each; do echo "[$each]"; done\n')
    other.chmod(0o755)
    file = guarded(executable, tmp_path, (3, 99), ".cpython-399-x86_64-linux-gnu.so")
    assert run(file, tmp_path).stdout == f"[{file}]\n[serve]\n[--config]\n[a b]\n"
