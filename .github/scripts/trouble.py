"""How a release script ends when a person has to change something: one line a problem, exit code 2."""

import sys
from collections.abc import Sequence
from typing import NoReturn


class Refused(Exception):
    """What was asked for was not done, and nothing was changed; each line says what would be right."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


def end(refused: Refused) -> NoReturn:
    """Write the problems to stderr and end with exit code 2."""
    for problem in refused.problems:
        sys.stderr.write(f"{problem}\n")
    sys.exit(2)
