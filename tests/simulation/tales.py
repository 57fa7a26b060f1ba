"""What Vast says that is odd: words that nobody knows for a status, and values that no field should have."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WORDS = ("active", "Running", "running ", "RUNNING", "booting", "", "degraded")
"""What a status may be called for once; some of them mean that it runs."""

ODD_IN_LISTINGS: tuple[tuple[str, object], ...] = (
    ("num_gpus", 2**40),
    ("num_gpus", -1),
    ("num_gpus", "two"),
    ("end_date", 1e18),
    ("end_date", "soon"),
    ("gpu_name", 4090),
    ("gpu_name", "\u202e\u001b[31mX\n"),
    ("geolocation", None),
    ("geolocation", ["SE"]),
    ("status_msg", {"words": None}),
    ("machine_id", None),
    ("host_id", "none"),
    ("inet_down_billed", None),
    ("cur_state", 7),
)
ODD_IN_OFFERS: tuple[tuple[str, object], ...] = (
    ("num_gpus", 2**40),
    ("dph_total", None),
    ("dph_total", "cheap"),
    ("dph_total", -1.0),
    ("inet_down_cost", 1e300),
    ("reliability2", "high"),
    ("machine_id", None),
    ("host_id", 2**70),
    ("gpu_name", None),
    ("id", "7"),
)


@dataclass(slots=True)
class Tales:
    """Change what Vast's answers say.

    `words` holds for contracts the status that they are said to have, and until when. `odd` are the values
    to put into the next answers, each into the row that its number chooses.
    """

    now: Callable[[], float]
    words: dict[int, tuple[str, float]] = field(default_factory=dict)
    odd: deque[int] = field(default_factory=deque)
    more_pages: bool = False

    def calm(self) -> None:
        """Say nothing odd from now on."""
        self.words.clear()
        self.odd.clear()

    def retold(self, route: str, body: bytes) -> bytes:
        """Return what is said instead of an answer."""
        if route == "list":
            self.more_pages = b'"next_token"' in body and b'"next_token": null' not in body
        if route not in {"list", "show", "search"} or not (self.words or self.odd):
            return body
        try:
            said = json.loads(body)
        except ValueError:
            return body
        rows = said.get("offers" if route == "search" else "instances") if isinstance(said, dict) else None
        found = [row for row in (rows if isinstance(rows, list) else [rows]) if isinstance(row, dict)]
        if not found:
            return body
        for row in found:
            word, until = self.words.get(row.get("id", 0), ("", 0.0))
            if route != "search" and self.now() < until:
                row["actual_status"] = word
        if self.odd and route != "show":
            number = self.odd.popleft()
            odd = ODD_IN_OFFERS if route == "search" else ODD_IN_LISTINGS
            name, value = odd[number % len(odd)]
            found[number // 64 % len(found)][name] = value
        return json.dumps(said).encode()
