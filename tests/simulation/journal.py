"""What happened in a run, line by line, under virtual time."""

import hashlib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field

import structlog

from tests.simulation.clock import EPOCH

UNFORESEEN = frozenset({"action.failed", "lane.effect_raised"})
"""Events by which the loop says that it met an error nobody thought of."""


@dataclass(slots=True)
class Journal:
    """Keep the lines of a run; two runs of one seed write the same."""

    true: Callable[[], float] = lambda: EPOCH
    lines: list[str] = field(default_factory=list)
    unforeseen: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Write a line."""
        self.lines.append(f"{self.true() - EPOCH:9.2f}  {what}")

    @property
    def digest(self) -> str:
        """Give a hash of all that was written."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

    def processor(
        self, logger: object, method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        """Take in what the program itself logs, and let it go no further."""
        name, error = str(event.pop("event")), event.pop("exc_info", None)
        event.pop("expires", None)
        told = [f"{key}={value}" for key, value in event.items()]
        if error is not None:
            told.append(repr(error))
        line = f"magister: {name} {' '.join(told)}"
        if name in UNFORESEEN:
            self.unforeseen.append(line)
        if method != "debug":
            self.note(line)
        raise structlog.DropEvent
