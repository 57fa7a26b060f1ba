#!/usr/bin/env python3
"""Point the tag `latest` at a release in every registry, or back at what was there before it.

`latest.py promote RECORD` does what a record says. `latest.py rollback RECORD --why TEXT` undoes it; it first
writes rollback-TIME.json beside RECORD, in the same form, so that it can be undone in its turn.
"""

import argparse
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from records import Move, Record
from registries import logged_in, registries
from skopeo import Skopeo, digest_of
from trouble import Refused, end


def check(skopeo: Skopeo, record: Record) -> None:
    """Raise Refused unless every registry is as the record expects, so that no tag moves if one cannot."""
    known = {place.repository for place in registries()}
    refused = [problem for move in record.moves if (problem := _problem(skopeo, record.tag, move, known))]
    if refused:
        raise Refused(*refused)


def _problem(skopeo: Skopeo, tag: str, move: Move, known: set[str]) -> str | None:
    if move.repository not in known:
        return f"{move.repository} is none of the registries set up here"
    if skopeo.manifest(f"docker://{move.repository}@{move.after}") is None:
        return f"{move.repository} has no image {move.after} any more"
    there = skopeo.manifest(f"docker://{move.repository}:{tag}")
    now = there and digest_of(there)
    if now not in (move.before, move.after):  # at `after` it was moved by an earlier try
        return f"{move.repository}:{tag} is at {now}, not at {move.before}: somebody moved it since"
    return None


def carry_out(skopeo: Skopeo, record: Record) -> None:
    """Move every tag and look that it moved; doing it again is harmless."""
    for move in record.moves:
        target = f"docker://{move.repository}:{record.tag}"
        skopeo.copy(f"docker://{move.repository}@{move.after}", target)
        there = skopeo.manifest(target)
        if there is None or digest_of(there) != move.after:
            raise Refused(f"{target} did not move to {move.after}; run this again")
        sys.stdout.write(f"{move.registry} {move.repository}:{record.tag}@{move.after}\n")


def main(what: str, path: Path, why: str) -> None:
    """Carry out a record, or write and carry out the one that undoes it."""
    record = Record.read(path)
    with logged_in(registries()) as environment:
        skopeo = Skopeo(environment)
        if what == "rollback":
            record = record.back(why=why, now=datetime.now(UTC))
        check(skopeo, record)
        if what == "rollback":
            record.write(path.parent / f"rollback-{re.sub('[-:]', '', record.at)}.json")
        carry_out(skopeo, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    promoting = commands.add_parser("promote", help="point latest at the release")
    promoting.add_argument("path", metavar="RECORD", type=Path)
    promoting.set_defaults(why="")
    rolling_back = commands.add_parser("rollback", help="point latest back at what was there before")
    rolling_back.add_argument("path", metavar="RECORD", type=Path)
    rolling_back.add_argument("--why", required=True, help="the reason, for the record")
    try:
        main(**vars(parser.parse_args()))
    except Refused as refused:
        end(refused)
