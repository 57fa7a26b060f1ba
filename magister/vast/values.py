"""Vast's loosely typed values, each read as what it should be or else as None.

Vast sends numbers as strings and the other way round, NaN and infinities, and nulls almost anywhere.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from magister.money import MICROS_PER_USD

BIGINT = 2**63 - 1
INTEGER = 2**31 - 1
DEAREST = 10_000.0
"""Dollars per hour, or per GB: more is no price. What is below it can be summed over decades in a BIGINT."""

RICHEST = 1e9
"""Dollars: an account or a charge beyond it, in either direction, was misread."""

LONGEST = 16_384
"""Characters kept of a text: four times what Vast takes for the longest, an `onstart`."""

NAME = 200
"""Characters kept of a name; the 800 bytes that they have at most fit into an index of PostgreSQL's."""

_FIRST_SECOND = 1_262_304_000  # of the year 2010: no instance is older than Vast
_CENTURY = 100 * 365.25 * 86_400
_LAST_SECOND = 7_258_118_400  # of the year 2200: calendars and time zones have room beyond it


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


def few(value: object) -> int | None:
    """Take a whole number of at least 0 that an INTEGER column holds."""
    taken = whole(value)
    return taken if taken is not None and taken <= INTEGER else None


def lasting(value: object) -> float | None:
    """Take seconds of at least 0; more than a century is taken for one, which fits into any calendar."""
    taken = number(value)
    return min(taken, _CENTURY) if taken is not None and taken >= 0 else None


def count(value: object) -> int | None:
    """Take a running total, whole units of it; a negative one is none."""
    taken = number(value)
    return int(taken) if taken is not None and 0 <= taken < BIGINT else None


def micros(value: object) -> int | None:
    """Take an amount of dollars as micro-dollars, to the nearest one."""
    dollars = number(value)
    if dollars is None or abs(dollars) > RICHEST:
        return None
    exact = Decimal(str(dollars)) * MICROS_PER_USD
    return int(exact.to_integral_value(ROUND_HALF_UP))


def dollars(value: object) -> float | None:
    """Take dollars per hour, or per GB; a negative price is none, nor is one above DEAREST."""
    taken = number(value)
    return taken if taken is not None and 0 <= taken <= DEAREST else None


def price(value: object) -> int | None:
    """Take dollars per hour, or per GB, as micro-dollars; None as of `dollars`."""
    return None if dollars(value) is None else micros(value)


def disk_hour(value: object) -> int | None:
    """Take the disk's part of a cost object, as micro-dollars per hour."""
    return price((mapping(value) or {}).get("diskHour"))


def moment(value: object) -> datetime | None:
    """Take unix seconds from 2010 to 2199 as an aware UTC datetime."""
    seconds = number(value)
    if seconds is None or not _FIRST_SECOND <= seconds < _LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def text(value: object, most: int = LONGEST) -> str | None:
    """Take a string, less what harms a database or a terminal, cut to `most` characters.

    Databases refuse NUL and lone surrogates; a host could hide or forge lines of a terminal by control
    characters and by those that turn the direction of writing. Line breaks and tabs stay.
    """
    if not isinstance(value, str):
        return None
    return _HARMFUL.sub("", value[: 2 * most]).encode("utf-8", "replace").decode("utf-8")[:most]


def name(value: object) -> str | None:
    """Take a word or a name in one line, short enough for an index; as `text` otherwise."""
    taken = text(value, NAME)
    return None if taken is None else " ".join(taken.split())


def status(value: object) -> str | None:
    """Take a status word, without the space around it and in lower case; an empty one is none."""
    return (name(value) or "").strip().lower() or None


def flag(value: object) -> bool | None:
    """Take true or false, also when written as 1 or 0."""
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None
