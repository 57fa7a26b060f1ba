"""What `make run` gives the container: the settings that were checked, and the port that they name."""

import os
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from magister.settings.model import Settings, load
from tests.shipping.checkout import OUTSIDE, ROOT, make

SETTINGS = {
    "THIS_MAGISTER_ADDR": "http://203.0.113.7",
    "HIEROPHANT_IP": "203.0.113.8",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "VAST_TEMPLATE_HASH": "abc",
    "NUMBER_INSTANCES": "1",
    "VAST_API_URL": "http://127.0.0.1:1",
}

DOCKER = """#!/bin/bash
printf '%s\\n' "$@" >"{told}/words"
while (($#)); do [[ $1 != --env-file ]] || cp "$2" "{told}/given"; shift; done
"""


@dataclass
class Container:
    """Run `make run` of a checkout whose image is built, and read what docker was told by it."""

    checkout: Path
    told: Path

    def run(self, *, checked: bool = True, lines: str = "", toml: str = "", **variables: str) -> str:
        """Return what went to stderr; `checked` = the settings were looked at, as the image was built."""
        settings = "".join(f"{name}={value}\n" for name, value in SETTINGS.items())
        (self.checkout / ".env").write_text(settings + lines)
        (self.checkout / "magister.toml").write_text(toml)
        (self.checkout / "magister.toml").chmod(0o644)
        path = f"{self.told}:{OUTSIDE['PATH']}"
        done = [f"--old-file={goal}" for goal in ("build", "ci", *(["usable"] if checked else []))]
        return make(self.checkout, *done, "run", **({"PATH": path} | variables)).stderr

    @property
    def words(self) -> list[str]:
        """Return what docker was told, [] = nothing."""
        return (self.told / "words").read_text().splitlines() if (self.told / "words").exists() else []

    @property
    def published(self) -> list[str]:
        return [after for word, after in pairwise(self.words) if word == "--publish"]

    def settings(self) -> Settings:
        """Return the settings as the container reads them; an engine takes the lines as they are."""
        lines = (self.told / "given").read_text().splitlines()
        environment = dict(line.split("=", 1) for line in lines)
        return load(self.checkout / "magister.toml", environment, dotenv=self.told / "none").settings


@pytest.fixture
def container(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Container:
    told = tmp_path_factory.mktemp("told")
    for name in ("docker", "podman"):
        (told / name).write_text(DOCKER.format(told=told))
        (told / name).chmod(0o755)
    return Container(checkout, told)


@pytest.mark.parametrize(
    ("lines", "toml", "port"),
    [("", "", 8555), ("HTTP_PORT=18755\n", "", 18755), ("", "http_port = 18756\n", 18756)],
)
def test_run_publishes_the_port_that_is_listened_on(
    container: Container, lines: str, toml: str, port: int
) -> None:
    container.run(lines=lines, toml=toml)
    assert container.published == [f"{port}:{port}"]
    assert container.settings().http_port == port


def test_who_publishes_a_port_in_another_way_has_only_that(container: Container) -> None:
    container.run(DOCKER_RUN_ARGS="--publish 127.0.0.1:8555:8555")
    assert container.published == ["127.0.0.1:8555:8555"]


def test_the_container_reads_the_values_that_were_checked(container: Container) -> None:
    keys = 'CONTEMPLANT_SSH_AUTHORIZED_KEYS="ssh-ed25519 AAAAC3 a\\nssh-ed25519 AAAABBBB b"\n'
    lines = f"NUMBER_INSTANCES=3  # three boxes\nVAST_QUERY_GPU_NAME='RTX 4090'\nRUST_LOG=info\n{keys}"
    container.run(lines=lines)
    here = load(container.checkout / "magister.toml", {}, dotenv=container.checkout / ".env").settings
    assert here.number_instances == 3
    assert container.settings() == here
    assert "RUST_LOG=info" in (container.told / "given").read_text().splitlines()


def test_the_environment_wins_in_the_container_as_it_does_in_the_check(container: Container) -> None:
    container.run(NUMBER_INSTANCES="5", MAGISTER_LOG="debug")
    assert container.settings().number_instances == 5
    assert "MAGISTER_LOG=debug" in (container.told / "given").read_text().splitlines()


def test_no_secret_is_on_the_command_line_or_left_in_a_file(container: Container) -> None:
    container.run()
    assert "key-of-the-account" not in " ".join(container.words)
    assert list((container.checkout / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("MAGISTER_LOG=loud\n", "MAGISTER_LOG"),
        (
            'CONTEMPLANT_ONSTART_TEMPLATE="#!/bin/sh\\n{exports}"\n',
            "contemplant.onstart_template cannot be given to a container in a variable",
        ),
    ],
)
def test_what_a_container_could_not_take_is_told_before_anything_is_built(
    container: Container, lines: str, said: str
) -> None:
    line, verdict = container.run(checked=False, lines=lines).splitlines()
    assert said in line
    assert verdict.startswith("make: *** ")
    assert container.words == []


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("container", ROOT / ".ci" / "container.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROOT_ID, OPERATOR, READER = 0, 1234, 1000


@pytest.mark.parametrize(
    ("command", "runs_it", "owner", "mode", "cure"),
    [
        (["docker"], ROOT_ID, OPERATOR, 0o644, ""),
        (["docker"], OPERATOR, READER, 0o600, ""),
        (["docker"], OPERATOR, OPERATOR, 0o600, "chown 1000 magister.toml, or chmod o+r magister.toml"),
        (["sudo", "podman"], OPERATOR, READER, 0o600, ""),
        (["podman"], ROOT_ID, READER, 0o600, ""),
        (["podman"], READER, READER, 0o600, "DOCKER_RUN_ARGS=--userns=keep-id:uid=1000,gid=1000, or chmod"),
        (["podman"], READER, READER, 0o604, ""),
        (["podman", "--userns=keep-id:uid=1000,gid=1000"], OPERATOR, OPERATOR, 0o600, ""),
    ],
)
def test_a_file_that_the_container_cannot_read_is_told_with_what_would_do(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    runs_it: int,
    owner: int,
    mode: int,
    cure: str,
) -> None:
    seen = os.stat_result((mode, 0, 0, 1, owner, owner, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda _: seen)
    monkeypatch.setattr(os, "geteuid", lambda: runs_it)
    said = script.unreadable(Path("magister.toml"), command)
    assert bool(said) == bool(cure)
    assert cure in "".join(said)
