"""The lock files: every version with the hashes of its files, and nothing about where they were fetched."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.shipping.checkout import ROOT

RUNS, BUILDS, WORKS = "requirements.lock", "requirements-build.lock", "requirements-dev.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENTRY = re.compile(r"^(\S.*?)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Locked:
    versions: dict[str, str]
    rest: str


def locked(name: str) -> Locked:
    """Return the pinned versions of a lock file, and what in it is no entry with hashes."""
    text = Path(ROOT, name).read_text()
    pins = [Requirement(entry[1]) for entry in ENTRY.finditer(text)]
    versions = {str(canonicalize_name(pin.name)): str(pin.specifier).removeprefix("==") for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    return Locked(versions, ENTRY.sub("", text))


def wanted(name: str) -> Iterator[Requirement]:
    """Return what pyproject.toml asks for and a lock file has to hold."""
    groups = PROJECT["dependency-groups"]
    runs = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["postgres"]]
    members = {RUNS: runs, BUILDS: groups["build"], WORKS: [*runs, *groups["build"], *groups["dev"]]}[name]
    yield from (Requirement(member) for member in members if isinstance(member, str))


@pytest.mark.parametrize("name", [RUNS, BUILDS, WORKS])
def test_every_line_is_a_version_with_hashes_and_no_address_of_anything(name: str) -> None:
    found = locked(name)
    assert len(found.versions) >= 5
    assert [line for line in found.rest.splitlines() if not line.startswith("#")] == []
    assert "://" not in found.rest


@pytest.mark.parametrize("name", [RUNS, BUILDS, WORKS])
def test_it_holds_what_the_project_asks_for(name: str) -> None:
    versions = locked(name).versions
    for requirement in wanted(name):
        if requirement.marker is None or requirement.marker.evaluate():
            version = versions.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement.name} is not locked: make lock"
            assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: make lock"


@pytest.mark.parametrize("name", [RUNS, BUILDS])
def test_what_is_tested_is_what_is_shipped(name: str) -> None:
    assert locked(name).versions.items() <= locked(WORKS).versions.items()


def test_no_tool_of_the_developers_is_shipped() -> None:
    assert not {"pytest", "mypy", "ruff", "pex", "hatchling", "vastai"} & locked(RUNS).versions.keys()
