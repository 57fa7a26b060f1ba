"""A release made up on loopback: an image, registries with passwords, a key, a runner's secrets."""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

SCRIPTS = Path(__file__).parents[2] / ".github" / "scripts"
OWNER = "Owner"
VERSION = "1.2.3"
DOCKER = "application/vnd.docker."
PASSPHRASE = "correct horse"
ACCOUNTS = {"GHCR_HOST": "owner", "DH_HOST": "dockerhub-user", "DO_HOST": "secret"}
PASSWORD = "secret"  # of every account; DigitalOcean takes it as the user's name too
BCRYPT = "$2b$04$1r2FsTfBrEcrmfDf89MIVur36wJD/CGsWUojc3FeVNQWM1lTxi2iu"  # what docker-registry knows of it


def image(folder: Path, *layers: Mapping[str, bytes]) -> Path:
    """Write an image of the given layers, each a mapping of paths to contents, as a folder."""
    folder.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, object]:
        name = hashlib.sha256(content).hexdigest()
        (folder / name).write_bytes(content)
        return {"mediaType": DOCKER + kind, "digest": f"sha256:{name}", "size": len(content)}

    archives = [_tar(files) for files in layers]
    diffs = [f"sha256:{hashlib.sha256(archive).hexdigest()}" for archive in archives]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER + "distribution.manifest.v2+json",
        "config": blob(json.dumps(config).encode(), "container.image.v1+json"),
        "layers": [
            blob(gzip.compress(archive, mtime=0), "image.rootfs.diff.tar.gzip") for archive in archives
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return folder


def digest(folder: Path) -> str:
    """Return the digest of the image in a folder."""
    return f"sha256:{hashlib.sha256((folder / 'manifest.json').read_bytes()).hexdigest()}"


def _tar(files: Mapping[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def installed(name: str, version: str) -> dict[str, bytes]:
    """Return the file by which a Python distribution says that it is installed."""
    path = f"opt/venv/lib/python3.13/site-packages/{name}-{version}.dist-info/METADATA"
    return {path: f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\nText\n".encode()}


@contextmanager
def registry(account: str) -> Iterator[str]:
    """Run a registry that lets in one account and nobody else, and yield its host and port."""
    with tempfile.TemporaryDirectory(prefix="magister-registry-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "accounts").write_text(f"{account}:{BCRYPT}\n")
        configuration = {
            "version": "0.1",
            "log": {"formatter": "json", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
            "http": {"addr": "127.0.0.1:0"},
            "auth": {"htpasswd": {"realm": "test", "path": str(folder / "accounts")}},
        }
        (folder / "config.yml").write_text(json.dumps(configuration))  # JSON is YAML
        with subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                address = _address(process)
                # A pipe that nobody reads would fill, and the registry wait for ever.
                Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
                yield address
            finally:
                process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            return found[1]
    raise AssertionError(f"docker-registry ended: {said}")


def gpg(home: Path, *arguments: str) -> str:
    """Run gpg on a keyring of its own and return the text that it wrote."""
    return gpg_bytes(home, *arguments).decode()


def gpg_bytes(home: Path, *arguments: str) -> bytes:
    """Run gpg on a keyring of its own and return what it wrote."""
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
    done = subprocess.run([*command, "--passphrase", PASSPHRASE, *arguments], check=True, capture_output=True)
    return done.stdout


@contextmanager
def keyring(made: str = "") -> Iterator[Path]:
    """Make a key for nobody that lives for a day from now or `made`, and yield the folder of its keyring."""
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "gpg-agent.conf").write_text("s2k-count 65536\n")  # quick to unlock, nothing to protect
        moment = ["--faked-system-time", made] if made else []
        gpg(home, *moment, "--quick-generate-key", "Nobody <nobody@example.invalid>", "ed25519", "sign", "1d")
        yield home
        subprocess.run(["gpgconf", "--homedir", name, "--kill", "all"], check=False, capture_output=True)


def encoded(key: str) -> str:
    """Return a key in base64 in lines, as a runner's secrets have it."""
    return base64.encodebytes(key.encode()).decode()


def secrets(folder: Path, key: Path, hosts: Mapping[str, str]) -> Path:
    """Write a runner's folder of secrets, for registries on the given hosts."""
    folder.mkdir()
    given = {
        "ci_gh_pat": "release-token",
        "ci_gh_classic_pat": PASSWORD,
        "dh_token": PASSWORD,
        "do_token": PASSWORD,
        "gpg_private_key": encoded(gpg(key, "--armor", "--export-secret-keys")),
        "gpg_passphrase": PASSPHRASE,
        "gpg_public_key": encoded(gpg(key, "--armor", "--export")),
        "registry.env": "# a comment\n"
        "BUILD_IMAGE=debian:build\nRUNTIME_IMAGE='debian:run'\nDO_REGISTRY_NAME=do-registry\n"
        "DH_USERNAME=dockerhub-user\n" + "".join(f"{name}={host}\n" for name, host in hosts.items()),
    }
    for name, text in given.items():
        (folder / name).write_text(text)
    return folder


@dataclass(frozen=True, slots=True)
class Runner:
    """A machine with the secrets of releases, in the middle of a release of VERSION."""

    folder: Path
    secrets: Path
    hosts: Mapping[str, str]
    name: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        """Return the folder of the release's files."""
        return self.folder / "out" / "release"

    @property
    def key(self) -> Path:
        """Return the public key that operators keep."""
        return self.secrets / "gpg_public_key"

    @property
    def repositories(self) -> dict[str, str]:
        """Return where each registry has the image."""
        return {
            "ghcr": f"{self.hosts['GHCR_HOST']}/owner/{self.name}",
            "dh": f"{self.hosts['DH_HOST']}/dockerhub-user/{self.name}",
            "do": f"{self.hosts['DO_HOST']}/do-registry/{self.name}",
        }

    def run(self, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a release script."""
        return self.shell([str(SCRIPTS / script), *map(str, arguments)])

    def logged_in(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command with the credentials of the registries."""
        return self.run("registries.py", "run", *command)

    def shell(self, command: list[str], at: Path = SCRIPTS.parents[1]) -> subprocess.CompletedProcess[str]:
        """Run a command as the workflow does, in the checkout or where it is told to."""
        given = {
            "PATH": os.environ["PATH"],
            "SECRETS_DIR": str(self.secrets),
            "GITHUB_REPOSITORY": f"{OWNER}/magister",
            "MAGISTER_NAME": self.name,
            "GITHUB_SHA": "c" * 40,
            "GITHUB_REF": f"refs/tags/v{VERSION}",
            "GITHUB_REF_NAME": f"v{VERSION}",
            "LAYOUT": str(self.folder / "image"),
            "FILES": str(self.files),
            **self.environment,
        }
        return subprocess.run(command, check=False, capture_output=True, text=True, env=given, cwd=at)

    def skopeo(self, *arguments: str) -> str:
        """Do something in the registries that no release would do, and return what skopeo wrote."""
        done = self.logged_in("skopeo", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def digest(self, name: str, tag: str) -> str:
        """Return what a registry says a tag points at."""
        image = f"docker://{self.repositories[name]}:{tag}"
        served = self.skopeo("inspect", "--raw", "--tls-verify=false", image)
        return f"sha256:{hashlib.sha256(served.encode()).hexdigest()}"


def release(runner: Runner, version: str = VERSION) -> None:
    """Release the image, step by step, but for `latest`."""
    layout = runner.folder / "image"
    for done in (
        runner.run("provenance.py", layout, version, runner.files),
        runner.run("push.py", layout, version, runner.files),
        runner.run("sign.sh", runner.files),
    ):
        assert done.returncode == 0, done.stderr
