"""The checkout as its goals see it, and a copy of it in which they may do as they like."""

import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

OUTSIDE = dict(os.environ)
"""The environment before the tests took the operator's settings out of it; pip and the engines need it."""


def copied(target: Path, source: Path = ROOT) -> Path:
    """Copy what belongs to the checkout, and nothing that was made in it, and return the copy."""
    for name in _listed(source):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    return target


def _listed(source: Path) -> list[str]:
    """Return the names of the files that git has or would take; without git what .gitignore leaves."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (source / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(command, cwd=source, check=False, capture_output=True, text=True)
        if listed.returncode == 0:
            return [name for name in listed.stdout.split("\0") if name]
    ignored = [line.strip("/") for line in (source / ".gitignore").read_text().splitlines()]

    def left_out(names: list[str]) -> set[str]:
        return {name for name in names if name == ".git" or any(fnmatch(name, each) for each in ignored)}

    found: list[str] = []
    for folder, folders, files in os.walk(source):
        folders[:] = set(folders) - left_out(folders)
        at = Path(folder).relative_to(source)
        found += [str(at / name) for name in set(files) - left_out(files)]
    return found


def make(
    where: Path, *arguments: str, answer: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run make with the virtual environment that runs this, in an environment of `variables` and little else.

    The goals take it for installed. `answer` is what is typed.
    """
    needed: dict[str, str] = {name: OUTSIDE[name] for name in ("PATH", "HOME") if name in OUTSIDE}
    return subprocess.run(
        ["make", f"VENV={sys.prefix}", f"--old-file={sys.prefix}/.installed", *arguments],
        cwd=where,
        env=needed | variables,
        input=answer,
        check=False,
        capture_output=True,
        text=True,
    )
