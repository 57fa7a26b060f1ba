"""The pool at a glance: what an hour of work comes to, and what left lately."""

from datetime import timedelta

from sqlalchemy import text, update

from magister.domain.spec import Fleet
from magister.money import Budget
from magister.reports import dashboard
from magister.reports.dashboard import Dashboard
from magister.states import Reason, State
from magister.store import instances, pool, transitions
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from magister.store.db.models_accounting import Rate
from tests.builders import NOW, a_fleet, a_row, ago, an_offer


def glance(sessions: Sessions, fleet: Fleet | None = None) -> Dashboard:
    with sessions.read() as session:
        return dashboard.dashboard(session, fleet or a_fleet(), NOW, timedelta(seconds=60), last=5, lost=5)


def test_an_hour_of_work_bears_what_never_worked_as_the_views_say(sessions: Sessions) -> None:
    with sessions.write() as session:
        worked = a_row(session, state=State.DROPPING, offer=an_offer(disk_price=36_000), at=ago(hours=3))
        idle = a_row(session, state=State.DROPPING, offer=an_offer(disk_price=36_000), at=ago(hours=3))
        session.execute(update(Rate).values(ends_at=ago(hours=1)))
        for row in (worked, idle):
            paid = {"begins_at": ago(hours=3), "ends_at": ago(hours=1), "micros": 360_001}
            session.add(Rate(instance_id=row.id, line="gpu", **paid))
        session.execute(
            update(Instance)
            .where(Instance.id == worked.id)
            .values(verified_at=ago(hours=2, minutes=45), dropped_at=ago(hours=1, minutes=15))
        )
        session.execute(update(Instance).where(Instance.id == idle.id).values(verified_at=None))
    work = glance(sessions).work
    with sessions.read() as session:
        query = text("SELECT SUM(micros), SUM(worked_seconds) FROM instance_cost")
        assert session.execute(query).one() == (work.micros, work.seconds)
    assert work.seconds == 5400
    assert work.micros == 2 * 2 * (360_001 + 36_000)
    assert work.hourly == work.micros * 2 // 3


def test_an_hour_of_work_counts_what_runs_until_now_and_what_is_settled(sessions: Sessions) -> None:
    with sessions.write() as session:
        runs = a_row(session, offer=an_offer(disk_price=0), at=ago(hours=3))
        gone = a_row(session, state=State.DROPPING, offer=an_offer(disk_price=0), at=ago(hours=3))
        for row in (runs, gone):
            session.add(Rate(instance_id=row.id, line="gpu", begins_at=ago(hours=3), micros=400_000))
        verified = update(Instance).where(Instance.id.in_((runs.id, gone.id)))
        session.execute(verified.values(verified_at=ago(hours=2)))
        session.execute(update(Instance).where(Instance.id == gone.id).values(dropped_at=ago(hours=1)))
        session.expire_all()
        dropped = instances.one(session, gone.id)
        assert dropped is not None
        transitions.move(
            session,
            dropped,
            State.DESTROYED,
            Reason.PROVED_GONE,
            actor="loop",
            why="gone",
            at=ago(minutes=30),
        )
    work = glance(sessions).work
    assert work.seconds == (2 + 1) * 3600
    assert work.micros == 3 * 400_000 + 2.5 * 400_000


def test_where_nothing_has_worked_an_hour_of_work_has_no_price(sessions: Sessions) -> None:
    with sessions.write() as session:
        a_row(session, state=State.CREATED, at=ago(minutes=1))
    assert glance(sessions).work.hourly is None


def test_what_left_lately_comes_newest_first_and_once_each(sqlite_sessions: Sessions) -> None:
    with sqlite_sessions.write() as session:
        for minutes in (9, 8):
            row = a_row(session, at=ago(hours=1))
            moves = ((State.DROPPING, Reason.EXITED), (State.DESTROYED, Reason.PROVED_GONE))
            for to, reason in moves:
                now = instances.one(session, row.id)
                assert now is not None
                transitions.move(
                    session, now, to, reason, actor="loop", why="it is so", at=ago(minutes=minutes)
                )
        a_row(session, state=State.CREATED, at=ago(minutes=1))
    lost = glance(sqlite_sessions).lost
    assert [(event.instance, event.reason) for event in lost] == [(2, Reason.EXITED), (1, Reason.EXITED)]


def test_an_offer_that_was_refused_is_no_box_that_left(sqlite_sessions: Sessions) -> None:
    with sqlite_sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=False, at=ago(minutes=1))
        transitions.move(session, row, State.DESTROYED, Reason.OFFER_GONE, actor="loop", why="gone", at=NOW)
    assert glance(sqlite_sessions).lost == ()


def test_the_caps_are_told_with_what_is_spent_of_them_the_hourly_one_first(
    sqlite_sessions: Sessions,
) -> None:
    with sqlite_sessions.write() as session:
        a_row(session, offer=an_offer(price=500_000, disk_price=60_000), at=ago(hours=1))
        pool.beat(session, NOW, target=3, conditions=())
    fleet = a_fleet(budget=Budget(per_hour=2_000_000, per_day=3_000_000))
    seen = glance(sqlite_sessions, fleet)
    assert [(cap.name, cap.limit, cap.spent) for cap in seen.caps] == [
        ("budget.usd_per_hour", 2_000_000, 500_000),
        ("budget.usd_per_day", 3_000_000, 500_000),  # it may have run for all we know
    ]
    assert seen.spent.day == 60_000
    assert glance(sqlite_sessions).caps == ()
