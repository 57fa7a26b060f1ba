"""The checkout as its goals see it, and a copy of it in which they may do as they like."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

OUTSIDE = dict(os.environ)
"""The environment before the tests took the operator's settings out of it; pip and the engines need it."""


def copied(target: Path) -> Path:
    """Copy what belongs to the checkout, and nothing that was made in it, and return the copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


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
