"""Every answer that a create may get, in every state its row may be in by then."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from magister.domain.instance import Held
from magister.errors import (
    Ambiguous,
    BadKey,
    NoCredit,
    NotSent,
    OfferGone,
    RateLimited,
    Refused,
    StartedStopped,
    VastError,
)
from magister.states import Reason, State
from magister.store import instances, observations, transitions
from magister.store.db.engine import Sessions
from magister.vast import offers
from magister.vast.offers import CAP
from tests.builders import NOW, a_fleet, a_row, a_sighting, an_offer
from tests.controller import Controller


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A controller for one instance on a market of five machines."""
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock(an_offer() for _ in range(5))
    return controller


def meanwhile(pool: Controller, act: Callable[[], None]) -> None:
    """Let something happen after the effect of the next create and before its answer is written."""

    def boundary(name: str) -> None:
        if name == "created":
            pool.vast.boundary = lambda name: None
            act()

    pool.vast.boundary = boundary


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OfferGone(), Reason.OFFER_GONE),
        (NoCredit(), Reason.NO_CREDIT),
        (Refused("invalid_args"), Reason.REFUSED),
        (BadKey(), Reason.BAD_KEY),
    ],
)
def test_a_refusal_ends_the_row_with_its_reason(pool: Controller, error: VastError, reason: Reason) -> None:
    pool.vast.before("create", error)
    pool.step()
    assert pool.story(1)[-1] == (State.DESTROYED, reason)


@pytest.mark.parametrize("error", [RateLimited(), NotSent()])
def test_what_was_not_carried_out_is_sent_again_for_the_same_row(pool: Controller, error: VastError) -> None:
    pool.vast.before("create", error)
    pool.run(30)
    assert len(pool.rows()) == 1
    assert len(pool.vast.named("create")) == 2
    assert {order.label for order in pool.vast.orders} == {f"magister:{pool.row(1).key}"}
    assert pool.row(1).state is State.CREATED


def test_a_refusal_after_a_second_send_is_left_to_the_listings(pool: Controller) -> None:
    pool.vast.before("create", RateLimited(), OfferGone())
    pool.step(1)
    pool.step(1)
    assert (pool.row(1).state, pool.row(1).sends) == (State.REQUESTED, 2)
    pool.run(290)
    assert len(pool.rows()) == 1, "its slot stays taken"
    pool.run(60)
    assert pool.story(1)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
    assert len(pool.vast.boxes) == 1


def test_a_lost_answer_is_found_by_its_key(pool: Controller) -> None:
    pool.vast.after("create", Ambiguous("reset"))
    pool.step()
    pool.step(5)
    assert pool.story(1)[1:] == [(State.CREATED, Reason.FOUND)]
    assert len(pool.vast.created) == 1


def test_a_create_without_effect_keeps_its_slot_until_the_listings_are_sure(pool: Controller) -> None:
    pool.vast.before("create", Ambiguous("timeout"))
    pool.run(300)
    assert (len(pool.rows()), len(pool.vast.boxes)) == (1, 0)
    pool.run(30)
    assert pool.story(1)[-1] == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)
    assert len(pool.vast.boxes) == 1


def test_a_box_that_shows_up_after_all_is_dropped(pool: Controller) -> None:
    pool.vast.before("create", Ambiguous("timeout"))
    pool.run(330)
    pool.vast.boxes[555] = a_sighting(555, label=f"magister:{pool.row(1).key}")
    pool.run(60)
    assert (State.DROPPING, Reason.REAPPEARED) in pool.story(1)
    assert 555 not in pool.vast.boxes
    assert len(pool.vast.boxes) == 1


def test_a_box_that_was_made_but_not_started_is_destroyed(pool: Controller) -> None:
    def stopped() -> VastError:
        pool.vast.boxes[556] = a_sighting(556, actual_status="stopped")
        return StartedStopped(556)

    pool.vast.before("create", stopped)
    pool.run(10, every=1)
    assert (State.DROPPING, Reason.STARTED_STOPPED) in pool.story(1)
    assert 556 not in pool.vast.boxes


def test_a_worker_may_verify_before_the_answer_to_its_create(pool: Controller) -> None:
    meanwhile(pool, lambda: pool.verify(pool.row(1)))
    pool.step()
    row = pool.row(1)
    assert row.state is State.VERIFIED
    assert row.contract_id == pool.vast.created[0]


def test_a_drop_before_the_answer_destroys_the_box_once_it_has_a_name(pool: Controller) -> None:
    meanwhile(pool, lambda: pool.drop(pool.row(1)))
    pool.step()
    assert pool.vast.named("destroy") == [pool.vast.created[0]]
    pool.run(290)
    assert pool.row(1).state is State.DROPPING, "listings may lag behind a box that none has shown yet"
    pool.run(60)
    assert pool.row(1).state is State.DESTROYED


def test_a_verified_worker_is_not_ended_by_a_refusal(pool: Controller) -> None:
    meanwhile(pool, lambda: pool.verify(pool.row(1)))
    pool.vast.after("create", Refused("no"))
    pool.step()
    assert pool.row(1).state is State.VERIFIED
    pool.step(5)
    assert pool.row(1).contract_id == pool.vast.created[0]


def test_a_listing_that_names_the_box_first_is_confirmed_by_the_answer(pool: Controller) -> None:
    meanwhile(pool, lambda: found_by_a_listing(pool))
    pool.step()
    pool.step(1)
    assert len(pool.rows()) == 1
    assert pool.row(1).contract_id == pool.vast.created[0]


def found_by_a_listing(pool: Controller) -> None:
    with pool.sessions.write() as session:
        observations.note_listing(session, pool.vast.listing(pool.clock.now), fleet=pool.fleet)


def test_a_second_box_under_one_key_is_destroyed_and_the_first_kept(pool: Controller) -> None:
    pool.filled()
    key = pool.row(1).key
    pool.vast.boxes[557] = a_sighting(557, label=f"magister:{key}")
    pool.run(60)
    assert set(pool.vast.boxes) == {pool.row(1).contract_id}
    assert (State.DROPPING, Reason.TWIN) in pool.story(2)


def test_an_error_nobody_thought_of_leaves_the_create_to_the_listings(pool: Controller) -> None:
    pool.vast.after("create", ZeroDivisionError())
    pool.run(10)
    assert pool.row(1).state is State.CREATED
    assert len(pool.vast.created) == 1


def test_refusals_that_the_next_offer_would_meet_too_slow_the_renting_down(pool: Controller) -> None:
    pool.vast.before("create", *[Refused("invalid_args") for _ in range(50)])
    pool.run(600)
    assert len(pool.vast.named("create")) <= 9


def test_a_process_that_stood_still_after_its_claim_sends_nothing(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = transitions.claim_send

    def claim_and_freeze(*arguments: Any, **named: Any) -> Held:
        row = claim(*arguments, **named)
        monkeypatch.setattr(transitions, "claim_send", claim)
        pool.clock.advance(21)
        return row

    monkeypatch.setattr(transitions, "claim_send", claim_and_freeze)
    pool.step()
    assert pool.vast.named("create") == []
    pool.run(20)
    assert len(pool.vast.named("create")) == 1
    assert pool.row(1).state is State.CREATED


def test_offers_that_are_left_alone_for_a_day_hide_no_dearer_ones(
    sqlite_sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as Vast gives to one search, and the cheapest: those of boxes that ended a short time ago."""
    few = 8  # a market of hundreds would be rented for seconds, and shows no more
    monkeypatch.setattr(offers, "CAP", few)
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=few // 2))
    controller.vast.stock(an_offer(price=400_000 + 1000 * number) for number in range(3 * few))
    for _ in range(3):
        controller.run(120, every=30)
        controller.verify_all()
        assert len(controller.rows(State.VERIFIED)) == few // 2
        controller.run(controller.fleet.caution.short_life.total_seconds(), every=30)
        for row in controller.rows(State.VERIFIED):
            controller.drop(row)


def test_cheap_machines_in_quarantine_do_not_keep_a_dearer_one_from_being_found(pool: Controller) -> None:
    pool.vast.offers.clear()
    bad = [an_offer(price=100_000 + n) for n in range(CAP + 1)]
    with pool.sessions.write() as session:
        for offer in bad:
            row = a_row(session, state=State.CREATED, offer=offer, at=NOW - timedelta(minutes=45))
            for to, reason in ((State.DROPPING, Reason.UNVERIFIED), (State.DESTROYED, Reason.PROVED_GONE)):
                fresh = instances.one(session, row.id)
                assert fresh is not None
                transitions.move(
                    session, fresh, to, reason, actor="loop", why="", at=NOW - timedelta(minutes=45)
                )
    good = an_offer(price=900_000)
    pool.vast.stock([*(replace(offer, id=offer.id + 100_000) for offer in bad), good])
    pool.run(30)
    assert [row.offer_id for row in pool.rows() if row.live] == [good.id]


def test_an_offer_that_comes_back_under_its_old_id_is_rented_again_at_once(sessions: Sessions) -> None:
    offer = an_offer(id=77)
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock([offer])
    controller.filled()
    (first,) = controller.rows(State.VERIFIED)
    controller.drop(first)
    controller.run(60)
    controller.vast.stock([offer])  # the market of one machine shows the offer again, under the same id
    controller.run(60)
    controller.verify_all()
    (second,) = controller.rows(State.VERIFIED)
    assert (second.offer_id, second.id != first.id) == (77, True)
    assert second.callback_key != first.callback_key
