"""A create that was not answered has no contract to look at: what is heard, and other boxes, speak for it."""

from datetime import timedelta

import pytest

from magister.domain.instance import Held
from magister.errors import Ambiguous, InstanceEnded, Transient
from magister.states import Reason, State
from magister.store import requests
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, an_offer
from tests.controller import Controller

TARGET = 3


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """Return a full pool whose last create was not answered, and whose box listings do not show yet."""
    found = Controller(sessions, fleet=a_fleet(target=TARGET))
    found.vast.stock(an_offer() for _ in range(20))
    found.filled()
    found.vast.lose(found.rows()[0].contract_id or 0)
    found.vast.after("create", Ambiguous("reset"))
    for _ in range(20):
        found.step(5)
        if len(found.vast.created) > TARGET:
            found.vast.hidden = {found.vast.created[-1]}
            return found
    raise AssertionError("nothing was rented in the place of the lost box")


def the_unanswered(pool: Controller) -> Held:
    """Return the row whose create was not answered."""
    return max(pool.rows(), key=lambda row: row.id)


def beat(pool: Controller) -> None:
    """Let the box of the unanswered create say that its worker lives; commit whatever it is told."""
    with pool.sessions.write() as session:
        try:
            row = the_unanswered(pool)
            requests.verify(
                session,
                row.offer_id,
                key=row.callback_key,
                now=pool.clock.now,
                beat=True,
            )
        except InstanceEnded:
            return


def test_a_box_that_is_heard_is_not_gone_however_long_listings_lack_it(pool: Controller) -> None:
    for _ in range(12):
        beat(pool)
        pool.run(60, every=15)
    assert the_unanswered(pool).state is State.VERIFIED
    assert len(pool.vast.created) == TARGET + 1
    pool.vast.hidden.clear()
    pool.run(60)
    assert the_unanswered(pool).contract_id == pool.vast.created[-1]


def test_a_box_that_was_heard_once_is_gone_when_listings_lack_it_for_the_grace(pool: Controller) -> None:
    row = the_unanswered(pool)
    beat(pool)
    pool.vast.lose(pool.vast.created[-1])
    pool.run(280)
    assert pool.row(row.id).state is State.VERIFIED
    pool.run(120)
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.VANISHED)


def test_a_word_between_the_second_absence_and_the_end_comes_in_time(pool: Controller) -> None:
    row = the_unanswered(pool)
    beat(pool)
    pool.vast.before("listing", *[Transient("502")] * 200)
    pool.run(310, every=30)
    pool.vast.before_nothing()
    while pool.row(row.id).absences < 1:
        pool.step(5)
    beat(pool)
    assert pool.row(row.id).absences == 0
    pool.run(60)
    assert pool.row(row.id).state is State.VERIFIED


def test_a_drop_of_a_box_that_is_heard_is_not_taken_for_done(pool: Controller) -> None:
    row, contract = the_unanswered(pool), pool.vast.created[-1]
    beat(pool)
    pool.run(200, every=20)
    beat(pool)
    pool.drop(pool.row(row.id))
    pool.run(250, every=20)
    assert pool.row(row.id).state is State.DROPPING
    pool.vast.hidden.clear()
    pool.run(60, every=10)
    assert pool.vast.named("destroy") == [contract]


def test_listings_that_lack_boxes_which_exist_end_no_box_without_a_contract(pool: Controller) -> None:
    """Two well-formed pages of nothing come when the grace has just ended."""
    row, contract = the_unanswered(pool), pool.vast.created[-1]
    pool.vast.before("listing", *[Transient("502")] * 200)
    pool.run(300, every=30)
    pool.vast.before_nothing()
    pool.vast.hidden = set(pool.vast.boxes)
    listings = len(pool.vast.named("listing"))
    while len(pool.vast.named("listing")) < listings + 2:
        pool.step(1)
    pool.vast.hidden.clear()
    for _ in range(30):
        pool.step(2)
        assert len(pool.vast.boxes) <= TARGET
    assert pool.row(row.id).contract_id == contract, "found, and too late to verify"


def test_a_look_that_never_comes_is_not_waited_for_beyond_the_grace(pool: Controller) -> None:
    row = the_unanswered(pool)
    other = pool.rows(State.VERIFIED)[0]
    pool.vast.lose(pool.vast.created[-1])
    pool.vast.hidden = {other.contract_id or 0}
    pool.vast.before("show", *[Transient("502")] * 1000)
    pool.run(pool.fleet.create_grace.total_seconds() + 60, every=15)
    assert pool.row(other.id).state is State.VERIFIED
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)


def test_nothing_heard_and_nothing_contradicted_still_ends_it(pool: Controller) -> None:
    row = the_unanswered(pool)
    pool.vast.lose(pool.vast.created[-1])
    began = pool.clock.now
    while pool.row(row.id).state is State.REQUESTED:
        pool.step(5)
    assert pool.clock.now - began < pool.fleet.create_grace + timedelta(minutes=1)
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
