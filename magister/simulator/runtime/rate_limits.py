"""How often Vast lets itself be asked, and the several shapes of its 429."""

import json
import random
from dataclasses import dataclass

from magister.simulator.runtime.replies import Reply

INTERVALS = {
    "create": 4.5,
    "search": 2.0,
    "search_get": 0.8,
    "search_new": 2.0,
    "list": 1.0,
    "show": 2.0,
    "destroy": 3.0,
    "update": 1.0,
    "count": 2.0,
    "list_v0": 20.0,
    "charges": 1.0,
    "spend_rate": 2.0,
    "templates": 1.9,
}
"""Seconds between two calls of a route, from the generated OpenAPI; routes not named have no stated limit."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePlan:
    """Say how strict the limits are.

    `scale` stretches the intervals (0 = no limits); `create_penalty` blocks creates for so many seconds once
    the limit was tripped (an inference from Vast's "penalty 12"); `search_rows_per_day` 0 = no quota.
    """

    seed: int = 1
    scale: float = 1.0
    create_penalty: float = 12.0
    retry_after_share: float = 0.25
    search_rows_per_day: int = 0


class Rates:
    """Refuse calls that come too soon after the last one accepted on the route, and count the refusals."""

    def __init__(self, plan: RatePlan | None = None) -> None:
        self.plan = plan or RatePlan()
        self.refused = 0
        self._rng = random.Random(self.plan.seed)  # noqa: S311 - reproducible, nothing is secret here
        self._next: dict[str, float] = {}
        self._day = 0.0
        self._rows = 0

    def check(self, route: str, now: float, speed: float = 1.0) -> Reply | None:
        """Admit a call (None) or give the 429.

        `now` is simulated time, `Retry-After` is told in the caller's seconds.
        """
        interval = INTERVALS.get(route, 0.0) * self.plan.scale
        if interval <= 0:
            return None
        allowed = self._next.get(route, now)
        if now >= allowed:
            self._next[route] = now + interval
            return None
        if route == "create":
            allowed = max(allowed, now + self.plan.create_penalty * self.plan.scale)
            self._next[route] = allowed
        return self.throttled(route, (allowed - now) / speed)

    def throttled(self, route: str, wait: float, *, always_tell: bool = False) -> Reply:
        """Give a 429 in one of the shapes seen; the wait in seconds is told only sometimes."""
        self.refused += 1
        words = f"API requests too frequent endpoint threshold={INTERVALS.get(route, 1.0)}"
        enveloped = json.dumps({"success": False, "error": "rate_limit_exceeded", "msg": words})
        shapes = (
            ("API requests too frequent", "text/plain"),
            (words.replace(" endpoint", ": endpoint"), "text/plain"),
            (json.dumps({"detail": words}), "application/json"),
            (enveloped, "application/json"),
        )
        body, content_type = shapes[-1] if route == "destroy" else self._rng.choice(shapes)
        headers: tuple[tuple[str, str], ...] = ()
        if always_tell or self._rng.random() < self.plan.retry_after_share:
            headers = (("Retry-After", str(max(1, round(wait)))),)
        return Reply(429, body.encode(), content_type, headers)

    def rows_left(self, now: float) -> int | None:
        """Give how many rows searches may still return today (UTC, simulated); None without a quota."""
        if self.plan.search_rows_per_day <= 0:
            return None
        if now // DAY != self._day:
            self._day, self._rows = now // DAY, 0
        return max(0, self.plan.search_rows_per_day - self._rows)

    def count_rows(self, rows: int) -> None:
        """Count rows a search returned."""
        self._rows += rows

    def exhausted(self, now: float, speed: float, date: float) -> Reply:
        """Give the 429 of a spent row quota; `date` is the caller's Unix time."""
        self.refused += 1
        wait = (DAY - now % DAY) / speed
        body = {"error": "search_quota_exceeded", "msg": "Daily search row quota exhausted"}
        headers = (("Retry-After", str(max(1, round(wait)))), ("X-RateLimit-Reset", str(round(date + wait))))
        return Reply(429, json.dumps(body).encode(), "application/json", headers)
