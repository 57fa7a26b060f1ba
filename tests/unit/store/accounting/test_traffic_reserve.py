"""What of a reserve for traffic still counts once the bill is there, by the month in which the box ended."""

from datetime import date

import pytest

from magister.store.accounting.traffic_reserve import still

FEBRUARY, LEAP, MARCH = date(2028, 2, 28), date(2028, 2, 29), date(2028, 3, 1)
A_YEAR_BEFORE, DECEMBER, JANUARY = date(2027, 3, 31), date(2027, 12, 31), date(2028, 1, 1)


@pytest.mark.parametrize(
    ("ended", "before", "within"),
    [
        (date(2028, 3, 2), LEAP, MARCH),
        (LEAP, date(2028, 1, 31), FEBRUARY),
        (MARCH, A_YEAR_BEFORE, MARCH),
        (date(2028, 1, 3), DECEMBER, JANUARY),
    ],
    ids=["March", "a leap day", "the same month a year later", "a new year"],
)
def test_what_was_billed_above_the_reserve_counts_in_the_month_of_the_end_alone(
    ended: date, before: date, within: date
) -> None:
    assert still(50, {before: 300, within: 100}, {}, ended) == 100
    assert still(50, {before: 300}, {}, ended) == 50
    assert still(50, {before: 300, within: 100}, {within: 90}, ended) == 50
