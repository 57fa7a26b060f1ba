"""What the goals of the Makefile do before they reach an engine, and what they say if a thing is missing."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.shipping.checkout import OUTSIDE, ROOT, copied, make

GOALS = (
    *("help", "init", "install", "build", "clean", "demo", "serve", "test", "check", "docker", "ci", "run"),
    *("stop", "shell", "act", "lock", "image-test", "build-test", "bare-test"),
)

READER = 1000
"""The user in the container."""

ENGINES = ("docker", "podman", "buildah")


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """Return a path on which there is nothing but what every machine has."""
    place = tmp_path / "bin"
    place.mkdir()
    for command in ("sh", "bash", "sed", "date", "ls", "find", "grep", "awk", "test", "make"):
        found = next(
            Path(part, command) for part in OUTSIDE["PATH"].split(":") if Path(part, command).exists()
        )
        (place / command).symlink_to(found)
    return str(place)


def names(checkout: Path) -> set[str]:
    return {path.name for path in checkout.iterdir()}


def test_help_names_every_goal(checkout: Path) -> None:
    shown = make(checkout).stdout
    assert [goal for goal in GOALS if not re.search(rf"^  make {goal} ", shown, re.MULTILINE)] == []


def test_init_makes_the_two_files_and_overwrites_neither(checkout: Path) -> None:
    assert make(checkout, "init").returncode == 0
    assert {(checkout / name).stat().st_mode & 0o777 for name in (".env", "magister.toml")} == {0o600}
    (checkout / ".env").write_text("mine")
    (checkout / "magister.toml").write_text("mine")
    said = make(checkout, "init").stdout
    assert (checkout / ".env").read_text() == (checkout / "magister.toml").read_text() == "mine"
    assert ".env is there already" in said


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yes please\n"])
def test_clean_removes_nothing_unless_it_is_told_y(checkout: Path, answer: str) -> None:
    (checkout / "out").mkdir()
    done = make(checkout, "VENV=.venv", "clean", answer=answer)
    assert done.returncode != 0
    assert (checkout / "out").is_dir()


@pytest.mark.parametrize(("answer", "force"), [("y\n", ""), ("", "1")])
def test_clean_removes_what_was_made_and_leaves_what_is_the_operators(
    checkout: Path, answer: str, force: str
) -> None:
    for name in ("out", ".demo", ".image"):
        (checkout / name).mkdir()
    for name in (".env", "magister.toml", "magister.db"):
        (checkout / name).touch()
    done = make(checkout, "VENV=.venv", "clean", answer=answer, FORCE=force)
    assert done.returncode == 0, done.stderr
    assert not {"out", ".demo", ".image"} & names(checkout)
    assert {".env", "magister.toml", "magister.db"} <= names(checkout)


def test_what_the_image_is_made_of_comes_from_the_maintainers_file(checkout: Path) -> None:
    (checkout / ".env.maintainer").write_text(
        "MAGISTER_NAME=pool\nIMAGE_TAG=7\nBUILD_IMAGE=b:1\nRUNTIME_IMAGE=r:1\n"
        "IMAGE_SOURCE=https://git.example/pool\nIMAGE_VENDOR=Pools, Inc.\n"
    )
    said = make(checkout, "-n", "docker", ENGINE="podman").stdout
    for part in (
        "--tag pool:7",
        "BUILD_IMAGE=b:1",
        "RUNTIME_IMAGE=r:1",
        'SOURCE="https://git.example/pool"',
        'VENDOR="Pools, Inc."',
        "VERSION=1.2.3",
        "BUILD_TYPE=source",
    ):
        assert part in said


def test_the_environment_wins_over_the_maintainers_file(checkout: Path) -> None:
    wanted = {
        "MAGISTER_NAME": "mine",
        "IMAGE_TAG": "x",
        "RUNTIME_IMAGE": "r:2",
        "DOCKER_BUILD_ARGS": "--pull --a='b c'",
    }
    said = make(checkout, "-n", "docker", **wanted).stdout
    assert "docker build" in said
    assert "--tag mine:x" in said
    assert "RUNTIME_IMAGE=r:2" in said
    assert "--pull --a='b c'" in said


def test_only_docker_is_not_told_to_keep_the_health_check(checkout: Path) -> None:
    kept = {
        engine: "--format docker" in make(checkout, "-n", "docker", ENGINE=engine).stdout
        for engine in ENGINES
    }
    assert kept == {"docker": False, "podman": True, "buildah": True}


@pytest.mark.parametrize(
    ("goal", "variables", "said"),
    [
        ("docker", {"ENGINE": "nerdctl"}, "there is no nerdctl on this machine"),
        ("run", {"ENGINE": "buildah"}, "buildah builds images and runs none: ENGINE=docker or ENGINE=podman"),
        ("shell", {"ENGINE": "buildah"}, "buildah builds images and runs none"),
        ("ci", {"ENGINE": "true"}, "there is no wheel in out/: make build"),
        ("act", {}, "make act: there is no act on this machine"),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    checkout: Path, bare: str, goal: str, variables: dict[str, str], said: str
) -> None:
    for stand_in in ("buildah", "true"):
        Path(bare, stand_in).symlink_to("/bin/true")
    done = make(checkout, "-s", goal, **({"PATH": bare} | variables))
    assert done.returncode == 2
    line, verdict = done.stderr.splitlines()
    assert said in line
    assert verdict.startswith("make: *** ")


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (
            "ensurepip",
            "has no ensurepip, so it cannot make the environment .venv: install it (on Debian: apt",
        ),
        ("version", "Magister needs Python 3.11 or newer, this is 3.9.2"),
        ("itself", "on this machine: install Python 3.11 or newer (on Debian: apt install python3-venv)"),
    ],
)
def test_a_python_that_cannot_install_it_is_told_in_a_line(checkout: Path, lacks: str, said: str) -> None:
    python = checkout / "python"
    if lacks != "itself":
        # it runs what it is asked to, but as one that is older, or that finds no ensurepip
        python.write_text(
            f"#!{sys.executable}\nimport sys\n"
            + {
                "version": "sys.version_info, sys.version = (3, 9, 2), '3.9.2 (default)'\n",
                "ensurepip": "sys.modules['ensurepip'] = None\n",
            }[lacks]
            + "exec(sys.argv[2])\n"
        )
        python.chmod(0o755)
    done = make(checkout, "VENV=.venv", f"PYTHON={python}", "demo")
    assert done.returncode == 2
    line, verdict = done.stderr.splitlines()
    assert said in line
    assert verdict.startswith("make: *** ")
    assert not (checkout / ".venv").exists()


def test_run_builds_nothing_before_the_settings_can_be_used(checkout: Path, bare: str) -> None:
    Path(bare, "docker").symlink_to("/bin/echo")
    for command in ("cp", "chmod"):
        Path(bare, command).symlink_to(f"/bin/{command}")
    make(checkout, "init", PATH=bare)
    (checkout / "magister.toml").chmod(0o600)
    unreadable = make(checkout, "-s", "run", PATH=bare)
    (checkout / "magister.toml").chmod(0o644)
    unset = make(checkout, "-s", "run", PATH=bare)
    assert (unreadable.returncode, unset.returncode) == (2, 2)
    if os.getuid() != READER:
        assert "magister.toml cannot be read in the container" in unreadable.stderr
    assert "vast_api_key is required" in unset.stderr
    assert "build" not in unset.stdout


def test_act_without_secrets_says_where_they_are_described(checkout: Path, bare: str) -> None:
    Path(bare, "act").symlink_to("/bin/true")
    done = make(checkout, "-s", "act", PATH=bare)
    assert done.returncode == 2
    assert "docs/workflow-testing.md" in done.stderr


def test_act_rehearses_the_release_with_what_args_name(checkout: Path) -> None:
    done = make(checkout, "-s", "--dry-run", "act", ARGS="--job build")
    assert done.stdout.splitlines()[-1] == ".github/scripts/act.sh --job build"


def test_no_settings_and_no_secrets_go_into_a_build() -> None:
    passed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert not {".env", "magister.toml", ".act-secrets", ".git", "."} & set(passed)
    missing = [name for name in passed if "*" not in name and not (ROOT / name).exists()]
    assert missing == []


MADE = (".venv/x", "out/magister", ".env", ".image/figures.md", "pool.db", "magister/__pycache__/x")


@pytest.mark.parametrize("archive", [False, True], ids=["clone", "archive"])
def test_the_checkout_can_be_copied_without_what_was_made_in_it(tmp_path: Path, archive: bool) -> None:
    """Also where git is not, or knows nothing of it: in what was unpacked from an archive."""
    if not archive and (shutil.which("git") is None or not (ROOT / ".git").exists()):
        pytest.skip("no repository of git")
    source = ROOT
    if archive:
        source = copied(tmp_path / "archive")
        for name in MADE:
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).touch()
    target = copied(tmp_path / "copy", source)
    assert {"Makefile", "Dockerfile", "magister", ".env.maintainer", "tests"} <= names(target)
    assert not {".venv", "out", ".env", ".image", "pool.db", ".git"} & names(target)
    assert (target / "magister" / "states.py").exists()
    assert (target / ".ci" / "run").stat().st_mode == (ROOT / ".ci" / "run").stat().st_mode
    assert not list(target.rglob("__pycache__"))
