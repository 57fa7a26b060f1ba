"""The list of what an image has is read from the image, layer upon layer."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.release import world

DPKG = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12
Description: a library
 with a second line

Package: gcc
Status: deinstall ok config-files
Architecture: amd64
Version: 14.2.0-19
"""


def listed(folder: Path, image: Path) -> dict[str, Any]:
    """Return the list of an image as a program would read it."""
    done = sbom(image, folder / "files")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads((folder / "files" / "sbom.cdx.json").read_text())
    return made


def sbom(image: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    command = [sys.executable, str(world.SCRIPTS / "sbom.py"), str(image), world.VERSION, str(out)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def purls(made: dict[str, Any]) -> set[str]:
    """Return the packages of a list by their addresses."""
    return {component["purl"] for component in made["components"]}


def test_it_has_debians_and_pythons_packages_that_are_installed(tmp_path: Path) -> None:
    image = world.image(
        tmp_path / "image",
        {"var/lib/dpkg/status": DPKG, "usr/lib/os-release": b'VERSION_CODENAME="trixie"\n'},
        world.installed("Flask_Thing", "3.1"),
    )
    made = listed(tmp_path, image)
    assert purls(made) == {
        "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=trixie",
        "pkg:pypi/flask-thing@3.1",
    }
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")


def test_it_is_about_the_image_by_its_digest(tmp_path: Path) -> None:
    image = world.image(tmp_path / "image", world.installed("magister", "1.2.3"))
    subject = listed(tmp_path, image)["metadata"]["component"]
    assert subject["type"] == "container"
    assert f"sha256:{subject['hashes'][0]['content']}" == world.digest(image)


def test_what_an_upper_layer_replaced_or_removed_is_not_in_it(tmp_path: Path) -> None:
    packages = "opt/venv/lib/python3.13/site-packages"
    image = world.image(
        tmp_path / "image",
        {**world.installed("gone", "1"), **world.installed("kept", "1"), **world.installed("renewed", "1")},
        {f"{packages}/.wh.gone-1.dist-info": b"", f"{packages}/.wh.renewed-1.dist-info": b""},
        world.installed("renewed", "2"),
    )
    assert purls(listed(tmp_path, image)) == {"pkg:pypi/kept@1", "pkg:pypi/renewed@2"}


def test_a_folder_that_a_layer_emptied_has_only_what_came_after(tmp_path: Path) -> None:
    packages = "opt/venv/lib/python3.13/site-packages"
    image = world.image(
        tmp_path / "image",
        world.installed("before", "1"),
        {f"{packages}/.wh..wh..opq": b"", **world.installed("with", "1")},
    )
    assert purls(listed(tmp_path, image)) == {"pkg:pypi/with@1"}


def test_an_image_without_any_record_is_refused(tmp_path: Path) -> None:
    done = sbom(world.image(tmp_path / "image", {"etc/motd": b"hello"}), tmp_path / "files")
    assert (done.returncode, done.stderr) == (2, f"{tmp_path / 'image'} has no record of any package\n")


def test_a_folder_that_is_no_image_is_refused(tmp_path: Path) -> None:
    done = sbom(tmp_path, tmp_path / "files")
    assert (done.returncode, done.stderr) == (
        2,
        f"{tmp_path} has no image: there is no manifest.json\n",
    )
