"""Read manifests and copy images with skopeo, which needs no daemon and changes no byte."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trouble import Refused

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ABSENT = ("manifest unknown", "name unknown")


def digest_of(manifest: bytes) -> str:
    """Return the digest that names a manifest."""
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def in_folder(folder: Path) -> str:
    """Return skopeo's name of the image in a folder."""
    return f"dir:{folder}"


@dataclass(frozen=True, slots=True)
class Skopeo:
    """skopeo, logged in by its environment."""

    environment: Mapping[str, str]

    def manifest(self, image: str) -> bytes | None:
        """Return an image's manifest, byte for byte; None = there is no such image.

        Raises Refused if the registry does not answer or does not let us in.
        """
        done = self._run("inspect", "--raw", *_plain_http("--tls-verify=false", image), image)
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip()
        if any(sign in said for sign in ABSENT):
            return None
        raise Refused(f"{image} cannot be read: {said}")

    def copy(self, source: str, target: str) -> None:
        """Copy an image with its digest; raises Refused if that fails."""
        plain = (
            *_plain_http("--src-tls-verify=false", source),
            *_plain_http("--dest-tls-verify=false", target),
        )
        done = self._run("copy", "--quiet", "--preserve-digests", "--all", *plain, source, target)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise Refused(f"{source} was not copied to {target}: {said}")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ["skopeo", *arguments], env=self.environment, capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise Refused("skopeo is not installed; Debian and Ubuntu have it as a package") from error


def _plain_http(option: str, image: str) -> tuple[str, ...]:
    """Allow plain HTTP to this machine only, where rehearsals keep their registry."""
    return (option,) if image.startswith(tuple(f"docker://{host}:" for host in LOOPBACK)) else ()
