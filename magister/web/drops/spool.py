"""Drops that the database has not taken, as files: they outlive this process, and all web processes see them.

Each is a file whose name says what was asked for, and which holds the reason. So there is nothing that could
be half written, and on a full disk an empty file will do, for which there mostly is room. The name bears the
callback key, which is a secret as the database is: only the owner may list the folder, and no name of a file
is logged.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import make_url

from magister.store.db import sqlite_backup
from magister.store.db.sqlite import sqlite_file

SUFFIX = "-drops"
"""What follows the database's name in that of the folder."""

UNKNOWN = "-unknown"
"""What follows the folder's name in that of the one for drops that may be strangers'."""

REASON_BYTES = 4096
"""Bytes of a reason that are read, at most."""

_NAME = re.compile(r"([0-9]{1,19})-([0-9a-f]{16,64}|open)-([0-9]{1,11})")
_OPEN = "open"

log = structlog.get_logger("magister.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Hold what was asked for; `key` is the callback key in the URL, None = there was none."""

    offer_id: int
    key: str | None
    why: str
    heard_at: datetime

    @property
    def of(self) -> tuple[int, str | None]:
        """Return whose drop it is: asked for again, it is the same one."""
        return self.offer_id, self.key


class Spool:
    """Keep drops in a folder; `place` None = nowhere."""

    def __init__(self, place: Path | None) -> None:
        """Take the folder; nothing is looked at yet."""
        self.place = None if place is None else place.absolute()
        self._stuck: set[str] = set()

    def prepare(self) -> str:
        """Make the folder while there is room for it, and say what keeps drops out of it; "" = nothing."""
        if self.place is None:
            return "a database in memory has no folder"
        try:
            self.place.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            return f"{self.place}: {error.strerror}"
        return "" if os.access(self.place, os.W_OK | os.X_OK) else f"{self.place}: may not be written"

    def beside(self) -> "Spool":
        """Return the folder beside this one for drops that may be strangers'."""
        return Spool(None if self.place is None else self.place.with_name(f"{self.place.name}{UNKNOWN}"))

    def has(self, drop: Drop) -> bool:
        """Say whether that drop is there, whenever it was asked for."""
        return bool(self._of(drop))

    def put(self, drop: Drop) -> bool:
        """Put a drop on the disk, synchronized, or say that it cannot be."""
        if self.place is None or not _NAME.fullmatch(name := _name(drop)):
            return False
        try:
            self.place.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.place / name, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                with suppress(OSError):  # without room for the reason, the name is what counts
                    os.write(descriptor, drop.why.encode(errors="replace"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sqlite_backup.synced(self.place)
        except OSError:
            return False
        return True

    def drops(self) -> Iterator[Drop]:
        """Yield what is there, the longest known first; each is read when it is asked for."""
        for name in sorted(self._names(), key=_age):
            if (drop := self._read(name)) is not None:
                yield drop

    def remove(self, drop: Drop) -> None:
        """Take a drop away, however often it is there; a file that cannot be removed counts as none."""
        for name in self._of(drop):
            try:
                (self._folder() / name).unlink(missing_ok=True)
            except OSError as error:
                self._stuck.add(name)
                cure = "the drop is written: remove its file, or the next start writes it again"
                log.warning(
                    "drop.not_removed",
                    folder=str(self._folder()),
                    offer=drop.offer_id,
                    why=error.strerror,
                    cure=cure,
                )

    def offers(self) -> frozenset[int]:
        """Return the offers that something is there for."""
        return frozenset(int(name.partition("-")[0]) for name in self._names())

    def count(self) -> int:
        """Return how many are there."""
        return len(self._names())

    def _folder(self) -> Path:
        return self.place or Path()

    def _names(self) -> list[str]:
        if self.place is None:
            return []
        try:
            names = {file.name for file in self.place.iterdir() if _NAME.fullmatch(file.name)}
        except OSError:
            return []
        return sorted(names - self._stuck)

    def _of(self, drop: Drop) -> list[str]:
        whose = _name(drop).rpartition("-")[0]
        return [name for name in self._names() if name.rpartition("-")[0] == whose]

    def _read(self, name: str) -> Drop | None:
        """Read a drop; None = another process has just written it to the database."""
        offer_id, key, seconds = name.split("-")
        try:
            with (self._folder() / name).open("rb") as file:
                why = file.read(REASON_BYTES)
        except FileNotFoundError:
            return None
        except OSError:
            why = b""
        return Drop(
            offer_id=int(offer_id),
            key=None if key == _OPEN else key,
            why=why.decode(errors="replace"),
            heard_at=datetime.fromtimestamp(int(seconds), UTC),
        )


def place_for(url: str) -> Path | None:
    """Return the folder for drops that the database at `url` does not take; None = a database in memory.

    It bears the database's name, and is beside the file of SQLite, else in the working directory.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return Path(f"{Path(parsed.database or 'magister').name}{SUFFIX}")
    file = sqlite_file(url)
    return None if file is None else file.with_name(f"{file.name}{SUFFIX}")


def _name(drop: Drop) -> str:
    return f"{drop.offer_id}-{_OPEN if drop.key is None else drop.key}-{int(drop.heard_at.timestamp())}"


def _age(name: str) -> int:
    return int(name.rpartition("-")[2])
