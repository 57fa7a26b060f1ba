"""The workflows: what they may do, and that the steps of a release, as written there, release on loopback."""

import base64
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release import world
from tests.release.test_release import refused
from tests.release.world import VERSION, Runner

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = {"gh": "case $2 in view) exit 1;; esac", "cosign": ""}


def loaded(path: Path) -> dict[Any, Any]:
    """Return a workflow; YAML reads its `on` as true."""
    made: dict[Any, Any] = yaml.safe_load(path.read_text())
    return made


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every step of a workflow."""
    for job in loaded(path)["jobs"].values():
        yield from job["steps"]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Stand in for what needs an account: programs that write down what they are told, in this folder."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, more in TOOLS.items():
        (folder / name).write_text(f'#!/bin/sh\necho "$@" >>"{folder}/{name}.told"\n{more}\n')
        (folder / name).chmod(0o755)
    return folder


def with_programs(runner: Runner, told: Path) -> Runner:
    """Return the runner with the stand-ins on its PATH, as GitHub would start it."""
    path = f"{told}:{runner.shell(['sh', '-c', 'echo $PATH']).stdout.strip()}"
    given = {
        "PATH": path,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_WORKFLOW_REF": f"{world.OWNER}/magister/.github/workflows/release.yml@refs/tags/v{VERSION}",
    }
    return replace(runner, environment=given)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit_and_every_job_is_bounded(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", action), action
    workflow = loaded(path)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert job["permissions"]
        assert job["timeout-minutes"] <= 60
        checkout = job["steps"][0]
        assert checkout["uses"].startswith("actions/checkout@")
        assert checkout["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_script_that_a_workflow_starts_is_there(path: Path) -> None:
    scripts = [
        word for step in steps(path) for word in shlex.split(step.get("run", "")) if ".github/" in word
    ]
    for script in scripts:
        assert (ROOT / script).stat().st_mode & 0o111, script


def test_no_workflow_that_strangers_can_start_runs_where_the_secrets_are() -> None:
    for path in WORKFLOWS:
        workflow = loaded(path)
        triggers = workflow[True]  # `on`
        runners = {job["runs-on"] for job in workflow["jobs"].values()}
        assert ("self-hosted" in runners) <= ("pull_request" not in triggers), path
        assert "pull_request_target" not in triggers


def test_the_steps_of_the_workflow_release_on_loopback(runner: Runner, told: Path) -> None:
    """All that publish runs, in its order; only the services that need an account are stood in for."""
    runner.files.mkdir(parents=True)
    for name in ("magister", f"magister-{VERSION}-py3-none-any.whl", "sbom.cdx.json"):
        (runner.files / name).write_text(name)
    (runner.folder / "CHANGELOG.md").write_text(f"## [{VERSION}] - 2026-11-24\n\nA change.\n")
    check_out(runner.folder)
    runner = with_programs(runner, told)
    layout = runner.folder / "image"
    digest = world.digest(layout)
    (runner.files / "sbom.cdx.json").write_text(f'{{"about": "{digest}"}}')
    assert runner.run("provenance.py", layout, VERSION, runner.files).returncode == 0

    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    for step in (*jobs["publish"]["steps"], *jobs["promote"]["steps"]):
        if "run" in step:
            done = runner.shell(["bash", "-e", "-o", "pipefail", "-c", step["run"]], at=runner.folder)
            assert done.returncode == 0, (step["name"], done.stderr)

    for name in ("ghcr", "dh", "do"):
        assert runner.digest(name, "latest") == digest
    subjects = (runner.folder / "out" / "subjects.txt").read_text().splitlines()
    sha256 = digest.removeprefix("sha256:")
    assert subjects[:3] == [f"{sha256}  {repository}" for repository in runner.repositories.values()]
    assert [line.split()[1] for line in subjects[3:]] == [f"magister-{VERSION}-py3-none-any.whl", "magister"]
    published = (told / "gh.told").read_text().splitlines()[-1]
    assert f"release create v{VERSION} --verify-tag" in published
    for name in ("image-digests.txt", "ghcr-manifest.json", "dh-manifest.json", "do-manifest.json"):
        assert f"/{name} " in published
        assert f"/{name}.asc " in published
    notes = (runner.files / "notes.md").read_text()
    assert "A change." in notes
    (key,) = re.findall(r"^[A-Za-z0-9+/=]{200,}$", notes, re.MULTILINE)
    assert base64.b64decode(key).startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK")
    assert digest in notes


def test_what_keeps_latest_from_moving_everywhere_takes_it_back_everywhere(released: Runner) -> None:
    """The second registry refuses the move: the job that follows points the first one back, too."""
    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert jobs["rollback"]["needs"] == "promote"
    assert "needs.promote.result == 'failure'" in jobs["rollback"]["if"]
    assert released.run("latest.py", "promote", released.files / "release-record.json").returncode == 0
    folder = released.folder / "next"
    world.image(folder / "image", world.installed("magister", "1.2.4"))
    following = replace(released, folder=folder)
    world.release(following, "1.2.4")
    following.skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{following.repositories['ghcr']}:1.2.4",
        f"docker://{following.repositories['ghcr']}:latest",
    )
    for step in jobs["rollback"]["steps"]:
        if step["name" if "name" in step else "uses"] == "Verify the files, and point latest back":
            done = following.shell(["bash", "-e", "-o", "pipefail", "-c", step["run"]])
            assert done.returncode == 0, done.stderr
    for name in ("ghcr", "dh", "do"):
        assert following.digest(name, "latest") == following.digest(name, VERSION)
    assert list(following.files.glob("rollback-*.json.asc"))


def test_the_runner_keeps_no_image_of_a_release(runner: Runner, told: Path) -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    (step,) = (each for each in jobs["build"]["steps"] if "clean-images.sh" in each.get("run", ""))
    assert step["if"] == "${{ always() }}"
    (told / "docker").write_text(f'#!/bin/sh\necho "$@" >>"{told}/docker.told"\n')
    (told / "docker").chmod(0o755)
    runner = with_programs(runner, told)
    done = runner.shell(["bash", "-e", "-c", step["run"]])
    assert done.returncode == 0, done.stderr
    assert (told / "docker.told").read_text().splitlines()[1:] == [
        f"image rm --force {runner.name}:{VERSION}",
        "image prune --force --filter label=org.opencontainers.image.title=magister",
    ]


def test_cosign_signs_and_verifies_each_image_by_digest(downloaded: Runner, told: Path) -> None:
    """cosign itself needs GitHub's identity: here it is looked at what it would be told."""
    downloaded = with_programs(downloaded, told)
    (downloaded.files / "sbom.cdx.json").write_text("{}")
    assert downloaded.logged_in(world.SCRIPTS / "cosign.sh", downloaded.files).returncode == 0
    digest = downloaded.digest("ghcr", VERSION)
    calls = (told / "cosign.told").read_text().splitlines()
    for repository in downloaded.repositories.values():
        about = [call for call in calls if call.endswith(f"{repository}@{digest}")]
        assert [call.split()[0] for call in about] == ["sign", "attest", "attest", "verify"]
        assert "--certificate-oidc-issuer https://token.actions.githubusercontent.com" in about[3]
        assert f"--certificate-identity https://github.com/{world.OWNER}/magister/.github" in about[3]


def test_all_that_would_stop_a_release_is_said_at_once(runner: Runner) -> None:
    (runner.secrets / "dh_token").unlink()
    (runner.secrets / "gpg_passphrase").write_text("\n")
    (runner.secrets / "registry.env").write_text("BUILD_IMAGE=a\nRUNTIME_IMAGE=b\nDH_USERNAME=c\n")
    done = runner.run("preflight.py", "v9.9.9")
    refused(
        done, "dh_token is missing or empty", "gpg_passphrase is missing", "does not set DO_REGISTRY_NAME"
    )
    refused(done, "the tag is v9.9.9, and magister/__init__.py says")
    assert done.returncode == 2


def test_a_release_without_secrets_says_where_they_belong(runner: Runner, tmp_path: Path) -> None:
    done = replace(runner, secrets=tmp_path / "nowhere").run("push.py", tmp_path / "image", VERSION, tmp_path)
    refused(done, "nowhere is no folder; mount the runner's secrets there, read-only")


def test_images_that_the_runner_does_not_name_are_those_of_the_maintainers(runner: Runner) -> None:
    path = runner.secrets / "registry.env"
    lines = [line for line in path.read_text().splitlines() if "_IMAGE=" not in line]
    path.write_text("\n".join(lines) + "\n")
    maintained = [
        line for line in (ROOT / ".env.maintainer").read_text().splitlines()
        if line.startswith(("BUILD_IMAGE=", "RUNTIME_IMAGE="))
    ]  # fmt: skip
    assert runner.run("registries.py", "build-arguments").stdout.splitlines() == maintained
    assert "RUNTIME_IMAGE" not in runner.run("preflight.py", "v9.9.9").stderr
    layout = runner.folder / "image"
    assert runner.run("provenance.py", layout, VERSION, runner.files).returncode == 0
    assert maintained[1].partition("=")[2] in (runner.files / "provenance.json").read_text()


def test_the_configuration_of_registries_is_read_and_never_run(runner: Runner, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    with (runner.secrets / "registry.env").open("a") as file:
        file.write(f"BUILD_IMAGE=$(touch {trap})\n")
    done = runner.run("registries.py", "build-arguments")
    assert done.stdout == f"BUILD_IMAGE=$(touch {trap})\nRUNTIME_IMAGE=debian:run\n"
    assert not trap.exists()


def check_out(folder: Path) -> None:
    """Give a folder what a checkout has of the scripts and the source."""
    subprocess.run(["cp", "-r", str(ROOT / ".github"), str(folder)], check=True)
    (folder / "magister").mkdir()
    (folder / "magister" / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
