"""When the bill is read: once a day, an hour after a failure, the last days again."""

from datetime import date, datetime, timedelta

import pytest

from magister.domain.actions import ReadBill
from magister.domain.spec import Fleet, View
from magister.planner.plan import plan
from tests.builders import NOW, a_fleet, a_view, ago

FLEET = a_fleet(target=0, bills_every=timedelta(days=1))


def days(view: View, fleet: Fleet = FLEET, now: datetime = NOW) -> list[date]:
    found = [action for action in plan(fleet, (), view, now).actions if isinstance(action, ReadBill)]
    return list(found[0].days) if found else []


def test_the_three_days_before_today_are_read_first_of_all() -> None:
    assert days(a_view()) == [date(2026, 11, 21), date(2026, 11, 22), date(2026, 11, 23)]


def test_it_is_read_once_a_day() -> None:
    assert not days(a_view(bills_read_at=ago(hours=23)))
    assert days(a_view(bills_read_at=ago(hours=24)))


def test_what_passed_since_the_last_reading_is_read_as_well() -> None:
    found = days(a_view(bills_read_at=ago(hours=24 * 4)))
    assert (found[0], len(found)) == (date(2026, 11, 17), 7)
    assert len(days(a_view(bills_read_at=ago(hours=24 * 400)))) == 31


@pytest.mark.parametrize("read_at", [None, ago(hours=30)])
def test_after_a_failure_an_hour_passes(read_at: datetime | None) -> None:
    assert not days(a_view(bills_read_at=read_at, bills_tried_at=ago(minutes=59)))
    assert days(a_view(bills_read_at=read_at, bills_tried_at=ago(minutes=60)))


def test_it_is_not_read_unless_it_is_wanted() -> None:
    assert not days(a_view(), a_fleet(target=0))


def test_the_next_reading_wakes_the_loop() -> None:
    view = a_view(bills_read_at=NOW - timedelta(days=1) + timedelta(seconds=3))
    assert plan(FLEET, (), view, NOW).next_at == NOW + timedelta(seconds=3)
