"""The life of a pool, step by step, over a scriptable Vast."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from magister.domain.actions import Destroy
from magister.domain.observed import Route
from magister.errors import BadKey, IncompleteListing, LeaseLost, NoCredit, OfferGone, Transient
from magister.states import Reason, State
from magister.store import pool as pool_row
from magister.store import rental_history
from magister.store.db.engine import Sessions
from magister.store.db.lease import NoLock
from tests.builders import a_fleet, a_sighting, an_offer, forget_instances
from tests.controller import Controller


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A controller for three instances on a market of ten machines."""
    controller = Controller(sessions)
    controller.vast.stock(an_offer() for _ in range(10))
    return controller


def test_a_pool_fills_to_its_target(pool: Controller) -> None:
    pool.step()
    assert len(pool.rows(State.CREATED)) == 3
    assert len(pool.vast.boxes) == 3
    pool.run(60)
    assert len(pool.vast.created) == 3


def test_the_first_call_is_a_listing(pool: Controller) -> None:
    pool.step()
    names = [name for name, _ in pool.vast.calls]
    assert names.index("listing") < names.index("search") < names.index("create")


def test_nothing_is_rented_while_listings_fail(pool: Controller) -> None:
    pool.vast.before("listing", *[IncompleteListing() for _ in range(10)])
    pool.run(120)
    assert pool.vast.created == []


def test_each_rental_bears_its_own_key_as_label(pool: Controller) -> None:
    pool.step()
    assert sorted(order.label for order in pool.vast.orders) == sorted(
        f"magister:{row.key}" for row in pool.rows()
    )


def test_a_worker_that_calls_makes_its_instance_verified(pool: Controller) -> None:
    pool.filled()
    assert pool.story(1) == [
        (State.REQUESTED, Reason.SHORT),
        (State.CREATED, Reason.RENTED),
        (State.VERIFIED, Reason.CALLED),
    ]


def test_a_worker_that_never_calls_is_dropped_and_replaced_elsewhere(pool: Controller) -> None:
    pool.step()
    silent, *others = pool.rows()
    for row in others:
        pool.verify(row)
    pool.run(240)
    assert (State.DROPPING, Reason.UNVERIFIED) in pool.story(silent.id)
    assert pool.row(silent.id).state is State.DESTROYED
    replacement = pool.rows()[-1]
    assert replacement.machine_id != silent.machine_id
    assert len(pool.vast.boxes) == 3


def test_a_box_still_pulling_its_image_is_given_the_grace(pool: Controller) -> None:
    pool.vast.status = "loading"
    pool.step()
    pool.run(700, every=10)
    assert len(pool.rows(State.CREATED)) == 3
    pool.run(200, every=10)
    assert (State.DROPPING, Reason.UNVERIFIED) in pool.story(1)


def test_a_drop_is_acted_on_in_the_next_step(pool: Controller) -> None:
    pool.filled()
    row = pool.rows()[0]
    pool.drop(row, "stuck on a proof")
    pool.step(0.5)
    assert pool.vast.named("destroy") == [row.contract_id]
    pool.run(20, every=1)
    assert pool.row(row.id).state is State.DESTROYED
    assert len(pool.vast.boxes) == 3


def test_a_replacement_waits_for_the_proof_that_the_old_box_is_gone(pool: Controller) -> None:
    pool.filled()
    row = pool.rows()[0]
    pool.drop(row)
    pool.vast.before("destroy", *[Transient("503") for _ in range(3)])
    for _ in range(120):
        pool.step(1)
        assert len(pool.vast.boxes) <= 3
    assert pool.row(row.id).state is State.DESTROYED
    assert len(pool.vast.created) == 4


def test_a_surge_lets_the_replacement_come_first(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=2, surge=1))
    pool.vast.stock(an_offer() for _ in range(5))
    pool.filled()
    pool.vast.before("destroy", *[Transient("503") for _ in range(3)])
    pool.drop(pool.rows()[0])
    pool.step(0.5)
    assert len(pool.vast.boxes) == 3


def test_a_box_deleted_in_the_console_is_noticed_and_replaced(pool: Controller) -> None:
    pool.filled()
    pool.step(30)
    gone = pool.rows()[0]
    assert gone.contract_id is not None
    pool.vast.lose(gone.contract_id)
    pool.step(30)
    assert pool.row(gone.id).state is State.VERIFIED, "one listing is a suspicion, not a proof"
    pool.step(5)
    assert pool.story(gone.id)[-1] == (State.DESTROYED, Reason.VANISHED)
    assert pool.vast.named("show") == [gone.contract_id]
    assert len(pool.vast.boxes) == 3


def test_a_listing_that_lags_after_a_create_forgets_nothing(pool: Controller) -> None:
    pool.step()
    pool.vast.hidden = set(pool.vast.boxes)
    pool.verify_all()
    pool.run(290)
    assert len(pool.rows(State.VERIFIED)) == 3
    pool.vast.hidden = set()
    pool.run(300)
    assert len(pool.vast.created) == 3


def test_an_exited_box_is_replaced_at_once(pool: Controller) -> None:
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.change(row.contract_id, actual_status="exited")
    pool.step(30)
    assert (State.DROPPING, Reason.EXITED) in pool.story(row.id)
    assert pool.vast.named("destroy") == [row.contract_id]


@pytest.mark.parametrize("status", ["offline", "unknown", "a-word-never-seen-before"])
def test_a_box_out_of_reach_is_replaced_after_the_grace_only(pool: Controller, status: str) -> None:
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.change(row.contract_id, actual_status=status)
    pool.run(570, every=10)
    assert pool.row(row.id).state is State.VERIFIED
    pool.run(90, every=10)
    assert (State.DROPPING, Reason.OFFLINE) in pool.story(row.id)


def test_a_box_that_comes_back_in_time_is_kept(pool: Controller) -> None:
    pool.filled()
    row = pool.rows()[0]
    assert row.contract_id is not None
    pool.vast.change(row.contract_id, actual_status="offline")
    pool.run(400, every=10)
    pool.vast.change(row.contract_id, actual_status="running")
    pool.run(400, every=10)
    assert pool.row(row.id).state is State.VERIFIED


def test_a_smaller_target_gives_up_the_unverified_first_and_then_the_dearest(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=4))
    prices = (300_000, 400_000, 900_000, 500_000)
    pool.vast.stock(an_offer(price=price) for price in prices)
    pool.filled()
    pool.restart(target=2)
    pool.run(40, every=1)
    kept = sorted(row.price or 0 for row in pool.rows(State.VERIFIED))
    assert kept == [300_000, 400_000]
    assert len(pool.vast.boxes) == 2


def test_a_restart_resumes_and_rents_nothing(pool: Controller) -> None:
    pool.filled()
    pool.restart()
    pool.run(120)
    assert len(pool.vast.created) == 3
    assert len(pool.rows(State.VERIFIED)) == 3


def test_a_lost_database_is_rebuilt_from_the_listing_before_anything_is_rented(
    pool: Controller, sqlite_sessions: Sessions
) -> None:
    pool.filled()
    pool.clock.advance(600)
    reborn = Controller(sqlite_sessions, clock=pool.clock)
    reborn.vast = pool.vast
    with reborn.sessions.write() as session:
        forget_instances(session)
    reborn.restart()
    reborn.run(60)
    assert len(reborn.vast.created) == 3
    assert [row.state for row in reborn.rows()] == [State.VERIFIED] * 3
    assert {row.reason for row in reborn.rows()} == {Reason.ADOPTED}


def test_boxes_of_others_are_left_alone(pool: Controller) -> None:
    elsewhere = "export MAGISTER_DROP_ENDPOINT=http://198.51.100.9:8555/drop/77"
    pool.vast.boxes[1] = a_sighting(1, label="training", onstart=None)
    pool.vast.boxes[2] = a_sighting(2, label="magister:" + "a" * 32, onstart=elsewhere)
    pool.vast.boxes[3] = a_sighting(3, label="magister", onstart=elsewhere)
    pool.run(120)
    assert {1, 2, 3} <= set(pool.vast.boxes)
    assert not {1, 2, 3} & {row.contract_id for row in pool.rows()}
    assert len(pool.vast.created) == 3


def test_a_gone_offer_makes_room_for_the_next(pool: Controller) -> None:
    pool.vast.before("create", OfferGone(), OfferGone())
    pool.step()
    assert len(pool.vast.boxes) == 3
    assert [pool.story(n)[-1] for n in (1, 2)] == [(State.DESTROYED, Reason.OFFER_GONE)] * 2


def test_without_credit_renting_pauses_and_resumes_by_itself(pool: Controller) -> None:
    pool.vast.before("create", NoCredit(), NoCredit(), NoCredit())
    pool.run(30)
    assert pool.vast.created == []
    assert len(pool.vast.named("create")) <= 3
    pool.run(300)
    assert len(pool.vast.boxes) == 3


def test_a_wrong_key_plans_nothing_and_says_what_is_wrong(pool: Controller) -> None:
    pool.filled()
    pool.vast.before("listing", *[BadKey() for _ in range(100)])
    pool.run(120)
    with pool.sessions.read() as session:
        (condition,) = pool_row.read(session).conditions
    assert condition.what == "Vast does not accept the API key"
    assert len(pool.rows(State.VERIFIED)) == 3


def test_a_machine_that_failed_is_tried_last(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    cheap, dear = an_offer(price=100_000), an_offer(price=900_000)
    again = an_offer(machine_id=cheap.machine_id, host_id=cheap.host_id, price=100_000)
    pool.vast.stock([cheap, dear, again])
    pool.step()
    pool.run(260)
    assert [row.machine_id for row in pool.rows()] == [cheap.machine_id, dear.machine_id]


def test_with_nothing_else_offered_the_failed_machine_is_tried_again(sessions: Sessions) -> None:
    pool = Controller(sessions, fleet=a_fleet(target=1))
    first = an_offer()
    second = an_offer(machine_id=first.machine_id, host_id=first.host_id)
    pool.vast.stock([first, second])
    pool.step()
    pool.run(300)
    assert [row.machine_id for row in pool.rows()] == [first.machine_id] * 2


def test_nothing_happens_without_the_lease(pool: Controller) -> None:
    pool.filled()
    calls = len(pool.vast.calls)
    pool.lock = NoLock()
    pool.restart()
    report = pool.step(1)
    assert not report.acting
    assert len(pool.vast.calls) == calls


def test_a_destroy_that_another_holder_overtook_is_not_sent(pool: Controller) -> None:
    pool.filled()
    row = pool.rows()[0]
    pool.drop(row)
    frozen = pool.executor
    pool.clock.advance(31)
    pool.restart()
    assert pool.lease.hold(pool.clock.now)
    with pytest.raises(LeaseLost):
        frozen.call(Destroy(pool.row(row.id), row.contract_id or 0, "it is to go"))
    assert pool.vast.named("destroy") == []
    assert pool.row(row.id).destroys == 0


def test_a_closed_route_defers_its_calls_and_no_others(pool: Controller) -> None:
    pool.filled()
    pool.vast.closed[Route.CREATE] = 12.0
    row = pool.rows()[0]
    pool.drop(row)
    pool.run(20, every=1)
    assert pool.row(row.id).state is State.DESTROYED
    report = pool.step(1)
    assert len(pool.vast.created) == 3
    assert len(report.deferred) == 1


def test_no_deadline_fires_after_a_jump_of_the_clock_until_a_listing(pool: Controller) -> None:
    pool.step()
    pool.clock.now += timedelta(hours=2)
    pool.vast.before("listing", IncompleteListing(), IncompleteListing())
    pool.step(1)
    pool.run(60)
    assert len(pool.rows(State.CREATED)) == 3, "the workers have the time that they had before the jump"
    pool.run(150)
    assert pool.row(1).state is not State.CREATED


def test_a_template_that_never_verifies_costs_few_rentals_in_the_first_hour(
    sqlite_sessions: Sessions,
) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=5))
    pool.vast.stock(an_offer() for _ in range(100))
    pool.run(3600, every=30)
    assert len(pool.vast.created) <= 5 + 6
    with pool.sessions.read() as session:
        (condition,) = pool_row.read(session).conditions
    assert "one instance at a time is tried" in condition.what


def test_a_template_whose_boxes_stop_at_once_costs_no_more_rentals(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=5))
    pool.vast.stock(an_offer() for _ in range(100))
    for _ in range(120):
        for contract in pool.vast.boxes:
            pool.vast.change(contract, actual_status="exited")
        pool.step(30)
    assert 5 < len(pool.vast.created) <= 5 + 6


def test_one_worker_that_verifies_ends_the_caution(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=5))
    pool.vast.stock(an_offer() for _ in range(100))
    pool.run(1200, every=30)
    while not pool.rows(State.CREATED):
        pool.step(10)
    assert len(pool.rows(State.CREATED)) == 1
    pool.verify_all()
    pool.step(10)
    assert len(pool.vast.boxes) == 5


def test_a_worker_that_called_while_nobody_was_there_speaks_against_nothing(pool: Controller) -> None:
    pool.step()
    pool.clock.advance(30)
    pool.restart()
    pool.run(220)
    assert {row.reason for row in pool.rows(State.DESTROYED)} == {Reason.PROVED_GONE}
    with pool.sessions.read() as session:
        assert rental_history.outlook(session, pool.clock.now).failures == 0
        assert rental_history.trials(session, pool.clock.now, timedelta(days=1)) == ()
    assert len(pool.vast.boxes) == 3


def test_a_loop_that_is_back_within_seconds_excuses_nothing(pool: Controller) -> None:
    pool.step()
    pool.clock.advance(3)
    pool.restart()
    pool.run(190)
    with pool.sessions.read() as session:
        assert rental_history.outlook(session, pool.clock.now).failures == 3


def away(pool: Controller, *, web: bool, seconds: float = 15) -> None:
    """Let the loop end and begin again after a while; the web side signs all the time or is away as well."""
    for _ in range(int(seconds / 5)):
        pool.clock.advance(5)
        if web:
            sign(pool)
    pool.restart()


def sign(pool: Controller) -> None:
    """Let the web side sign that it hears."""
    with pool.sessions.write() as session:
        pool_row.note_hearing(session, pool.clock.now)


def test_what_the_web_side_could_hear_is_not_excused_by_a_loop_that_was_away(pool: Controller) -> None:
    pool.step()
    away(pool, web=True, seconds=35)
    pool.run(190, every=10)
    with pool.sessions.read() as session:
        assert rental_history.outlook(session, pool.clock.now).failures == 3


def test_a_web_side_that_was_away_as_well_and_signs_first_excuses_what_it_missed(pool: Controller) -> None:
    sign(pool)
    pool.step()
    pool.clock.advance(40)
    with pool.sessions.write() as session:
        gap = pool_row.missed_after(pool_row.DEAF_AFTER)
        pool_row.note_hearing(session, pool.clock.now, deaf_after=gap)
    pool.restart()
    pool.run(220, every=10)
    with pool.sessions.read() as session:
        assert rental_history.outlook(session, pool.clock.now).failures == 0


@pytest.mark.parametrize(("web", "most"), [(True, 4 + 6), (False, 2 * 4 + 6)], ids=["loop", "service"])
def test_restarts_do_not_switch_the_caution_off(sqlite_sessions: Sessions, web: bool, most: int) -> None:
    """With the web side away the boxes that wait at the first restart are excused, and no others."""
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=4))
    pool.vast.stock(an_offer() for _ in range(200))
    for _ in range(20):
        for _ in range(8):
            if web:
                sign(pool)
            pool.step(20)
        away(pool, web=web, seconds=20)
    assert len(pool.vast.created) <= most


def test_a_mass_loss_that_is_real_is_made_good_after_one_canary(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=6))
    pool.vast.stock(an_offer() for _ in range(30))
    pool.filled()
    for contract in list(pool.vast.boxes):
        pool.vast.change(contract, actual_status="exited")
    pool.run(100, every=10)
    assert len(pool.vast.created) == 6
    pool.run(90, every=10)
    assert len(pool.vast.created) == 7
    for _ in range(12):
        pool.verify_all()
        pool.step(10)
    assert len(pool.rows(State.VERIFIED)) == 6
    assert len(pool.vast.created) == 12


def test_a_status_that_nobody_knows_is_treated_as_unknown_and_logged_once(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=2))
    pool.vast.stock(an_offer() for _ in range(9))
    pool.filled()
    with capture_logs() as logs:
        pool.vast.change(min(pool.vast.boxes), actual_status="defenestrated")
        pool.run(570, every=30)
        assert len(pool.rows(State.VERIFIED)) == 2
        pool.run(300, every=30)
    assert [entry["status"] for entry in logs if entry["event"] == "vast.status_never_seen"] == [
        "defenestrated"
    ]
    assert [reason for _, reason in pool.story(1)][3:] == [Reason.OFFLINE, Reason.PROVED_GONE]
