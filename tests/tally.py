"""Count what was tried and what it broke, for the table that is printed at the end."""

import json
import os
from pathlib import Path

VARIABLE = "MAGISTER_TEST_TABLE"


def tally(boundary: str, fault: str, engine: str, runs: int = 1, violations: int = 0) -> None:
    """Append a line to the file that `MAGISTER_TEST_TABLE` names; unset = do nothing."""
    place = os.environ.get(VARIABLE)
    if not place:
        return
    line = {
        "boundary": boundary,
        "fault": fault,
        "engine": engine,
        "runs": runs,
        "violations": violations,
    }
    with Path(place).open("a") as table:  # one short write, which processes side by side do not mix up
        table.write(json.dumps(line) + "\n")
