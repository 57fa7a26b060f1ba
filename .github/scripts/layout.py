"""Read an image in a folder as skopeo's dir: transport writes it: manifest.json, and blobs by digest.

OCI's own layout would do as well, but an image in OCI's format has no HEALTHCHECK.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypedDict

from trouble import Refused

REMOVED = ".wh."  # the image format's marks for what a layer takes away
EMPTIED = ".wh..wh..opq"


class Descriptor(TypedDict):
    """What names a blob, as far as it is used here."""

    digest: str


class Manifest(TypedDict):
    """An image's manifest, as far as it is used here."""

    layers: list[Descriptor]


def manifest(folder: Path) -> bytes:
    """Return the image's manifest, byte for byte; raises Refused if the folder has no image."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise Refused(f"{folder} has no image: there is no manifest.json")
    return path.read_bytes()


def digest(folder: Path) -> str:
    """Return the digest that names the image."""
    return f"sha256:{hashlib.sha256(manifest(folder)).hexdigest()}"


def files(folder: Path, wanted: Callable[[PurePosixPath], bool]) -> dict[PurePosixPath, bytes]:
    """Return the wanted files as a container would see them: upper layers replace and remove."""
    read: Manifest = json.loads(manifest(folder))
    seen: dict[PurePosixPath, bytes] = {}
    for layer in read["layers"]:
        added: dict[PurePosixPath, bytes] = {}
        gone: set[PurePosixPath] = set()
        for path, content in _entries(_blob(folder, layer["digest"]), wanted):
            if path.name == EMPTIED:
                gone.add(path.parent)
            elif path.name.startswith(REMOVED):
                gone.add(path.with_name(path.name.removeprefix(REMOVED)))
            else:
                added[path] = content
        kept = {path: content for path, content in seen.items() if not gone & {path, *path.parents}}
        seen = kept | added
    return seen


def _entries(layer: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(layer) as archive:
        for member in archive:
            path = PurePosixPath("/", member.name)
            if path.name.startswith(REMOVED):
                yield path, b""
            elif wanted(path) and (file := archive.extractfile(member)):
                yield path, file.read()


def _blob(folder: Path, name: str) -> Path:
    return folder / name.partition(":")[2]
