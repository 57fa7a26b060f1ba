"""Where a process may die: each commit, each request and each reply is a boundary with a name."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

NOWHERE = "nowhere"


def kind(name: str) -> str:
    """Say of what kind a boundary is, in the words of the table in README."""
    if "commit" in name:
        return f"{name.partition(' ')[0]} a commit"
    when = name.partition(" ")[0]
    return {"before": "before a request", "during": "a request on its way", "after": "before its reply"}[when]


class Killed(BaseException):
    """The process died here: nothing may catch it but who watches over processes."""


@dataclass(slots=True)
class Death:
    """Count the boundaries that a process passes, and kill it at a chosen one.

    `after` = at the boundary that comes after so many; `named` = at the n-th with this name; None = never.
    `freezes` = where it only stands still for a while, by a number or a name as well; `freeze` lets others
    go on meanwhile. `passing` is told of each boundary. It never stands still within a transaction, for
    which they would have to wait.
    """

    after: int | None = None
    named: tuple[str, int] | None = None
    passed: Counter[str] = field(default_factory=Counter)
    last: str = ""
    freezes: int | str | None = None
    freeze: Callable[[str], None] = lambda name: None
    passing: Callable[[str], None] = lambda name: None

    def __call__(self, name: str) -> None:
        """Pass a boundary, or die there."""
        self.passed[name] += 1
        self.passing(name)
        if self._strikes(name):
            self.after = self.named = None
            self.last = name
            raise Killed(name)
        if not name.startswith("before the commit") and self._stands_still(name):
            self.freezes = None
            self.freeze(name)

    def spare(self) -> None:
        """Let the process live from now on."""
        self.after = self.named = self.freezes = None

    def _strikes(self, name: str) -> bool:
        if self.named is not None:
            return self.named == (name, self.passed[name])
        if self.after is None:
            return False
        self.after -= 1
        return self.after < 0

    def _stands_still(self, name: str) -> bool:
        if isinstance(self.freezes, int):
            self.freezes -= 1
            return self.freezes < 0
        return self.freezes == name
