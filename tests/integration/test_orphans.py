"""Boxes without a row: ours are taken in before anything is rented, and those of others are never touched."""

from collections.abc import Callable

import pytest

from magister.domain.observed import Sighting
from magister.errors import IncompleteListing
from magister.states import Reason, State
from magister.store import pool as pool_row
from magister.store.db.engine import Sessions
from tests.builders import ADDRESS, a_fleet, a_sighting, ago, an_offer, forget_instances
from tests.controller import Controller

ELSEWHERE = "http://198.51.100.9:8555"
KEY = "0123456789abcdef" * 2

OTHERS = {
    1: a_sighting(1, label=None),
    2: a_sighting(2, label="training", onstart=f"X={ADDRESS}/drop/2", start_date=ago(hours=9)),
    3: a_sighting(3, label=f"magister:{KEY}", onstart=f"X={ELSEWHERE}/drop/3", start_date=ago(hours=9)),
    4: a_sighting(4, label="magister", onstart=f"X={ELSEWHERE}/drop/4", actual_status="exited"),
    5: a_sighting(5, label=f"other:{KEY}", onstart=f"X={ADDRESS}/drop/5", start_date=ago(hours=9)),
    6: a_sighting(6, label="magister-2", onstart=f"X={ADDRESS}/drop/6", actual_status="exited"),
}


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    pool = Controller(sessions, fleet=a_fleet(target=4))
    pool.vast.stock(an_offer() for _ in range(20))
    return pool


def lose_database(pool: Controller) -> None:
    """Leave of the database what a new one has."""
    with pool.sessions.write() as session:
        forget_instances(session)
        pool_row.hold_renting(session, until=None, refusals=0)
    pool.restart()


def older(contract: int, **facts: object) -> Sighting:
    onstart = f"X={ADDRESS}/drop/{contract}"
    return a_sighting(contract, label="magister", onstart=onstart, start_date=ago(hours=1), **facts)


def at_each_create(pool: Controller, look: Callable[[], None]) -> None:
    pool.vast.boundary = lambda name: look() if name == "create" else None


def test_a_full_pool_is_taken_in_whole_and_nothing_is_rented(pool: Controller) -> None:
    pool.filled()
    pool.clock.advance(600)
    before = dict(pool.vast.boxes)
    lose_database(pool)
    pool.run(600, every=20)
    assert pool.vast.boxes == before
    assert len(pool.vast.named("create")) == 4
    assert {(row.contract_id, row.state, row.reason) for row in pool.rows()} == {
        (contract, State.VERIFIED, Reason.ADOPTED) for contract in before
    }


def test_a_box_of_which_vast_says_nothing_when_it_is_taken_in_has_the_time_to_be_heard(
    pool: Controller,
) -> None:
    pool.filled()
    pool.clock.advance(600)
    for contract in pool.vast.boxes:
        pool.vast.change(contract, actual_status=None)
    before = set(pool.vast.boxes)
    lose_database(pool)
    pool.run(120, every=20)
    assert set(pool.vast.boxes) == before
    heard, *silent = pool.rows(State.CREATED)
    pool.verify(heard)
    pool.run(120, every=20)
    assert pool.row(heard.id).state is State.VERIFIED
    assert {pool.story(row.id)[1] for row in silent} == {(State.DROPPING, Reason.UNVERIFIED)}


def test_what_is_short_is_rented_only_after_all_orphans_have_rows(pool: Controller) -> None:
    pool.filled()
    pool.clock.advance(600)
    orphans = set(pool.vast.boxes)
    lose_database(pool)
    pool.restart(target=6)
    known: list[set[int | None]] = []
    at_each_create(pool, lambda: known.append({row.contract_id for row in pool.rows()}))
    pool.run(60)
    assert len(known) == 2
    assert all(orphans <= seen for seen in known)


def test_until_a_listing_is_complete_nothing_is_rented_and_nothing_taken_in(pool: Controller) -> None:
    pool.filled()
    lose_database(pool)
    pool.vast.before("listing", *[IncompleteListing("2 of 4")] * 500)
    pool.run(900, every=20)
    assert len(pool.vast.named("create")) == 4
    assert pool.rows() == []
    pool.vast.before_nothing()
    pool.run(120)
    assert len(pool.vast.named("create")) == len(pool.rows()) == 4


def test_boxes_of_the_older_tool_fill_the_pool(pool: Controller) -> None:
    pool.vast.boxes |= {number: older(number) for number in (11, 12, 13, 14)}
    pool.run(300, every=20)
    assert pool.vast.named("create") == []
    assert {row.offer_id for row in pool.rows(State.VERIFIED)} == {11, 12, 13, 14}
    assert len({row.key for row in pool.rows()}) == 4


def test_an_orphan_that_stopped_goes_and_is_replaced(pool: Controller) -> None:
    pool.vast.boxes |= {11: older(11, actual_status="exited"), 12: older(12), 13: older(13), 14: older(14)}
    pool.run(120)
    assert 11 not in pool.vast.boxes
    assert len(pool.vast.named("create")) == 1
    (gone,) = pool.rows(State.DESTROYED)
    assert [reason for _, reason in pool.story(gone.id)] == [Reason.ADOPTED, Reason.PROVED_GONE]


def test_an_orphan_that_is_young_has_the_time_that_is_left(pool: Controller) -> None:
    pool.vast.boxes[11] = older(11)
    pool.vast.change(11, start_date=ago(seconds=100))
    pool.step()
    (row,) = [row for row in pool.rows() if row.contract_id == 11]
    assert (row.state, row.verify_by) == (State.CREATED, ago(seconds=-80))
    pool.run(75)
    assert pool.row(row.id).state is State.CREATED
    pool.run(10)
    assert (State.DROPPING, Reason.UNVERIFIED) in pool.story(row.id)


def test_boxes_of_others_are_never_touched_whatever_happens_to_ours(pool: Controller) -> None:
    pool.vast.boxes |= OTHERS
    pool.filled()
    for row in pool.rows(State.VERIFIED)[:2]:
        pool.drop(row)
    pool.run(300, every=20)
    pool.verify_all()
    pool.clock.advance(600)
    lose_database(pool)
    pool.run(300, every=20)
    pool.restart(target=0)
    pool.run(600, every=20)
    assert pool.vast.boxes == OTHERS
    asked = pool.vast.named("destroy") + pool.vast.named("show")
    assert asked
    assert not OTHERS.keys() & set(asked)
    assert not OTHERS.keys() & {row.contract_id for row in pool.rows()}


def test_boxes_of_others_do_not_count_towards_the_target(pool: Controller) -> None:
    pool.vast.boxes |= OTHERS
    pool.step()
    assert len(pool.vast.named("create")) == 4
