"""The systemd unit is one that systemd accepts, and leaves a stranger little."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from magister.service.supervisor import END_WITHIN, UNUSABLE
from tests.shipping.checkout import OUTSIDE, ROOT

UNIT = (ROOT / "docs" / "magister.service").read_text()
MOST_EXPOSED = 1.5
"""Of 10; systemd calls below 2 well protected."""


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Write the unit with a program and a user that this machine has."""
    if shutil.which("systemd-analyze", path=OUTSIDE["PATH"]) is None:
        pytest.skip("no systemd-analyze on this machine")
    file = tmp_path / "magister.service"
    here = UNIT.replace("/usr/local/bin/magister", sys.executable)
    file.write_text(re.sub(r"^(User|Group)=.*\n", "", here, flags=re.MULTILINE))
    return file


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Run the commands that the unit begins with, with a folder for the machine, and return that."""
    commands = "\n".join(re.findall(r"^#   (.+)$", UNIT, re.MULTILINE))
    machine, checkout = tmp_path / "machine", tmp_path / "checkout"
    for folder in ("usr/local/bin", "etc/systemd/system"):
        (machine / folder).mkdir(parents=True)
    for name in ("out/magister", "magister.toml", ".env", "docs/magister.service"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(name)
    commands = re.sub(r" (/usr/local|/etc)/", rf" {machine}\1/", commands).replace("-g magister ", "")
    told = f'useradd() {{ echo useradd "$@"; }}; systemctl() {{ echo systemctl "$@"; }}\nset -e\n{commands}'
    done = subprocess.run(["bash", "-c", told], cwd=checkout, check=True, capture_output=True, text=True)
    user, *rest = done.stdout.splitlines()
    assert user.split()[-1] == setting("User") == setting("Group")
    assert rest == ["systemctl daemon-reload", "systemctl enable --now magister"]
    return machine


def test_the_commands_at_its_head_put_everything_where_it_looks(installed: Path) -> None:
    program, _, option, config = setting("ExecStart").split()
    assert option == "--config"
    found = {
        name: (installed / where.strip("-/")).stat().st_mode & 0o777
        for name, where in {
            "program": program,
            "config": config,
            "environment": setting("EnvironmentFile"),
            "unit": "/etc/systemd/system/magister.service",
        }.items()
    }
    assert found == {"program": 0o755, "config": 0o640, "environment": 0o600, "unit": 0o644}


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env={"PATH": OUTSIDE["PATH"]},
        check=False,
        capture_output=True,
        text=True,
    )


def test_systemd_has_nothing_to_say_against_it(unit: Path) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_exposed_to_little(unit: Path) -> None:
    unit.write_text(UNIT)
    done = analyze(
        "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}", str(unit)
    )
    assert done.returncode == 0, done.stdout[-200:]


def test_what_a_person_has_to_mend_is_not_tried_again() -> None:
    assert setting("RestartPreventExitStatus") == str(UNUSABLE)
    assert setting("Restart") == "on-failure"


def test_a_reload_asks_the_supervisor_alone() -> None:
    assert setting("ExecReload") == "/bin/kill -HUP $MAINPID"


def test_the_supervisor_has_time_to_end_the_others() -> None:
    assert setting("KillMode") == "mixed"
    assert float(setting("TimeoutStopSec")) > END_WITHIN + 5


def test_nothing_but_the_database_and_the_cache_can_be_written() -> None:
    assert setting("ProtectSystem") == "strict"
    assert (setting("StateDirectory"), setting("CacheDirectory")) == ("magister", "magister")
    assert setting("WorkingDirectory") == "/var/lib/magister"
    assert "ReadWritePaths" not in UNIT
