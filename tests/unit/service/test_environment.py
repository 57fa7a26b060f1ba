"""What a process takes over from whoever started it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from magister.service import environment
from magister.settings.describe import known
from magister.settings.model import Settings
from tests.waiting import PATIENCE

PROGRAM = "import sys; from magister.service import environment; environment.prepare(); "


def shell(redirections: str, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program behind a shell's redirections."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, PROGRAM + program],
        env={"PATH": os.environ["PATH"]} | variables,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_is_opened_before_a_file_could_take_its_place(
    closed: str, tmp_path: Path
) -> None:
    program = (
        f"import os; fd = os.open('{tmp_path}/database', os.O_CREAT | os.O_RDWR); "
        "print('out'); print('err', file=sys.stderr); sys.stdin.read(0); sys.exit(fd)"
    )
    assert shell(closed, program).returncode >= 3
    assert (tmp_path / "database").read_bytes() == b""


def test_what_the_encoding_of_the_output_lacks_is_shown_as_an_escape() -> None:
    done = shell("", "print('RTX \\u2026')", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout) == (0, "RTX \\u2026\n")


def test_variables_meant_for_other_programs_are_forgotten_and_all_others_stay() -> None:
    environ = dict.fromkeys(environment.FOREIGN, "auto") | {
        "HTTP_PORT": "8555",
        "HTTPS_PROXY": "http://proxy",
    }
    environment.forget_foreign(environ)
    assert environ == {"HTTP_PORT": "8555", "HTTPS_PROXY": "http://proxy"}


def test_no_variable_of_magisters_own_is_forgotten() -> None:
    assert not environment.FOREIGN & {name for setting in known(Settings) for name in setting.variables}
