#!/usr/bin/env python3
"""Say what an image was built from, by what: `provenance.py LAYOUT VERSION OUT` writes OUT/provenance.json.

The form is an in-toto statement with SLSA's provenance, version 1. GitHub's names say which commit and which
run; outside a workflow they are empty and the builder is named by-hand.
"""

import argparse
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import layout
from records import stamp
from registries import build_images
from trouble import Refused, end

BUILD_TYPE = "https://actions.github.io/buildtypes/workflow/v1"
BUILDER = "https://github.com/actions/runner/self-hosted"


def statement(image: Path, version: str, environment: Mapping[str, str], now: datetime) -> dict[str, object]:
    """Return the statement about an image."""
    server = environment.get("GITHUB_SERVER_URL", "https://github.com")
    source = f"{server}/{environment.get('GITHUB_REPOSITORY', '')}"
    parameters: dict[str, object] = {
        "workflow": {
            "ref": environment.get("GITHUB_REF", ""),
            "repository": source,
            "path": ".github/workflows/release.yml",
        },
        **build_images(),
    }
    in_workflow = "GITHUB_RUN_ID" in environment
    run = f"{source}/actions/runs/{environment.get('GITHUB_RUN_ID')}"
    attempt = environment.get("GITHUB_RUN_ATTEMPT", "1")
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": f"magister:{version}",
                "digest": {"sha256": layout.digest(image).removeprefix("sha256:")},
            }
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "resolvedDependencies": [
                    {
                        "uri": f"git+{source}@{environment.get('GITHUB_REF', '')}",
                        "digest": {"gitCommit": environment.get("GITHUB_SHA", "")},
                    }
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER if in_workflow else f"{source}#by-hand"},
                "metadata": {
                    "invocationId": f"{run}/attempts/{attempt}" if in_workflow else "",
                    "finishedOn": stamp(now),
                },
            },
        },
    }


def main(image: Path, version: str, out: Path) -> None:
    """Write the statement."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(statement(image, version, os.environ, datetime.now(UTC)), indent=2)
    (out / "provenance.json").write_text(text + "\n")


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
