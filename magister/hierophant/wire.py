"""Hierophant's lists of workers: pairs of an address and facts, of which the drop endpoint matters here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from magister.mishaps import one_line

ENDPOINT = "magister_drop_endpoint"


class NoList(Exception):
    """The answer is not a list of workers; the message says what it is instead."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Hold the drop endpoints of one list, once for each entry, and how many entries could not be read."""

    endpoints: tuple[str, ...]
    unread: int


def listed(raw: bytes) -> Listed:
    """Read a list of `[address, {facts}]`; a worker without a drop endpoint is left out.

    Raises NoList for anything else, also for a list of which nothing can be read.
    """
    try:
        entries: object = json.loads(raw)
    except (ValueError, RecursionError):
        raise NoList(f"not JSON, but {_shown(raw)}") from None
    if not isinstance(entries, list):
        raise NoList(f"JSON of another kind: {_shown(raw)}")
    read = tuple(_endpoints(entries))
    if entries and not read:
        raise NoList(f"a list of something else: {_shown(raw)}")
    return Listed(tuple(endpoint for endpoint in read if endpoint is not None), len(entries) - len(read))


def _endpoints(entries: list[object]) -> Iterator[str | None]:
    """Yield the endpoint of each entry that can be read; None = its worker was given none."""
    for entry in entries:
        if not isinstance(entry, list) or len(entry) < 2:
            continue
        facts: object = entry[1]
        if isinstance(facts, dict) and isinstance(facts.get(ENDPOINT), str | None):
            yield facts.get(ENDPOINT)


def _shown(raw: bytes) -> str:
    return one_line(raw[:80].decode("utf-8", "replace")) or "nothing"
