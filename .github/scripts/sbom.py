#!/usr/bin/env python3
"""List what is in an image, as CycloneDX: `sbom.py LAYOUT VERSION OUT` writes OUT/sbom.cdx.json.

The list is read from the image itself: Debian's packages from dpkg's records, Python's from their metadata.
"""

import argparse
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path, PurePosixPath
from uuid import UUID

import layout
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from trouble import Refused, end

DPKG = PurePosixPath("/var/lib/dpkg/status")
RELEASE = (PurePosixPath("/etc/os-release"), PurePosixPath("/usr/lib/os-release"))


def wanted(path: PurePosixPath) -> bool:
    """Tell whether a file of the image says something about packages."""
    return path == DPKG or path in RELEASE or (path.name == "METADATA" and path.parent.suffix == ".dist-info")


def python_packages(files: dict[PurePosixPath, bytes]) -> Iterator[Component]:
    """Yield the installed Python distributions."""
    for path, content in files.items():
        if path.name == "METADATA":
            said = BytesHeaderParser().parsebytes(content)
            name, version = str(said["Name"]), str(said["Version"])
            normal = re.sub(r"[-_.]+", "-", name).lower()
            yield _component(name, version, PackageURL("pypi", None, normal, version))


def debian_packages(files: dict[PurePosixPath, bytes]) -> Iterator[Component]:
    """Yield the installed Debian packages."""
    release = next((files[path].decode() for path in RELEASE if path in files), "")
    codename = re.search(r"^VERSION_CODENAME=\"?(\w+)", release, re.MULTILINE)
    for paragraph in files.get(DPKG, b"").split(b"\n\n"):
        said = BytesHeaderParser().parsebytes(paragraph.lstrip(b"\n"))
        if str(said["Status"]).endswith(" installed"):
            name, version = str(said["Package"]), str(said["Version"])
            qualifiers = {"arch": str(said["Architecture"])} | ({"distro": codename[1]} if codename else {})
            yield _component(name, version, PackageURL("deb", "debian", name, version, qualifiers))


def _component(name: str, version: str, purl: PackageURL) -> Component:
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), type=ComponentType.LIBRARY)


def described(image: Path, version: str, now: datetime) -> Bom:
    """Return the list of an image; raises Refused if nothing in it says what it has."""
    files = layout.files(image, wanted)
    components = [*python_packages(files), *debian_packages(files)]
    if not components:
        raise Refused(f"{image} has no record of any package")
    sha256 = layout.digest(image).removeprefix("sha256:")
    subject = Component(
        name="magister",
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref=f"sha256:{sha256}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        purl=PackageURL("oci", None, "magister", f"sha256:{sha256}"),
    )
    # The number follows from the image, so that the same image has the same list.
    bom = Bom(components=components, serial_number=UUID(sha256[:32], version=4))
    bom.metadata = BomMetaData(component=subject, timestamp=now)
    bom.register_dependency(subject, components)
    return bom


def main(image: Path, version: str, out: Path) -> None:
    """Write the list."""
    bom = described(image, version, datetime.now(UTC))
    out.mkdir(parents=True, exist_ok=True)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    (out / "sbom.cdx.json").write_text(text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", metavar="LAYOUT", type=Path)
    parser.add_argument("version", metavar="VERSION")
    parser.add_argument("out", metavar="OUT", type=Path)
    try:
        main(**vars(parser.parse_args()))
    except Refused as refused:
        end(refused)
