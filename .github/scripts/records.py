"""The record of what a release or a roll-back does to the tag `latest`, in each registry."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from trouble import Refused


@dataclass(frozen=True, slots=True)
class Move:
    """The tag of one registry, and the digests it points at before and after; before None = no such tag."""

    registry: str
    repository: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is meant to move, written down before anything does, so that it can be moved back."""

    version: str
    commit: str
    at: str
    why: str
    tag: str
    moves: tuple[Move, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record; raises Refused if the file is none."""
        try:
            given = json.loads(path.read_text())
            return cls(**{**given, "moves": tuple(Move(**move) for move in given["moves"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Refused(f"{path} is no record of a release: {error}") from error

    def write(self, path: Path) -> None:
        """Write the record as JSON for people and programs."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def back(self, *, why: str, now: datetime) -> "Record":
        """Return the record that undoes this one; raises Refused if there was nothing before it."""
        moves, missing = [], []
        for move in self.moves:
            if move.before is None:
                missing.append(f"{move.repository}:{self.tag} did not exist before {self.version}")
            elif move.before == move.after:
                missing.append(f"{move.repository}:{self.tag} pointed at {self.version} already")
            else:
                moves.append(Move(move.registry, move.repository, move.after, move.before))
        if missing:
            raise Refused(
                *missing, "there is nothing to roll back to; point the tag by hand, or release anew"
            )
        return Record(self.version, self.commit, stamp(now), why, self.tag, tuple(moves))


def stamp(now: datetime) -> str:
    """Return a moment as the records write it: UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
