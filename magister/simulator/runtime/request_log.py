"""What was asked of the simulator: a log of the last requests and counts of all."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

KEPT = 5000
WITH_BODY = frozenset({"create", "destroy", "update", "search"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Hold one request; `at` is simulated time, `real` Unix time, status 0 a cut connection."""

    number: int
    route: str
    method: str
    path: str
    parameters: Mapping[str, str]
    body: object
    status: int
    at: float
    real: float
    fault: str | None


class Journal:
    """Keep the last requests and count all of them by route and by status."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.routes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    def write(
        self,
        *,
        route: str,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: object,
        status: int,
        at: float,
        real: float,
        fault: str | None,
    ) -> None:
        """Add a request; bodies are kept for the routes that change something and for searches."""
        self.routes[route] += 1
        self.statuses[status] += 1
        entry = Entry(
            number=sum(self.routes.values()),
            route=route,
            method=method,
            path=path,
            parameters={name: value for name, value in parameters.items() if name != "api_key"},
            body=body if route in WITH_BODY else None,
            status=status,
            at=at,
            real=real,
            fault=fault,
        )
        self.entries.append(entry)
