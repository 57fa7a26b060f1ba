"""Vast's loosely typed values, each read as what it should be or else as None.

Vast sends numbers as strings and the other way round, NaN and infinities, and nulls almost anywhere.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from magister.money import MICROS_PER_USD

BIGINT = 2**63 - 1
_LAST_SECOND = 253_402_300_799  # of the year 9999


def mapping(value: object) -> Mapping[str, object] | None:
    """Take a JSON object."""
    return value if isinstance(value, dict) else None


def sequence(value: object) -> Sequence[object] | None:
    """Take a JSON array."""
    return value if isinstance(value, list) else None


def identity(value: object) -> int | None:
    """Take an id: a positive integer or its digits; a bool or a fraction is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= BIGINT else None


def number(value: object) -> float | None:
    """Take a finite number or its digits; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        taken = float(value)
    except (ValueError, OverflowError):
        return None
    return taken if math.isfinite(taken) else None


def whole(value: object) -> int | None:
    """Take a whole number of at least 0, also when written as 1.0."""
    taken = number(value)
    if taken is None or not taken.is_integer() or not 0 <= taken < BIGINT:
        return None
    return value if isinstance(value, int) else int(taken)


def count(value: object) -> int | None:
    """Take a running total, whole units of it; a negative one is none."""
    taken = number(value)
    return int(taken) if taken is not None and 0 <= taken < BIGINT else None


def micros(value: object) -> int | None:
    """Take an amount of dollars as micro-dollars, to the nearest one."""
    dollars = number(value)
    if dollars is None or abs(dollars) >= BIGINT / MICROS_PER_USD:
        return None
    exact = Decimal(str(dollars)) * MICROS_PER_USD
    return int(exact.to_integral_value(ROUND_HALF_UP))


def price(value: object) -> int | None:
    """Take dollars per hour, or per GB, as micro-dollars; a negative price is none."""
    taken = micros(value)
    return taken if taken is not None and taken >= 0 else None


def disk_hour(value: object) -> int | None:
    """Take the disk's part of a cost object, as micro-dollars per hour."""
    return price((mapping(value) or {}).get("diskHour"))


def moment(value: object) -> datetime | None:
    """Take unix seconds as an aware UTC datetime."""
    seconds = number(value)
    if seconds is None or not 0 < seconds < _LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def text(value: object) -> str | None:
    """Take a string, less what databases refuse: NUL and lone surrogates."""
    if not isinstance(value, str):
        return None
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def status(value: object) -> str | None:
    """Take a status word, without the space around it and in lower case; an empty one is none."""
    return (text(value) or "").strip().lower() or None


def flag(value: object) -> bool | None:
    """Take true or false, also when written as 1 or 0."""
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None
