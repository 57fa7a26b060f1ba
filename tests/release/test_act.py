"""The rehearsal with act: its secrets are complete, and act is told to mount them read-only."""

import subprocess
from pathlib import Path

from tests.release import world
from tests.release.test_release import refused
from tests.release.test_workflows import check_out


def run(folder: Path, script: str, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script of a checkout."""
    found = f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin"
    return subprocess.run(
        [str(folder / ".github" / "scripts" / script), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": found, "SECRETS_DIR": str(folder / ".act-secrets"), "GITHUB_REPOSITORY": "Owner/name"},
    )


def checkout(folder: Path) -> Path:
    """Lay out what the scripts read of a checkout."""
    check_out(folder)
    (folder / ".env.maintainer").write_text("BUILD_IMAGE=debian:build\nRUNTIME_IMAGE=debian:run\nX=a b\n")
    return folder


def test_the_secrets_for_rehearsals_are_complete_private_and_sign(programs: None, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    done = run(folder, "act-secrets.sh", "127.0.0.1:5001")
    assert done.returncode == 0, done.stderr
    assert run(folder, "registries.py", "run", "true").returncode == 0
    assert run(folder, "registries.py", "build-arguments").stdout == (
        "BUILD_IMAGE=debian:build\nRUNTIME_IMAGE=debian:run\n"
    )
    assert "DO_HOST=127.0.0.1:5001" in (folder / ".act-secrets" / "registry.env").read_text()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder / ".act-secrets").iterdir())
    files = folder / "files"
    files.mkdir()
    (files / "image-digests.txt").write_text("x")
    run(folder, "sign.sh", str(files))
    assert (files / "image-digests.txt.asc").exists()


def test_secrets_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    (folder / ".act-secrets").mkdir()
    refused(run(folder, "act-secrets.sh"), ".act-secrets is there already")
    assert not list((folder / ".act-secrets").iterdir())


def test_act_is_given_the_release_of_this_version_with_its_secrets_read_only(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    (folder / ".act-secrets").mkdir()
    programs = folder / "programs"
    programs.mkdir()
    for name in ("act", "docker"):
        (programs / name).write_text(
            f'#!/bin/sh\necho "$@" >{folder}/{name}.told\n'
            'while [ $# -gt 1 ]; do [ "$1" = --eventpath ] && cat "$2"; shift; done\n'
        )
        (programs / name).chmod(0o755)
    done = run(folder, "act.sh", "--job", "build", path=str(programs))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{{"ref": "refs/tags/v{world.VERSION}"}}\n'
    told = (folder / "act.told").read_text()
    assert told.startswith("push --workflows .github/workflows/release.yml ")
    assert f"--volume={folder}/.act-secrets:/opt/github-runner/secrets:ro --job build" in told


def test_a_rehearsal_without_act_or_secrets_says_what_is_missing(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    refused(run(folder, "act.sh"), "act is not installed", "docs/workflow-testing.md")
