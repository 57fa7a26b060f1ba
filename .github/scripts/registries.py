#!/usr/bin/env python3
"""The three registries that an image is published in, and the credentials for them.

`registries.py run COMMAND...` runs a command that is logged in to all three; the credentials are gone when it
ends. `registries.py build-arguments` prints the images to build with, as NAME=value lines.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from trouble import Refused, end

SECRETS = Path(os.environ.get("SECRETS_DIR") or "/opt/github-runner/secrets")
TOKENS = ("ci_gh_pat", "ci_gh_classic_pat", "do_token", "dh_token")
GPG_FILES = ("gpg_private_key", "gpg_passphrase", "gpg_public_key")
BUILD_IMAGES = ("BUILD_IMAGE", "RUNTIME_IMAGE")
DEFAULTS = Path(__file__).resolve().parents[2] / ".env.maintainer"
REQUIRED = ("DO_REGISTRY_NAME", "DH_USERNAME")
HOSTS = {"GHCR_HOST": "ghcr.io", "DH_HOST": "docker.io", "DO_HOST": "registry.digitalocean.com"}


@dataclass(frozen=True, slots=True)
class Registry:
    """One place that an image is published in; name is what the artefacts call it."""

    name: str
    repository: str
    user: str
    token: str = field(repr=False)

    @property
    def host(self) -> str:
        """Return the host, with its port."""
        return self.repository.partition("/")[0]


def problems(secrets: Path = SECRETS) -> list[str]:
    """Return what is missing in the folder of secrets, one line each."""
    if not secrets.is_dir():
        return [f"{secrets} is no folder; mount the runner's secrets there, read-only, or set SECRETS_DIR"]
    empty = [name for name in (*TOKENS, *GPG_FILES, "registry.env") if not _text(secrets / name)]
    found = [f"{secrets / name} is missing or empty" for name in empty]
    if "registry.env" not in empty:
        given = configuration(secrets)
        found += [f"{secrets / 'registry.env'} does not set {key}" for key in REQUIRED if not given.get(key)]
    return found


def configuration(secrets: Path = SECRETS) -> dict[str, str]:
    """Return what registry.env sets: KEY=VALUE lines, with optional quotes; it is read and never run."""
    return _assignments(secrets / "registry.env")


def build_images(secrets: Path = SECRETS, defaults: Path = DEFAULTS) -> dict[str, str]:
    """Return the images to build with and to run on: registry.env's, else those of .env.maintainer."""
    given, fallback = configuration(secrets), _assignments(defaults)
    found = {name: given.get(name) or fallback.get(name, "") for name in BUILD_IMAGES}
    return {name: image for name, image in found.items() if image}


def _assignments(path: Path) -> dict[str, str]:
    lines = [line.strip() for line in _text(path).splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key.removeprefix("export ").strip(): value.strip().strip("\"'") for key, _, value in pairs}


def registries(secrets: Path = SECRETS, environment: Mapping[str, str] = os.environ) -> tuple[Registry, ...]:
    """Return the three registries; raises Refused if a secret or the repository's owner is missing."""
    missing = problems(secrets)
    owner = environment.get("GITHUB_REPOSITORY", "").partition("/")[0].lower()
    if not owner:
        missing.append("GITHUB_REPOSITORY is not set; give it as owner/name")
    if missing:
        raise Refused(*missing)
    image = environment.get("MAGISTER_NAME") or "magister"
    given = HOSTS | configuration(secrets)
    dh_user, do_token = given["DH_USERNAME"], _text(secrets / "do_token")
    return (
        Registry(
            "ghcr", f"{given['GHCR_HOST']}/{owner}/{image}", owner, _text(secrets / "ci_gh_classic_pat")
        ),
        Registry("dh", f"{given['DH_HOST']}/{dh_user}/{image}", dh_user, _text(secrets / "dh_token")),
        # DigitalOcean takes the token as the user's name and as the password.
        Registry("do", f"{given['DO_HOST']}/{given['DO_REGISTRY_NAME']}/{image}", do_token, do_token),
    )


@contextmanager
def logged_in(places: Sequence[Registry]) -> Iterator[dict[str, str]]:
    """Yield the environment that skopeo, docker and cosign find the credentials in, and remove them after."""
    with TemporaryDirectory(prefix="magister-registries-") as folder:
        path = Path(folder) / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": _auths(places)}))
        yield {**os.environ, "REGISTRY_AUTH_FILE": str(path), "DOCKER_CONFIG": folder}


def _auths(places: Sequence[Registry]) -> dict[str, dict[str, str]]:
    auths = {}
    for place in places:
        key = base64.b64encode(f"{place.user}:{place.token}".encode()).decode()
        auths[place.host] = {"auth": key}
        if place.host == "docker.io":  # docker's and cosign's name for Docker Hub
            auths["https://index.docker.io/v1/"] = {"auth": key}
    return auths


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for, and return the exit code."""
    match arguments:
        case ["run", _, *_]:
            with logged_in(registries()) as environment:
                return subprocess.run(arguments[1:], env=environment, check=False).returncode
        case ["build-arguments"]:
            sys.stdout.writelines(f"{name}={image}\n" for name, image in build_images().items())
            return 0
    raise Refused("usage: registries.py run COMMAND... | registries.py build-arguments")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refused:
        end(refused)
