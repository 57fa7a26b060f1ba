"""Make the one executable file: the wheel in out/ and its locked dependencies, the same bytes every time.

pex does the work. Some dependencies are native code, which no interpreter can load from within an archive;
pex unpacks all once per user into a cache, as a virtual environment whose interpreter is `sys.executable`, so
that the processes that the service starts find everything, too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).parent.parent

GUARD = """
import os, sys
from importlib.machinery import EXTENSION_SUFFIXES
def _guard(version, suffix, built_for):
    if suffix in EXTENSION_SUFFIXES:
        return
    if sys.version_info[:2] != version:
        try:
            os.execvp("python%d.%d" % version, ["python%d.%d" % version] + sys.argv)
        except OSError:
            pass
    here = EXTENSION_SUFFIXES[0].strip(".").rsplit(".", 1)[0]
    sys.stderr.write("magister: this file needs Python %d.%d (%s), but python3 is %d.%d (%s): "
        "install python%d.%d, or use the wheel\\n"
        % (version + (built_for,) + sys.version_info[:2] + (here,) + version))
    sys.exit(2)
_guard({version!r}, {suffix!r}, {built_for!r})
"""
"""What the file runs first, in any Python 3: whether its native code can be loaded, and if not, a line."""


def main() -> None:
    """Write out/magister."""
    (wheel,) = (ROOT / "out").glob("magister-*.whl")
    with tempfile.TemporaryDirectory() as scratch:
        guard, wheels, made = (Path(scratch, name) for name in ("guard.py", "wheels", "magister"))
        guard.write_text(guarded(sys.version_info[:2], EXTENSION_SUFFIXES[0]))
        lock = ("--no-deps", "--require-hashes", "--requirement", str(ROOT / "requirements.lock"))
        _python("pip", "download", "--quiet", "--only-binary=:all:", *lock, "--dest", str(wheels))
        for left_out in wheels.glob("psycopg*"):  # who has PostgreSQL takes the wheel or the image
            left_out.unlink()
        shutil.copy(wheel, wheels)
        _python("pex", *options(guard, wheels), "--output-file", str(made), scratch=scratch)
        made.chmod(0o755)
        shutil.move(made, ROOT / "out" / "magister")


def guarded(version: tuple[int, int], suffix: str) -> str:
    """Return the guard for a file made with Python `version`, whose native modules end in `suffix`."""
    return GUARD.format(version=version, suffix=suffix, built_for=suffix.strip(".").rsplit(".", 1)[0])


def options(guard: Path, wheels: Path) -> Sequence[str]:
    """Return pex's options: nothing but these wheels, and an environment of its own."""
    return (
        *("--no-pypi", "--pre-resolved-dists", str(wheels), "--no-compile"),
        *("magister", "--venv", "prepend", "--console-script", "magister"),
        *("--preamble-file", str(guard), "--python-shebang", "/usr/bin/env python3"),
    )


def _python(module: str, *arguments: str, scratch: str | None = None) -> None:
    """Run a module; with `scratch`, keep pex's own cache there, so that no earlier build can show through."""
    own = {} if scratch is None else {"PEX_ROOT": str(Path(scratch, "cache"))}
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, env=os.environ | own)  # noqa: S603


if __name__ == "__main__":
    main()
