"""Print what the tests tallied as a Markdown table: boundary, fault and engine, runs and violations."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.readme import README, put

ENGINES = ("sqlite", "postgresql")
PART = "proof"


@dataclass(slots=True)
class Cell:
    """Hold how often something was tried, and how often a law was broken."""

    runs: int = 0
    violations: int = 0

    def __str__(self) -> str:
        """Say both; nothing for what was never tried."""
        if not self.runs:
            return ""
        return f"{self.runs:,}" + (f" (**{self.violations:,} broken**)" if self.violations else "")


def main() -> int:
    """Print the table of the file given first; with `--readme`, put it into README.md instead."""
    if len(sys.argv) < 2:
        sys.stderr.write("usage: python -m tests.table FILE [--readme]\n")
        return 2
    part = proof(Path(sys.argv[1]).read_text().splitlines(), datetime.now(UTC))
    if "--readme" in sys.argv[2:]:
        README.write_text(put(README.read_text(), PART, part))
    else:
        sys.stdout.write(part)
    return 0


def proof(lines: Iterable[str], at: datetime) -> str:
    """Return the sum of all and the table."""
    cells: dict[tuple[str, str], dict[str, Cell]] = defaultdict(lambda: defaultdict(Cell))
    seeds = Cell()
    for line in lines:
        found = json.loads(line)
        cell = cells[found["boundary"], found["fault"]][found["engine"]]
        for counted in (cell, *([seeds] if found["boundary"] == SEEDS else [])):
            counted.runs += found["runs"]
            counted.violations += found["violations"]
    cells = {place: row for place, row in cells.items() if place[0] != SEEDS}
    runs = sum(cell.runs for row in cells.values() for cell in row.values())
    broken = sum(cell.violations for row in cells.values() for cell in row.values()) + seeds.violations
    head = (
        f"On {at.day} {at:%B %Y}: {seeds.runs:,} seeds of the simulation, {runs:,} trials of a death or a"
        f" fault, and **{broken:,} violations**.\n\n"
        "<details><summary>how often each was tried</summary>\n\n"
        "| the process dies | meanwhile | SQLite | PostgreSQL |\n|---|---|---:|---:|\n"
    )
    rows = [
        f"| {boundary} | {fault} | " + " | ".join(str(row[engine]) for engine in ENGINES) + " |\n"
        for (boundary, fault), row in sorted(cells.items())
    ]
    return head + "".join(rows) + "\n</details>\n"


SEEDS = "a seed"
"""What stands for a boundary in the line that counts the seeds themselves."""


if __name__ == "__main__":
    sys.exit(main())
