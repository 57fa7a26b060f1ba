"""Read an image that lies in a folder in OCI layout."""

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypedDict

from trouble import Refused

REMOVED = ".wh."  # the OCI image format's marks for what a layer takes away
EMPTIED = ".wh..wh..opq"


class Descriptor(TypedDict):
    """What names a blob: the OCI image format's descriptor, as far as it is used here."""

    digest: str


class Manifest(TypedDict):
    """An image's manifest, as far as it is used here."""

    layers: list[Descriptor]


class Index(TypedDict):
    """The layout's index of images."""

    manifests: list[Descriptor]


def digest(layout: Path) -> str:
    """Return the digest of the layout's one image; raises Refused if there is not exactly one."""
    path = layout / "index.json"
    if not path.is_file():
        raise Refused(f"{layout} is no folder in OCI layout: it has no index.json")
    index: Index = json.loads(path.read_text())
    if len(index["manifests"]) != 1:
        raise Refused(f"{layout} has {len(index['manifests'])} images, not one")
    return index["manifests"][0]["digest"]


def files(layout: Path, wanted: Callable[[PurePosixPath], bool]) -> dict[PurePosixPath, bytes]:
    """Return the wanted files as a container would see them: upper layers replace and remove."""
    manifest: Manifest = json.loads(_blob(layout, digest(layout)).read_bytes())
    seen: dict[PurePosixPath, bytes] = {}
    for layer in manifest["layers"]:
        added: dict[PurePosixPath, bytes] = {}
        gone: set[PurePosixPath] = set()
        for path, content in _entries(_blob(layout, layer["digest"]), wanted):
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


def _blob(layout: Path, name: str) -> Path:
    return layout / "blobs" / name.replace(":", "/")
