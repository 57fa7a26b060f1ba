#!/usr/bin/env python3
"""Push a release's image to every registry and write down what is there: digests, manifests, record.

`push.py LAYOUT VERSION OUT` moves no `latest`: that is the last step of a release (`latest.py promote`).
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import layout
from records import Move, Record, stamp
from registries import Registry, logged_in, registries
from skopeo import Skopeo, digest_of, in_folder
from trouble import Refused, end

RECORD = "release-record.json"
TAG = "latest"


def push(skopeo: Skopeo, places: Sequence[Registry], folder: Path, version: str) -> bytes:
    """Push the image as VERSION to every registry and return its manifest, which is the same in all.

    A version never changes: raises Refused, before anything is pushed, where it is out with other content.
    """
    manifest = layout.manifest(folder)
    targets = [f"docker://{place.repository}:{version}" for place in places]
    published = [skopeo.manifest(target) for target in targets]
    refused = [
        f"{target.removeprefix('docker://')} is published as {digest_of(there)}, and this is"
        f" {digest_of(manifest)}: a release never changes, take a new version"
        for target, there in zip(targets, published, strict=True)
        if there not in (None, manifest)
    ]
    if refused:
        raise Refused(*refused)
    for target in targets:
        skopeo.copy(in_folder(folder), target)
        if skopeo.manifest(target) != manifest:
            raise Refused(f"{target} does not serve the manifest that was pushed")
    return manifest


def recorded(skopeo: Skopeo, places: Sequence[Registry], digest: str, version: str, out: Path) -> Record:
    """Return the record of this release, with what `latest` points at now.

    A release that is tried again keeps its first record, which knows what was there before it.
    """
    path = out / RECORD
    if path.exists():
        earlier = Record.read(path)
        if earlier.version == version and {move.after for move in earlier.moves} == {digest}:
            return earlier
        raise Refused(f"{path} belongs to another image; give an empty folder")
    moves = []
    for place in places:
        there = skopeo.manifest(f"docker://{place.repository}:{TAG}")
        moves.append(Move(place.name, place.repository, digest_of(there) if there else None, digest))
    commit = os.environ.get("GITHUB_SHA", "")
    return Record(version, commit, stamp(datetime.now(UTC)), f"release {version}", TAG, tuple(moves))


def main(folder: Path, version: str, out: Path) -> None:
    """Push, and write the artefacts of a release that describe the image."""
    places = registries()
    out.mkdir(parents=True, exist_ok=True)
    with logged_in(places) as environment:
        skopeo = Skopeo(environment)
        manifest = push(skopeo, places, folder, version)
        digest = digest_of(manifest)
        recorded(skopeo, places, digest, version, out).write(out / RECORD)
    lines = [f"{place.name} {place.repository}:{version}@{digest}\n" for place in places]
    (out / "image-digests.txt").write_text("".join(lines))
    for place in places:
        (out / f"{place.name}-manifest.json").write_bytes(manifest)
    sys.stdout.writelines(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", metavar="LAYOUT", type=Path, help="folder that export-image.sh wrote")
    parser.add_argument("version", help="the version, which is the image's tag, such as 0.1.0")
    parser.add_argument("out", type=Path, help="folder for the artefacts")
    try:
        main(**vars(parser.parse_args()))
    except Refused as refused:
        end(refused)
