"""What is set aside for the traffic of a box stays so until the bill says what it really was."""

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from magister.domain.cost import day_of
from magister.domain.instance import Held
from magister.domain.observed import Charge
from magister.money import Outlay
from magister.states import Reason, State
from magister.store import instances, pool, transitions
from magister.store.accounting import invoice, spending, traffic_reserve
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from tests.builders import NOW, a_fleet, a_row, an_offer
from tests.controller import Controller
from tests.integration.test_traffic import after, counting, ended, listed

RESERVE = 100_000
DAY = NOW.date()


def a_box(sessions: Sessions, *, reserve: int = RESERVE, at: datetime = NOW) -> Held:
    with sessions.write() as session:
        row = a_row(session, offer=an_offer(price=0, disk_price=0), at=at)
        session.execute(update(Instance).where(Instance.id == row.id).values(traffic_reserve=reserve))
    return row


def gone(sessions: Sessions, row: Held, *, counted: float | None = None, at: datetime | None = None) -> Held:
    """Let a box cost a cent of GPU time in its hour, move some GB that a listing counts, and go."""
    end = at or after(hours=1)
    listed(sessions, end - timedelta(seconds=30), counting(row, counted, price=10_000))
    ended(sessions, row, end)
    return row


def read(sessions: Sessions, today: date, charges: dict[date, list[Charge]], *, reread: int = 1) -> None:
    """Read the bill of the days before `today`, so many of them."""
    days = tuple(today - timedelta(days=back) for back in range(reread, 0, -1))
    with sessions.write() as session:
        for day in days:
            invoice.note(session, day, charges.get(day, []), tag="magister", at=NOW)
        traffic_reserve.settle(session, days, reread=reread)


def billed(row: Held, traffic: int, *, day: date = DAY) -> dict[date, list[Charge]]:
    contract = row.contract_id or 0
    return {day: [Charge(contract, None, "gpu", 10_000), Charge(contract, None, "bwd", traffic)]}


def set_aside(sessions: Sessions, days: int = 40) -> int:
    """Return what counts under a cap on all time beyond GPUs, disks and what listings counted."""
    with sessions.read() as session:
        now = after(days=days)
        known = spending.spent(session, spending.living(session, now), now)
        return spending.outlay(session, now).total - known.total


@pytest.mark.parametrize(
    ("counted", "charged", "left"),
    [
        (None, 0, 0),
        (None, 30_000, 30_000),
        (10, 30_000, 10_000),
        (10, 15_000, 0),
        (None, 130_000, 130_000),
    ],
    ids=["nothing", "less than was set aside", "more than was counted", "less than was counted", "above"],
)
def test_of_a_box_that_is_gone_the_larger_of_what_was_counted_and_billed_counts(
    sessions: Sessions, counted: float | None, charged: int, left: int
) -> None:
    row = gone(sessions, a_box(sessions), counted=counted)
    assert set_aside(sessions) == RESERVE - int((counted or 0) * 2_000)
    for _ in range(2):
        read(sessions, DAY + timedelta(days=1), billed(row, charged))
        assert set_aside(sessions) == left


def test_traffic_that_no_listing_counted_and_nothing_was_set_aside_for_counts_once_it_is_billed(
    sessions: Sessions,
) -> None:
    row = gone(sessions, a_box(sessions, reserve=0))
    read(sessions, DAY + timedelta(days=1), billed(row, 30_000))
    assert set_aside(sessions) == 30_000


def test_a_box_that_is_there_keeps_what_is_set_aside_for_it(sessions: Sessions) -> None:
    row = a_box(sessions)
    read(sessions, DAY + timedelta(days=1), billed(row, 30_000))
    assert set_aside(sessions) == RESERVE


def test_it_stays_set_aside_until_the_last_day_is_read_for_the_last_time(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions))
    for days, left in ((1, RESERVE), (2, RESERVE), (3, 20_000)):
        read(sessions, DAY + timedelta(days=days), billed(row, 10_000 * (days - 1)), reread=3)
        assert set_aside(sessions) == left


@pytest.mark.parametrize(("second", "left"), [(-1, 10_000), (0, RESERVE), (1, RESERVE)])
def test_a_box_that_is_gone_at_midnight_was_there_on_the_day_after(
    sessions: Sessions, second: int, left: int
) -> None:
    row = gone(sessions, a_box(sessions), at=after(hours=12, seconds=second))
    read(sessions, DAY + timedelta(days=1), billed(row, 10_000))
    assert set_aside(sessions) == left
    read(sessions, DAY + timedelta(days=2), billed(row, 0, day=DAY + timedelta(days=1)))
    assert set_aside(sessions) == 10_000


def test_it_stays_set_aside_while_the_bill_lacks_the_box_or_its_last_day(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions), at=after(hours=20))
    last = DAY + timedelta(days=1)
    read(sessions, DAY + timedelta(days=3), {}, reread=2)
    assert set_aside(sessions) == RESERVE
    read(sessions, DAY + timedelta(days=2), billed(row, 10_000), reread=2)
    read(sessions, DAY + timedelta(days=3), {}, reread=2)
    assert set_aside(sessions) == RESERVE, "it was there the day after as well"
    read(sessions, DAY + timedelta(days=3), billed(row, 5_000, day=last), reread=2)
    assert set_aside(sessions) == 15_000


def test_a_box_that_is_long_gone_is_looked_for_on_the_bill_no_more(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions))
    with sessions.write() as session:
        invoice.note(session, DAY, billed(row, 10_000)[DAY], tag="magister", at=NOW)
    read(sessions, DAY + timedelta(days=40), {})
    assert set_aside(sessions) == RESERVE
    read(sessions, DAY + timedelta(days=30), {})
    assert set_aside(sessions) == 10_000


def test_it_stays_set_aside_for_a_box_of_before_the_first_bill_that_was_read(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions, at=NOW - timedelta(days=2)))
    read(sessions, DAY + timedelta(days=1), billed(row, 10_000))
    assert set_aside(sessions) == RESERVE


def test_a_month_is_not_charged_for_what_was_billed_above_in_the_months_before(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions), at=after(days=8))
    last = DAY + timedelta(days=8)
    charges = {**billed(row, 900_000), **billed(row, 20_000, day=last)}
    read(sessions, last + timedelta(days=1), charges, reread=10)
    read(sessions, last + timedelta(days=10), charges, reread=10)
    with sessions.read() as session:
        assert spending.outlay(session, after(days=20)).month - 10_000 * 24 * 8 < RESERVE + 20_000


def test_the_loop_releases_it_once_it_has_read_the_bill(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions))
    fleet = a_fleet(target=0, bills_every=timedelta(hours=1), bills_reread=1)
    loop = Controller(sessions, fleet=fleet)
    loop.vast.charged[DAY] = billed(row, 30_000)[DAY]
    loop.clock.now = after(hours=11)
    loop.run(1800, every=300)
    assert set_aside(sessions) == RESERVE
    loop.run(6000, every=300)
    assert set_aside(sessions) == 30_000


def test_a_drop_of_what_reappeared_meanwhile_is_left_alone(sessions: Sessions) -> None:
    row = gone(sessions, a_box(sessions))
    with sessions.write() as session:
        known = instances.one(session, row.id)
        assert known is not None
        transitions.move(
            session, known, State.DROPPING, Reason.REAPPEARED, actor="test", why="x", at=after(hours=2)
        )
    read(sessions, DAY + timedelta(days=1), billed(row, 30_000))
    with sessions.read() as session:
        assert session.scalar(select(Instance.traffic_reserve)) == RESERVE


def test_a_key_that_may_not_read_the_bill_releases_nothing(sessions: Sessions) -> None:
    gone(sessions, a_box(sessions))
    with sessions.write() as session:
        pool.note_bills(session, after(days=30))
    assert set_aside(sessions, days=60) == RESERVE


def test_what_is_counted_first_on_a_later_day_uses_no_more_of_that_day_than_was_set_aside(
    sessions: Sessions,
) -> None:
    """A box pulls its image after midnight; the day before must not take half of it."""
    row = a_box(sessions, at=NOW + timedelta(hours=11, minutes=59))
    for minutes, moved in ((1, None), (2, 20), (3, 30)):
        at = NOW + timedelta(hours=12, minutes=minutes)
        listed(sessions, at, counting(row, moved))
        with sessions.read() as session:
            outlay = spending.outlay(session, at)
        assert (outlay.day, outlay.total) == (RESERVE, RESERVE)
    assert day_of(at) == DAY + timedelta(days=1)


def test_what_is_above_what_was_set_aside_is_shared_out_over_the_days_before(sessions: Sessions) -> None:
    row = a_box(sessions, at=NOW - timedelta(days=4))
    listed(sessions, NOW, counting(row, 250))
    with sessions.read() as session:
        assert spending.outlay(session, NOW) == Outlay(RESERVE, 500_000, 500_000)
        days = [one.traffic for one in spending.report(session, spending.By.DAY, date.min, date.max, NOW)]
    assert days == [100_000] * 5
    more = a_box(sessions, at=NOW - timedelta(days=4))
    listed(sessions, NOW, counting(row, 250), counting(more, 90))
    with sessions.read() as session:
        assert spending.outlay(session, NOW).day == 2 * RESERVE
