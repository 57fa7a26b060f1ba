"""Workers that ended in boxes whose rows were lost: the box says in its start text whether it beats."""

from collections.abc import Callable

from sqlalchemy import update

from magister.domain.instance import Held
from magister.domain.observed import Order
from magister.onstart import heartbeat
from magister.states import Reason, State
from magister.store import pool as pool_row
from magister.store import restore
from magister.store.db.engine import Sessions
from magister.store.db.models import Pool
from tests.beating import Beating
from tests.builders import ADDRESS, forget_instances
from tests.controller import Controller

TARGET = 4


def beats_in(pool: Controller) -> Callable[[Held], Order]:
    """Order boxes whose start text has the loop."""

    def order(row: Held) -> Order:
        url = f"{ADDRESS}/drop/{row.offer_id}"
        text = heartbeat.before(f'export MAGISTER_DROP_ENDPOINT="{url}"', f'"{heartbeat.url(url, 60)}"', 60)
        return Order(template_hash="hash", label=f"magister:{row.key}", disk=16, onstart=text)

    return order


def lost(sessions: Sessions, *, loop: bool = True, age: float = 0) -> Beating:
    """Return a pool, with beats in its boxes or not, whose database is lost and whose boxes are taken in."""
    beating = Beating(sessions, target=TARGET, every=60)
    if loop:
        beating.pool.order = beats_in(beating.pool)  # type: ignore[assignment,method-assign]
        beating.pool.restart()
        for row in beating.pool.rows():
            onstart = beats_in(beating.pool)(row).onstart
            beating.pool.vast.change(row.contract_id or 0, onstart=onstart)
    beating.run(600 + age)
    with sessions.write() as session:
        owner = pool_row.read(session).owner_id  # they are this pool's, as after a backup was put back
        forget_instances(session)
        session.execute(update(Pool).values(owner_id=owner))
        pool_row.forget_listing(session)
    beating.alive = set()
    beating.pool.restart()
    beating.run(10)
    assert {row.reason for row in beating.pool.rows()} == {Reason.ADOPTED}
    return beating


def test_an_adopted_box_whose_worker_has_ended_is_replaced(sessions: Sessions) -> None:
    beating = lost(sessions)
    ended, *alive = [row.id for row in beating.pool.rows(State.VERIFIED)]
    beating.alive = set(alive)
    beating.run(240)
    assert beating.given_up() == {}
    beating.run(120)
    assert beating.given_up() == {ended: Reason.SILENT}
    beating.pool.verify_all()
    beating.run(600)
    assert beating.given_up() == {ended: Reason.SILENT}, "one whose worker called is judged as before"
    assert len(beating.pool.vast.boxes) == TARGET


def test_an_adopted_box_that_has_no_beats_is_not_judged_by_its_silence(sessions: Sessions) -> None:
    beating = lost(sessions, loop=False)
    _, *alive = [row.id for row in beating.pool.rows(State.VERIFIED)]
    beating.alive = set(alive)
    beating.run(1800)
    assert beating.given_up() == {}


def test_the_silence_of_an_adopted_box_counts_only_while_it_could_be_heard(sqlite_sessions: Sessions) -> None:
    beating = lost(sqlite_sessions)
    beating.run(1800, listening=False)
    assert beating.given_up() == {}
    beating.run(240)
    assert beating.given_up() == {}


def test_when_all_adopted_boxes_are_silent_one_is_replaced_to_see_and_the_rest_once_that_beats(
    sqlite_sessions: Sessions,
) -> None:
    beating = lost(sqlite_sessions)
    first = {row.id for row in beating.pool.rows()}
    beating.run(600)
    (canary,) = beating.given_up()
    beating.pool.verify_all()
    beating.run(600)
    assert set(beating.given_up()) == {canary}, "its worker called, but in no box were beats heard yet"
    beating.alive = {row.id for row in beating.pool.rows(State.VERIFIED)} - first
    for _ in range(20):
        beating.run(60)
        beating.pool.verify_all()
        beating.alive |= {row.id for row in beating.pool.rows(State.VERIFIED)} - first
    assert set(beating.given_up()) == first
    assert len(beating.pool.rows(State.VERIFIED)) == TARGET


def test_boxes_in_which_the_loop_cannot_run_are_lost_one_at_most(sqlite_sessions: Sessions) -> None:
    beating = lost(sqlite_sessions)
    for _ in range(60):
        beating.run(60)
        beating.pool.verify_all()
    assert len(beating.given_up()) == 1
    assert len(beating.pool.vast.boxes) == TARGET


def test_a_box_that_counts_as_verified_after_a_backup_and_is_not_heard_is_replaced(
    sessions: Sessions,
) -> None:
    beating = Beating(sessions, target=TARGET, every=60)
    beating.alive = set()
    pool = beating.pool
    pool.order = beats_in(pool)  # type: ignore[assignment,method-assign]
    pool.restart(target=TARGET + 2)
    beating.run(30)
    waiting = [row.id for row in pool.rows(State.CREATED)]
    assert len(waiting) == 2
    pool.clock.advance(3600)
    with sessions.write() as session:
        restore.doubt(session, fleet=pool.fleet, at=pool.clock.now)
    pool.restart()
    beating.alive = {row.id for row in pool.rows()} - {waiting[0]}
    beating.run(240)
    assert beating.given_up() == {}
    beating.run(120)
    assert beating.given_up() == {waiting[0]: Reason.SILENT}
