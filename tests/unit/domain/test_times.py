"""Moments as conditions write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from magister.domain.times import next_day, next_month, said
from tests.builders import NOW, ago


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (NOW, "12:00:00 UTC"),
        (ago(hours=12), "00:00:00 UTC"),
        (ago(hours=13), "2026-11-23 23:00:00 UTC"),
        (ago(hours=-12), "2026-11-25 00:00:00 UTC"),
        (datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=2))), "2026-11-23 23:00:00 UTC"),
    ],
)
def test_a_moment_bears_its_date_unless_that_is_today(at: datetime, words: str) -> None:
    assert said(at, NOW) == words


@pytest.mark.parametrize(
    ("now", "day", "month"),
    [
        (NOW, datetime(2026, 11, 25, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (
            datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
        (
            datetime(2026, 2, 1, tzinfo=UTC),
            datetime(2026, 2, 2, tzinfo=UTC),
            datetime(2026, 3, 1, tzinfo=UTC),
        ),
    ],
)
def test_a_period_ends_when_the_next_begins(now: datetime, day: datetime, month: datetime) -> None:
    assert (next_day(now), next_month(now)) == (day, month)
