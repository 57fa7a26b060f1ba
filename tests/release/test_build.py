"""From an engine's store to the folder that is pushed, and what is kept at GitHub."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.release import world
from tests.release.test_release import refused
from tests.release.world import VERSION, Runner


def program(folder: Path, name: str, text: str) -> None:
    """Write a program that stands in for another, and writes down what it is told."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/bash\nset -e\necho "$@" >>"{folder}/{name}.told"\n{text}\n')
    (folder / name).chmod(0o755)


@pytest.fixture
def programs_of(runner: Runner) -> Runner:
    """Put a folder for such programs first on the runner's PATH."""
    folder = runner.folder / "programs"
    folder.mkdir()
    path = runner.shell(["sh", "-c", "echo $PATH"]).stdout.strip()
    return replace(runner, environment={"PATH": f"{folder}:{path}"})


def test_an_image_is_built_on_what_the_runner_says_and_exported_as_it_is(programs_of: Runner) -> None:
    runner, folder = programs_of, programs_of.folder / "programs"
    program(
        folder, "make", f'echo "$1 $MAGISTER_NAME:$IMAGE_TAG $BUILD_IMAGE $RUNTIME_IMAGE" >>{folder}/made'
    )
    copy = f'skopeo copy -q dir:{runner.folder}/image "docker-archive:$3:$4"'
    program(folder, "docker", f'[[ "$1 $2" == "save --output" ]]; {copy}')
    layout = runner.folder / "exported"

    done = runner.run("build-image.sh", VERSION, layout)

    assert done.returncode == 0, done.stderr
    image = f"{runner.name}:{VERSION}"
    assert (folder / "made").read_text().splitlines() == [
        f"build {image} debian:build debian:run",
        f"ci {image} debian:build debian:run",
    ]
    assert runner.run("push.py", layout, VERSION, runner.files).returncode == 0
    assert runner.run("provenance.py", layout, VERSION, runner.files).returncode == 0


def test_podman_and_buildah_write_the_folder_themselves(programs_of: Runner) -> None:
    folder = programs_of.folder / "programs"
    program(folder, "buildah", "")
    runner = replace(programs_of, environment={**programs_of.environment, "ENGINE": "buildah"})
    assert runner.run("export-image.sh", "magister:1", runner.folder / "exported").returncode == 0
    told = (folder / "buildah.told").read_text()
    assert (
        told
        == f"push --quiet --format v2s2 --compression-format gzip magister:1 dir:{runner.folder}/exported\n"
    )


def test_an_engine_that_is_not_known_is_refused(runner: Runner) -> None:
    runner = replace(runner, environment={"ENGINE": "lxc"})
    refused(runner.run("export-image.sh", "magister:1", runner.folder / "x"), "it must be docker, podman or")


def test_a_release_that_was_begun_is_taken_up_and_renewed(programs_of: Runner) -> None:
    runner, folder = programs_of, programs_of.folder / "programs"
    program(folder, "gh", '[[ $GH_TOKEN == release-token ]]; [[ ! -e "$0.absent" || $2 != view ]]')
    (folder / "gh.absent").touch()
    assert runner.run("github-release.sh", "fetch", "v1", runner.files).returncode == 0
    assert "download" not in (folder / "gh.told").read_text()
    (folder / "gh.absent").unlink()
    (runner.files / "notes.md").touch()
    for what in ("fetch", "publish", "download"):
        assert runner.run("github-release.sh", what, "v1", runner.files).returncode == 0
    (runner.files / "rollback-1.json").touch()
    assert runner.run("github-release.sh", "add-rollback", "v1", runner.files).returncode == 0
    told = [line for line in (folder / "gh.told").read_text().splitlines() if "release view" not in line]
    assert told == [
        f"release download v1 --dir {runner.files} --pattern release-record.json",
        f"release edit v1 --notes-file {runner.files}/notes.md",
        f"release upload v1 --clobber {runner.files}/notes.md",
        f"release download v1 --dir {runner.files}",
        f"release upload v1 --clobber {runner.files}/rollback-1.json",
    ]


DOCKER = """
case "$1 $*" in
    *--version) echo "magister {says}" ;;
    exec*verified*) exit {empty} ;;
    exec*touch*) exit {hard} ;;
    inspect*) echo {code} ;;
    logs*) echo what it logged ;;
esac
"""
GOOD = {"says": VERSION, "empty": 0, "hard": 1, "code": 0}


@pytest.mark.parametrize(
    ("turned", "said"),
    [
        ({}, ""),
        ({"says": "0.0.9"}, f"it is to be magister {VERSION} and calls itself magister 0.0.9"),
        ({"empty": 1}, "its pool was not full in 90 tries"),
        ({"hard": 0}, "it can write where it should not"),
        ({"code": 137}, "SIGTERM ended it with exit code 137"),
    ],
)
def test_an_image_is_released_only_if_it_fills_a_pool_and_ends_well(
    programs_of: Runner, turned: dict[str, object], said: str
) -> None:
    folder = programs_of.folder / "programs"
    program(folder, "docker", DOCKER.format(**(GOOD | turned)))
    program(folder, "sleep", "")
    done = programs_of.run("try-image.sh", "magister:1", VERSION)
    told = (folder / "docker.told").read_text().splitlines()
    assert [line.rpartition("-")[2] == "market" for line in told[-2:]] == [False, True]
    assert all(line.startswith("rm --force --volumes magister-try-") for line in told[-2:])
    if said:
        refused(done, said, "what it logged")
    else:
        assert done.returncode == 0, done.stderr
        assert all("--read-only --cap-drop=all" in line for line in told if line.startswith("run "))


def test_how_to_use_a_script_is_told_in_a_line(runner: Runner) -> None:
    for script in sorted(world.SCRIPTS.glob("*.sh")):
        if "usage" in script.read_text():
            done = runner.run(script.name)
            assert done.returncode, script
            assert f"usage: {script.name}" in done.stderr, script
