"""What .ci/run makes of the image where it may build one, where it may by sudo, and where it cannot."""

import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.shipping.checkout import OUTSIDE, ROOT

HAD = ("bash", "sh", "dirname", "tail", "true")
COMMANDS = ("buildah", "podman", "runc", "debootstrap", "podman-compose", "chown", "rm")
BANNER = "THE IMAGE WAS NEITHER BUILT NOR RUN"


@dataclass
class Machine:
    """Run .ci/run where every other program writes down that it was asked, and does nothing."""

    checkout: Path
    programs: Path

    def program(self, name: str, text: str = "") -> None:
        """Put a stand-in on the path."""
        where = self.checkout / ".venv" / "bin" / name if name == "python" else self.programs / name
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.programs}/told"\n{text}\n')
        where.chmod(0o755)

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.programs), **variables}
        command = ["bash", str(self.checkout / ".ci" / "run")]
        return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    @property
    def told(self) -> list[str]:
        return (self.programs / "told").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine whose user is root."""
    machine = Machine(tmp_path / "checkout", tmp_path / "programs")
    (machine.checkout / ".ci").mkdir(parents=True)
    (machine.checkout / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    machine.programs.mkdir()
    for name in HAD:
        found = next(Path(part, name) for part in OUTSIDE["PATH"].split(":") if Path(part, name).exists())
        (machine.programs / name).symlink_to(found)
    for name in COMMANDS:
        machine.program(name)
    machine.program("make")
    machine.program("python")
    machine.program("id", "echo 0")
    return machine


def ordinary(machine: Machine, sudo: str) -> None:
    """Make its user an ordinary one; `sudo` = what sudo does."""
    machine.program("id", "echo 1234")
    machine.program("sudo", sudo)


AS_ROOT = 'while [ "${1#-}" != "$1" ]; do shift; done\nexport ROOT=yes; exec "$@"'
"""A sudo that asks for no password."""


def test_root_builds_and_runs_the_image(machine: Machine) -> None:
    assert machine.run().returncode == 0
    goals = [line for line in machine.told if line.startswith("make ")]
    assert goals == ["make install", "make check", "make build-test", "make image-test", "make test"]


def test_who_may_use_sudo_does_so_for_the_image_alone_and_has_the_files_back(machine: Machine) -> None:
    ordinary(machine, AS_ROOT)
    machine.program("make", f'echo "root: $ROOT" >>"{machine.programs}/told"')
    done = machine.run(MAGISTER_IMAGE_TEST="required")
    assert done.returncode == 0, done.stderr
    by_root = {line: after for line, after in pairwise(machine.told) if line.startswith("make ")}
    assert [goal for goal, who in by_root.items() if who == "root: yes"] == ["make image-test"]
    assert len(by_root) == 5
    assert machine.told.index("chown -hR 1234:1234 .") < machine.told.index("make test")
    assert BANNER not in done.stderr


def test_the_files_are_given_back_also_when_the_image_is_bad(machine: Machine) -> None:
    ordinary(machine, AS_ROOT)
    machine.program("make", '[ "$1" != image-test ]')
    assert machine.run().returncode != 0
    assert "chown -hR 1234:1234 ." in machine.told
    assert "make test" not in machine.told


@pytest.mark.parametrize(("required", "code"), [("", 0), ("required", 1)])
@pytest.mark.parametrize("sudo", ["exit 1", AS_ROOT], ids=["no sudo", "sudo"])
def test_a_machine_that_cannot_says_so_and_fails_where_it_was_to(
    machine: Machine, sudo: str, required: str, code: int
) -> None:
    ordinary(machine, sudo)
    machine.program("python", "echo no namespaces can be made here; exit 1")
    done = machine.run(MAGISTER_IMAGE_TEST=required)
    assert done.returncode == code
    assert BANNER in done.stderr
    assert "no namespaces can be made here" in done.stderr
    assert "make image-test" not in machine.told
    assert "make test" in machine.told


def test_the_workflow_that_checks_every_change_fails_without_an_image() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["check-and-test"]["steps"] if "run" in step]
    assert step == {"run": "bash .ci/run", "env": {"MAGISTER_IMAGE_TEST": "required"}}


def test_a_release_runs_the_image_that_it_made_before_anything_is_pushed() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    built, tried = (
        next(number for number, step in enumerate(jobs["build"]["steps"]) if script in step.get("run", ""))
        for script in ("build-image.sh", "try-image.sh")
    )
    assert built < tried
    assert "push.py" not in str(jobs["build"])
    assert jobs["publish"]["needs"] == "build"
