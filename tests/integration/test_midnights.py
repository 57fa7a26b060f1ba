"""What counts as spent in a day and a month ends and begins with it, to the moment."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from magister.domain.actions import Adopt
from magister.domain.observed import Adoptable
from magister.money import Outlay
from magister.states import Reason, State
from magister.store import transitions
from magister.store.accounting import spending
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from tests.builders import a_fleet, a_row, a_sighting, an_offer

DAY = datetime(2026, 11, 25, tzinfo=UTC)
MONTHS = (
    datetime(2026, 12, 1, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
    datetime(2027, 3, 1, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC),
    datetime(2028, 3, 1, tzinfo=UTC),
)
MOMENT = timedelta(microseconds=1)
RESERVE = 100_000
PRICE = 720_000


def begins_a_month(midnight: datetime) -> bool:
    return midnight.day == 1


def outlay(sessions: Sessions, now: datetime) -> Outlay:
    with sessions.read() as session:
        return spending.outlay(session, now)


def gone(session: Session, at: datetime) -> None:
    """Write a box that cost nothing but what is set aside for its traffic, and is gone since a moment."""
    offer = an_offer(price=0, disk_price=0)
    row = a_row(session, state=State.DROPPING, offer=offer, at=at - timedelta(hours=30))
    session.execute(update(Instance).where(Instance.id == row.id).values(traffic_reserve=RESERVE))
    transitions.move(session, row, State.DESTROYED, Reason.PROVED_GONE, actor="test", why="gone", at=at)


@pytest.mark.parametrize("midnight", (DAY, *MONTHS), ids=str)
@pytest.mark.parametrize("left", [-MOMENT, timedelta(), MOMENT], ids=["before", "at", "after"])
def test_what_is_set_aside_for_traffic_counts_in_each_day_and_month_that_the_box_was_there(
    sessions: Sessions, midnight: datetime, left: timedelta
) -> None:
    with sessions.write() as session:
        gone(session, midnight + left)
    there = 0 if left < timedelta() else RESERVE
    month = there if begins_a_month(midnight) else RESERVE
    assert outlay(sessions, midnight - MOMENT) == Outlay(RESERVE, RESERVE, RESERVE)
    assert outlay(sessions, midnight) == Outlay(there, month, RESERVE)
    assert outlay(sessions, midnight + timedelta(hours=23, minutes=59)) == Outlay(there, month, RESERVE)
    assert outlay(sessions, midnight + timedelta(days=1)).day == 0


@pytest.mark.parametrize("midnight", (DAY, *MONTHS), ids=str)
@pytest.mark.parametrize("settled", [True, False], ids=["gone", "living"])
def test_each_second_of_a_box_costs_in_its_own_day_and_month(
    sessions: Sessions, midnight: datetime, settled: bool
) -> None:
    begun, ends = midnight - timedelta(seconds=5), midnight + timedelta(seconds=10)
    box = a_sighting(9001, price=PRICE, disk_price=0, start_date=begun, machine_id=7)
    found = Adopt(Adoptable(box, 1, None), State.DROPPING, Reason.ADOPTED, "it is ours")
    with sessions.write() as session:
        row = transitions.adopt(session, found, fleet=a_fleet(), at=begun)
        assert row is not None
        if settled:
            transitions.move(
                session, row, State.DESTROYED, Reason.PROVED_GONE, actor="test", why="gone", at=ends
            )
    before, after = 5 * PRICE // 3600, 10 * PRICE // 3600
    month = after if begins_a_month(midnight) else before + after
    assert outlay(sessions, ends) == Outlay(after, month, before + after)
    if not settled:
        assert outlay(sessions, midnight) == Outlay(0, month - after, before)
        assert outlay(sessions, midnight - timedelta(seconds=1)).day == 4 * PRICE // 3600
