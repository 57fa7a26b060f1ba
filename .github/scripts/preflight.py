#!/usr/bin/env python3
"""Say all that would stop a release before it begins: `preflight.py TAG`, such as v0.1.0."""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from registries import SECRETS, problems
from trouble import Refused, end

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("gh", "gpg", "jq", "skopeo")


def version() -> str:
    """Return the version that the source says it is."""
    found = re.search(
        r'^__version__ = "(.+)"$', (ROOT / "magister" / "__init__.py").read_text(), re.MULTILINE
    )
    if found is None:
        raise Refused('magister/__init__.py has no line __version__ = "..."')
    return found[1]


def entry(number: str) -> str:
    """Return what CHANGELOG.md says of a version; empty = nothing, or it has no date yet."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(
        rf"^## \[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""


def main(tag: str) -> None:
    """Raise Refused with every problem at once."""
    found = problems()
    number = version()
    if tag != f"v{number}":
        found.append(f"the tag is {tag}, and magister/__init__.py says {number}: the tag must be v{number}")
    if not entry(number):
        found.append(f"CHANGELOG.md has no entry '## [{number}]' with a date")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    found += [f"{tool} is not installed on this runner" for tool in missing]
    if found:
        raise Refused(*found)
    if os.access(SECRETS, os.W_OK):
        sys.stdout.write(f"::warning::{SECRETS} can be written to from here; mount it read-only\n")
    sys.stdout.write(f"ready to release {number}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", metavar="TAG")
    try:
        main(parser.parse_args().tag)
    except Refused as refused:
        end(refused)
