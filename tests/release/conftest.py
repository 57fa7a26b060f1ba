"""Fixtures for the tests of releases: three registries and a key for all, a new runner for each test."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.release import world

PROGRAMS = ("docker-registry", "gpg", "jq", "skopeo")


@pytest.fixture(scope="session")
def programs() -> None:
    """Skip where the programs of a release are not installed."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed on this machine; .ci/run installs them")


@pytest.fixture(scope="session")
def hosts(programs: None) -> Iterator[dict[str, str]]:
    """Run three registries."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(world.registry(account)) for name, account in world.ACCOUNTS.items()}


@pytest.fixture(scope="session")
def key(programs: None) -> Iterator[Path]:
    """Make the key that releases are signed with."""
    with world.keyring() as home:
        yield home


@pytest.fixture(scope="session")
def setup(key: Path, hosts: dict[str, str]) -> Callable[[Path], world.Runner]:
    """Return how to set up a runner with an image, whose repositories nobody else uses."""

    def made(folder: Path) -> world.Runner:
        world.image(folder / "image", world.installed("magister", world.VERSION))
        secrets = world.secrets(folder / "secrets", key, hosts)
        return world.Runner(folder, secrets, hosts, f"magister-{folder.name}".lower())

    return made


@pytest.fixture
def runner(setup: Callable[[Path], world.Runner], tmp_path: Path) -> world.Runner:
    """Set up a runner that has released nothing."""
    return setup(tmp_path)


@pytest.fixture
def released(runner: world.Runner) -> world.Runner:
    """Release an image as the workflow does, but for `latest`."""
    world.release(runner)
    return runner


@pytest.fixture(scope="session")
def once(setup: Callable[[Path], world.Runner], tmp_path_factory: pytest.TempPathFactory) -> world.Runner:
    """Release an image once, for the tests that leave the registries as they are."""
    runner = setup(tmp_path_factory.mktemp("once"))
    world.release(runner)
    return runner


@pytest.fixture
def downloaded(once: world.Runner, tmp_path: Path) -> world.Runner:
    """Have a copy of that release's files, as an operator has who downloads them."""
    shutil.copytree(once.folder, tmp_path, dirs_exist_ok=True)
    return replace(once, folder=tmp_path, secrets=tmp_path / "secrets")
