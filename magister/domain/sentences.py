"""Pure: sentences that tell people something, and the words that times, numbers and names take in them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

NAMED = 5
"""How many of a kind are named one by one; the rest are counted."""


class About(StrEnum):
    """Name what a sentence is about."""

    CHOICE = "choice"
    LIFE = "life"
    COST = "cost"
    END = "end"
    AUTOPSY = "autopsy"
    POOL = "pool"
    CONDITION = "condition"
    LEAVING = "leaving"
    MONEY = "money"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Sentence:
    """Hold one sentence, what it is about, and when that happened; None = it has no one moment."""

    about: About
    said: str
    at: datetime | None = None


def written(sentence: Sentence) -> dict[str, object]:
    """Return one sentence as JSON values."""
    at = None if sentence.at is None else sentence.at.astimezone(UTC)
    moment = None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"about": str(sentence.about), "at": moment, "said": sentence.said}


def lasting(secs: float) -> str:
    """Return a time in the two largest units that say something."""
    whole = round(secs)
    if whole < 100:
        return f"{whole} s"
    minutes = round(timedelta(seconds=whole) / timedelta(minutes=1))
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, left = divmod(hours, 24)
    return f"{days} d {left} h" if left else f"{days} d"


def clock(at: datetime) -> str:
    """Return a moment as people read it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def capital(said: str) -> str:
    """Begin a sentence with a capital letter."""
    return said[:1].upper() + said[1:]


def spaced(word: str) -> str:
    """Return a name of the code as people write it."""
    return word.replace("_", " ")


def counted(number: int, noun: str) -> str:
    """Return a number of things, in the plural if there are more or none."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
