"""Traffic as listings show it: kept by the day beside GPUs and disk, and told wherever money is told."""

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import event, select, text, update

from magister.domain.instance import Held
from magister.domain.observed import Charge, Listing, Sighting
from magister.domain.sentences import About
from magister.domain.traffic import KB_PER_GB
from magister.reports import queries
from magister.reports.instance_story import told
from magister.states import Reason, State
from magister.store import instances, observations, pool, transitions
from magister.store.accounting import invoice, spending
from magister.store.accounting.spending import By, Spent
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from magister.store.db.models_accounting import DayCost, DayTraffic
from tests.builders import NOW, a_fleet, a_row, a_sighting, an_offer

GB = KB_PER_GB
FIRST, SECOND = date(2026, 11, 24), date(2026, 11, 25)


def after(**span: float) -> datetime:
    return NOW + timedelta(**span)


def a_box(sessions: Sessions, **offer: object) -> Held:
    with sessions.write() as session:
        return a_row(session, offer=an_offer(disk_price=0, **offer))


def listed(sessions: Sessions, at: datetime, *boxes: Sighting) -> None:
    with sessions.write() as session:
        observations.note_listing(session, Listing(at, boxes), fleet=a_fleet())


def counting(row: Held, down: float | None, up: float | None = 0, **facts: object) -> Sighting:
    """Return a box that costs nothing but traffic, which it moved in GB."""
    plain = {
        "price": 0,
        "disk_price": 0,
        "inet_down_billed": None if down is None else int(down * GB),
        "inet_up_billed": None if up is None else int(up * GB),
        "inet_down_cost": 2_000,
        "inet_up_cost": 3_000,
    }
    return a_sighting(row.contract_id or 0, **(plain | facts))


def ended(sessions: Sessions, row: Held, at: datetime) -> None:
    for to, reason in ((State.DROPPING, Reason.COORDINATOR), (State.DESTROYED, Reason.PROVED_GONE)):
        with sessions.write() as session:
            known = instances.one(session, row.id)
            assert known is not None
            transitions.move(session, known, to, reason, actor="test", why="a test", at=at)


def spent(sessions: Sessions, since: date = date.min) -> int:
    with sessions.read() as session:
        told = spending.report(session, By.DAY, since, date.max, after(days=2))
        return sum(one.micros + one.traffic for one in told)


def over_midnight(sessions: Sessions) -> Held:
    """Let a box move 6 GB before midnight and 1 GB down and 2 GB up after it."""
    row = a_box(sessions, machine_id=4)
    listed(sessions, after(minutes=1), counting(row, 6))
    listed(sessions, after(minutes=2), counting(row, None, None))
    listed(sessions, after(minutes=3), counting(row, 1))
    listed(sessions, after(hours=13), counting(row, 7, 2))
    return row


def test_it_is_kept_by_the_day_and_neither_null_nor_a_fall_loses_any(sessions: Sessions) -> None:
    row = over_midnight(sessions)
    with sessions.read() as session:
        kept = session.scalars(select(DayTraffic).order_by(DayTraffic.day)).all()
        assert [(one.day, one.down_kb, one.up_kb) for one in kept] == [
            (FIRST, 6 * GB, 0),
            (SECOND, GB, 2 * GB),
        ]
        assert spending.traffic_of(session, row.id).micros == 12_000 + 8_000


def test_what_was_shown_counts_as_spent_before_and_after_the_box_is_gone(sessions: Sessions) -> None:
    row = over_midnight(sessions)
    assert (spent(sessions), spent(sessions, date(2026, 11, 25))) == (20_000, 8_000)
    with sessions.read() as session:
        outlay = spending.outlay(session, after(hours=13))
    assert (outlay.day, outlay.month, outlay.total) == (8_000, 20_000, 20_000)
    ended(sessions, row, after(hours=14))
    assert (spent(sessions), spent(sessions, date(2026, 11, 25))) == (20_000, 8_000)


def test_what_is_known_of_traffic_is_no_longer_set_aside_for_it(sessions: Sessions) -> None:
    row = a_box(sessions)
    with sessions.write() as session:
        session.execute(update(Instance).values(traffic_reserve=10_000))
    totals = []
    for minute, down in enumerate((None, 2, 4, 5, 7), start=1):
        listed(sessions, after(minutes=minute), counting(row, down))
        with sessions.read() as session:
            totals.append(spending.outlay(session, after(minutes=minute)).total)
    assert totals == [10_000, 10_000, 10_000, 10_000, 14_000]


def test_what_a_box_moved_before_anybody_looked_counts_on_all_its_days(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, offer=an_offer(disk_price=0), at=NOW - timedelta(days=20))
    listed(sessions, NOW, counting(row, 2100))
    listed(sessions, after(minutes=1), counting(row, 2101))
    with sessions.read() as session:
        outlay = spending.outlay(session, after(minutes=1))
        days = [one.traffic for one in spending.report(session, By.DAY, date.min, date.max, NOW)]
    assert (outlay.day, outlay.total) == (202_000, 4_202_000)
    assert days == [200_000] * 20 + [202_000]


def test_a_box_that_reappears_goes_on_where_its_count_was(sessions: Sessions) -> None:
    row = over_midnight(sessions)
    ended(sessions, row, after(hours=14))
    back = counting(row, 8, 2)
    listed(sessions, after(hours=15), back)
    with sessions.write() as session:
        known = instances.one(session, row.id)
        assert known is not None
        transitions.move(
            session, known, State.DROPPING, Reason.REAPPEARED, actor="test", why="x", at=after(hours=15)
        )
    assert spent(sessions) == 22_000
    ended_again = after(hours=16)
    with sessions.write() as session:
        known = instances.one(session, row.id)
        assert known is not None
        transitions.move(
            session, known, State.DESTROYED, Reason.PROVED_GONE, actor="test", why="x", at=ended_again
        )
    with sessions.read() as session:
        days = session.execute(select(DayCost.day, DayCost.traffic_micros).order_by(DayCost.day)).all()
    assert [tuple(day) for day in days] == [(FIRST, 12_000), (SECOND, 10_000)]


def test_a_running_box_is_not_written_at_each_listing(sqlite_sessions: Sessions) -> None:
    row = a_box(sqlite_sessions)
    listed(sqlite_sessions, after(minutes=1), counting(row, 6))
    written: list[str] = []
    event.listen(
        sqlite_sessions.engine,
        "before_cursor_execute",
        lambda _c, _k, statement, *_: written.append(statement) if "INTO day_traffic" in statement else None,
    )
    for minute in range(2, 100):  # 0.01 GB each
        listed(sqlite_sessions, after(minutes=minute), counting(row, 6 + minute / 100))
    assert 5 <= len(written) <= 8


@pytest.mark.parametrize("over", [False, True])
def test_it_is_told_apart_from_gpus_and_disk_by_whatever_is_asked(sessions: Sessions, over: bool) -> None:
    row = over_midnight(sessions)
    other = a_box(sessions, machine_id=5)
    listed(sessions, after(hours=13, seconds=1), counting(row, 7, 2), counting(other, 0.5, price=10_000))
    if over:
        ended(sessions, row, after(hours=14))
        ended(sessions, other, after(hours=14))
    with sessions.read() as session:
        told_apart = {by: spending.report(session, by, FIRST, SECOND, after(hours=14)) for by in By}
    assert [(one.key, one.traffic) for one in told_apart[By.DAY]] == [(FIRST, 12_500), (SECOND, 8_500)]
    five, four = told_apart[By.MACHINE]
    assert (five.key, five.traffic, four) == (5, 1_000, Spent(4, 0, 20_000))
    assert all(sum(one.traffic for one in found) == 21_000 for found in told_apart.values())


@pytest.mark.parametrize("over", [False, True])
def test_the_views_say_the_same_as_the_reports(sessions: Sessions, over: bool) -> None:
    row = over_midnight(sessions)
    if over:
        ended(sessions, row, after(hours=14))
    with sessions.read() as session:
        (whole,) = session.execute(
            text("SELECT micros, traffic_micros, traffic_usd, down_gb, up_gb FROM instance_cost")
        )
        days = session.execute(text("SELECT day, micros, traffic_micros FROM daily_cost ORDER BY day")).all()
    assert (whole.micros, whole.traffic_micros, float(whole.traffic_usd)) == (0, 20_000, 0.02)
    assert (float(whole.down_gb), float(whole.up_gb)) == (7.0, 2.0)
    found = [(str(day), micros, traffic) for day, micros, traffic in days if traffic]
    assert found == [(str(FIRST), 0, 12_000), (str(SECOND), 0, 8_000)]


def test_fractions_of_a_micro_dollar_are_not_lost_between_days(sessions: Sessions) -> None:
    row = a_box(sessions)
    for day in range(5):  # each 0.4 micro-dollars
        listed(sessions, after(days=day), counting(row, (day + 1) * 0.4, inet_down_cost=1))
    whole = [0, 0, 1, 0, 1]
    with sessions.read() as session:
        told = spending.report(session, By.DAY, FIRST, FIRST + timedelta(days=9), after(days=9))
        days = session.execute(text("SELECT traffic_micros FROM daily_cost ORDER BY day")).scalars()
        assert list(days)[:5] == whole
        assert session.execute(text("SELECT traffic_micros FROM instance_cost")).scalar_one() == 2
        assert spending.traffic_of(session, row.id).micros == sum(one.traffic for one in told) == 2
    ended(sessions, row, after(days=6))
    with sessions.read() as session:
        kept = session.scalars(select(DayCost.traffic_micros).order_by(DayCost.day))
        assert list(kept)[:5] == whole


def test_it_is_held_against_the_bill_apart_from_gpus_and_disk(sessions: Sessions) -> None:
    row = over_midnight(sessions)
    contract = row.contract_id or 0
    charges = [Charge(contract, None, line, micros) for line, micros in (("bwd", 11_000), ("bwu", 5))]
    with sessions.write() as session:
        invoice.note(session, FIRST, charges, tag="magister", at=after(days=1))
        pool.note_bills(session, after(days=1))
    with sessions.read() as session:
        found = invoice.reconcile(session, FIRST, SECOND, after(days=1))
    assert (found.estimated, found.billed) == (0, 0)
    assert (found.estimated_traffic, found.billed_traffic) == (12_000, 11_005)
    assert [line.parted for line in found.lines] == [995]


def test_the_story_of_an_instance_tells_it(sessions: Sessions) -> None:
    row = over_midnight(sessions)
    with sessions.read() as session:
        life = queries.life(session, row.id, after(hours=13))
    assert life is not None
    assert [one.said for one in told(life) if one.about is About.COST][-1] == (
        "Its traffic cost 0.0200 USD beside that: 7.0 GB down, 2.0 GB up."
    )


def test_a_total_that_no_column_could_hold_harms_no_listing(sessions: Sessions) -> None:
    row, other = a_box(sessions), a_box(sessions)
    listed(sessions, NOW, counting(row, 0, inet_down_billed=2**62, inet_down_cost=2**62), counting(other, 1))
    assert spent(sessions) == 2_000


@pytest.mark.parametrize("sent", [False, True])
def test_nothing_stays_set_aside_for_a_box_that_never_was(sessions: Sessions, sent: bool) -> None:
    with sessions.write() as session:
        row = transitions.open_row(
            session, an_offer(), callback_key=None, actor="test", why="", at=NOW, traffic_reserve=5_000
        )
        if sent:
            row = transitions.claim_send(session, row, fence=1, at=NOW)
    gone = Reason.NEVER_TOOK_EFFECT if sent else Reason.NEVER_SENT
    for to, reason in ((State.DROPPING, Reason.OPERATOR), (State.DESTROYED, gone)):
        with sessions.read() as session:
            assert spending.outlay(session, NOW).total == 5_000
        with sessions.write() as session:
            known = instances.one(session, row.id)
            assert known is not None
            transitions.move(session, known, to, reason, actor="test", why="a test", at=NOW)
    with sessions.read() as session:
        assert spending.outlay(session, NOW).total == 0
