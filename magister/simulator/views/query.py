"""Vast's filter grammar: `{"field": {"op": value}}`, with numbers that may come as text."""

import json
import math
from collections.abc import Mapping
from functools import cmp_to_key

from magister.simulator.market.errors import Refused

Row = Mapping[str, object]
Filters = Mapping[str, Mapping[str, object]]

OPERATORS = frozenset({"eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"})


def parsed(text: str | None, default: object = None) -> object:
    """Read a query parameter that holds JSON; an absent or empty one is the default.

    Raises `Refused` for other text.
    """
    if not text:
        return default
    try:
        value: object = json.loads(text)
    except ValueError:
        raise Refused(400, "invalid_request", "Invalid json body") from None
    return value


def filters_of(value: object) -> Filters:
    """Check that a value is a dict of conditions with known operators; raises `Refused`."""
    if not isinstance(value, dict):
        raise Refused(400, "invalid_request", "Invalid query: must be dict of conditions")
    for name, condition in value.items():
        if not isinstance(condition, dict) or not OPERATORS.issuperset(condition):
            raise Refused(400, "invalid_request", f"Error in query parameters: bad condition for {name}")
    return value


def number(value: object) -> float | None:
    """Read a number that may come as text or as a bool; None when it is none."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        words = {"true": 1.0, "false": 0.0}
        try:
            return words[value.lower()] if value.lower() in words else float(value)
        except ValueError:
            return None
    return None


def same(left: object, right: object) -> bool:
    """Compare as numbers where both read as such, else as text; null equals null only."""
    if left is None or right is None:
        return left is right
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one == other
    return str(left) == str(right)


def holds(value: object, operator: str, wanted: object) -> bool:
    """Say whether one condition holds; an order against null or text that is no number never does."""
    if operator == "eq":
        return same(value, wanted)
    if operator == "neq":
        return not same(value, wanted)
    if operator in ("in", "notin"):
        choices = wanted if isinstance(wanted, list) else [wanted]
        return any(same(value, choice) for choice in choices) == (operator == "in")
    left, right = number(value), number(wanted)
    if left is None or right is None:
        return False
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[operator]


def fits(row: Row, filters: Filters) -> bool:
    """Say whether a row fulfils all conditions."""
    return all(
        holds(row.get(name), operator, wanted)
        for name, condition in filters.items()
        for operator, wanted in condition.items()
    )


def compare(left: object, right: object) -> int:
    """Order two values: numbers, then text, then what is null or not a number."""
    one, other = _rank(left), _rank(right)
    return (one > other) - (one < other)


def _rank(value: object) -> tuple[int, float, str]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return (2, 0.0, "")
    read = number(value)
    return (1, 0.0, str(value)) if read is None else (0, read, "")


Order = tuple[tuple[str, bool], ...]
"""Columns to sort by, each with whether it descends."""


def compare_rows(left: Row, right: Row, order: Order) -> int:
    """Order two rows by several columns; what has no value comes last in either direction."""
    for column, descending in order:
        one, other = left.get(column), right.get(column)
        outcome = compare(one, other)
        if outcome and descending and _rank(one)[0] == _rank(other)[0]:
            outcome = -outcome
        if outcome:
            return outcome
    return 0


def in_order(rows: list[dict[str, object]], order: Order) -> list[dict[str, object]]:
    """Sort rows by several columns."""

    def compared(left: dict[str, object], right: dict[str, object]) -> int:
        return compare_rows(left, right, order)

    return sorted(rows, key=cmp_to_key(compared))
