"""Workers that end in silence: boxes that beat, Hierophant's lists, and many at once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.instance import Held
from magister.errors import InstanceEnded, Transient, Unreachable
from magister.states import Reason, State
from magister.store import instances, pool, rental_history, requests, transitions
from magister.store.db.engine import Sessions
from tests.beating import TARGET, Beating
from tests.builders import ADDRESS, a_fleet, an_offer
from tests.controller import Controller


def address(row: Held) -> str:
    return f"{ADDRESS}/drop/{row.offer_id}?key={row.callback_key}"


def polling(sessions: Sessions, target: int = TARGET) -> Controller:
    """Return a full pool whose workers Hierophant lists, all of them."""
    found = Controller(sessions, fleet=a_fleet(target=target, roster_every=timedelta(seconds=60)))
    found.vast.stock(an_offer() for _ in range(60))
    found.filled()
    enlist(found)
    found.run(70, every=10)
    assert all(row.on_roster_at for row in found.rows(State.VERIFIED))
    return found


def enlist(controller: Controller) -> None:
    """Let Hierophant list all workers that verified."""
    controller.hierophant.living = {address(row) for row in controller.rows(State.VERIFIED)}


def blamed(controller: Controller) -> set[int]:
    """Return the machines that a failure counts against."""
    with controller.sessions.read() as session:
        found = rental_history.trials(session, controller.clock.now, controller.fleet.caution.quarantine_cap)
    return {trial.machine_id for trial in found if trial.failure is not None}


def test_a_box_that_used_to_beat_is_replaced_when_it_falls_silent(sessions: Sessions) -> None:
    beating = Beating(sessions)
    ended = min(beating.alive)
    beating.alive.remove(ended)
    beating.run(240)
    assert beating.given_up() == {}
    beating.run(120)
    assert beating.given_up() == {ended: Reason.SILENT}
    assert len(beating.pool.vast.boxes) == TARGET


def test_a_box_that_never_beat_is_judged_as_before(sqlite_sessions: Sessions) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=1))
    pool.vast.stock([an_offer()])
    pool.filled()
    pool.run(3600, every=30)
    assert len(pool.rows(State.VERIFIED)) == 1


def test_silence_proves_nothing_while_nobody_listens(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions, target=1)
    beating.run(1800, listening=False)
    assert beating.given_up() == {}
    beating.run(600)
    assert beating.given_up() == {}


@pytest.mark.parametrize("every", [None, 60, 300])
def test_a_box_may_be_silent_for_three_of_the_beats_it_was_rented_with(
    sqlite_sessions: Sessions, every: int | None
) -> None:
    beating = Beating(sqlite_sessions, every=every)
    ended = min(beating.alive)
    beating.alive.remove(ended)
    lasts = max(300, 3 * (every or 0))
    beating.run(lasts - 60)
    assert beating.given_up() == {}, "settings of today are no reason to end a box of yesterday"
    beating.run(120)
    assert beating.given_up() == {ended: Reason.SILENT}


def test_a_short_gap_of_the_web_side_is_no_silence_of_boxes_that_may_be_silent_for_little_longer(
    sqlite_sessions: Sessions,
) -> None:
    beating = Beating(sqlite_sessions, target=1, timeout=timedelta(seconds=80))
    beating.run(40, listening=False)
    beating.run(140)
    assert beating.given_up() == {}
    beating.alive.clear()
    beating.run(180)
    assert list(beating.given_up().values()) == [Reason.SILENT]


def test_after_a_time_of_deafness_a_worker_has_the_whole_time_to_be_heard(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions, target=1)
    beating.run(1800, listening=False)
    beating.alive.clear()
    beating.run(270)
    assert beating.given_up() == {}
    beating.run(90)
    assert list(beating.given_up().values()) == [Reason.SILENT]


def test_a_coordinator_restart_that_ends_all_workers_is_met_by_canaries(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions)
    created = len(beating.pool.vast.created)
    beating.alive.clear()
    beating.run(330)
    assert len(beating.given_up()) == 0
    beating.run(120)
    assert list(beating.given_up().values()) == [Reason.SILENT]
    assert len(beating.pool.vast.created) == created + 1
    assert len(beating.pool.rows(State.VERIFIED)) == TARGET - 1


def test_a_cut_on_the_way_to_magister_costs_one_canary_and_not_the_pool(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions)
    beating.alive.clear()
    beating.run(40 * 60)
    silent = [number for number, reason in beating.given_up().items() if reason is Reason.SILENT]
    assert len(silent) == 1
    assert len(beating.pool.rows(State.VERIFIED)) == TARGET - 1


def test_once_the_canary_verifies_the_rest_are_replaced(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions)
    beating.alive.clear()
    beating.run(420)
    for _ in range(6):
        beating.run(60)
        beating.pool.verify_all()
    assert set(beating.given_up().values()) == {Reason.SILENT}
    assert len(beating.given_up()) == TARGET
    assert len(beating.pool.rows(State.VERIFIED)) == TARGET


def test_many_losses_at_once_say_nothing_against_their_machines(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions)
    first = min(beating.alive)
    beating.alive.remove(first)
    beating.run(360)
    beating.pool.verify_all()
    assert len(blamed(beating.pool)) == 1
    beating.alive.clear()
    beating.run(420)
    for _ in range(6):
        beating.run(60)
        beating.pool.verify_all()
    assert len(beating.given_up()) == TARGET
    assert len(blamed(beating.pool)) <= 1


def test_the_operators_word_closes_the_breaker(sqlite_sessions: Sessions) -> None:
    beating = Beating(sqlite_sessions)
    beating.alive.clear()
    beating.run(330)
    assert beating.given_up() == {}
    with sqlite_sessions.read() as session:
        (condition,) = pool.read(session).conditions
    assert condition.kind == "losses_at_once"
    assert "magister resume" in condition.cure
    with sqlite_sessions.write() as session:
        pool.trust(session, beating.pool.clock.now)
    beating.run(60)
    assert len(beating.given_up()) == TARGET


def test_the_operators_word_ends_the_caution_about_rentals(sqlite_sessions: Sessions) -> None:
    pool_of_five = Controller(sqlite_sessions, fleet=a_fleet(target=5))
    pool_of_five.vast.stock(an_offer() for _ in range(100))
    pool_of_five.run(1200, every=30)
    assert len(pool_of_five.vast.boxes) <= 1
    with sqlite_sessions.write() as session:
        pool.trust(session, pool_of_five.clock.now)
    pool_of_five.step(10)
    assert len(pool_of_five.vast.boxes) == 5


def test_a_beat_makes_good_a_call_that_was_not_heard(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock([an_offer()])
    controller.step()
    (row,) = controller.rows(State.CREATED)
    now = controller.clock.advance(60)
    with sessions.write() as session:
        requests.verify(session, row.offer_id, key=row.callback_key, now=now, beat=True)
    found = controller.row(row.id)
    assert (found.state, found.reason, found.beaten_at) == (State.VERIFIED, Reason.BEAT, now)


def test_a_beat_does_not_prove_that_the_template_reaches_the_coordinator(sqlite_sessions: Sessions) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=1))
    controller.vast.stock([an_offer()])
    controller.step()
    (row,) = controller.rows(State.CREATED)
    with sqlite_sessions.write() as session:
        now = controller.clock.now
        requests.verify(session, row.offer_id, key=row.callback_key, now=now, beat=True)
        assert rental_history.outlook(session, now).verdicts == ()


def test_a_beat_of_one_that_is_to_go_is_told_so(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock([an_offer()])
    controller.filled()
    (row,) = controller.rows()
    controller.drop(row)
    with pytest.raises(InstanceEnded), sessions.write() as session:
        requests.verify(session, row.offer_id, key=row.callback_key, now=controller.clock.now, beat=True)


def test_a_worker_that_hierophant_declared_dead_goes_though_its_delete_was_lost(sessions: Sessions) -> None:
    controller = polling(sessions)
    dead = controller.rows(State.VERIFIED)[0]
    controller.hierophant.living.remove(address(dead))
    controller.hierophant.dead[address(dead)] = 1
    controller.run(70, every=10)
    assert controller.story(dead.id)[-1] == (State.DESTROYED, Reason.PROVED_GONE)
    assert controller.story(dead.id)[-2] == (State.DROPPING, Reason.COORDINATOR)
    assert len(controller.vast.boxes) == TARGET


def test_a_worker_that_hierophant_misses_for_the_grace_goes(sqlite_sessions: Sessions) -> None:
    controller = polling(sqlite_sessions)
    lost = controller.rows(State.VERIFIED)[0]
    controller.hierophant.living.remove(address(lost))
    controller.run(600, every=30)
    assert controller.row(lost.id).state is State.VERIFIED
    controller.run(180, every=30)
    assert (State.DROPPING, Reason.FORGOTTEN) in controller.story(lost.id)


def test_an_unreachable_hierophant_is_evidence_about_nothing(sqlite_sessions: Sessions) -> None:
    controller = polling(sqlite_sessions)
    controller.hierophant.living.clear()
    controller.run(120, every=30)
    controller.hierophant.error = Unreachable("no route to host")
    controller.run(3600, every=30)
    assert len(controller.rows(State.VERIFIED)) == TARGET
    with sqlite_sessions.read() as session:
        (condition,) = pool.read(session).conditions
    assert condition.kind == "no_roster"


def test_a_hierophant_that_restarted_is_met_by_one_canary_and_then_the_rest_go(
    sqlite_sessions: Sessions,
) -> None:
    controller = polling(sqlite_sessions)
    stale = {row.id for row in controller.rows(State.VERIFIED)}
    controller.hierophant.living.clear()
    controller.run(720, every=30)
    (canary,) = controller.rows(State.CREATED)
    assert len(controller.vast.created) == TARGET + 1
    controller.verify(canary)
    controller.hierophant.living = {address(canary)}
    controller.run(120, every=10)
    assert stale & {row.id for row in controller.rows(State.VERIFIED)} == set()
    for _ in range(3):
        controller.verify_all()
        enlist(controller)
        controller.run(60, every=10)
    assert len(controller.rows(State.VERIFIED)) == TARGET
    assert blamed(controller) == set()


def test_the_wrong_hierophant_costs_one_canary_and_no_more(sqlite_sessions: Sessions) -> None:
    controller = polling(sqlite_sessions)
    controller.hierophant.living = {"http://192.0.2.1/drop/1"}
    for _ in range(60):
        controller.run(60, every=60)
        controller.verify_all()
    assert len(controller.vast.created) == TARGET + 1
    with sqlite_sessions.read() as session:
        (condition,) = pool.read(session).conditions
    assert condition.kind == "roster_without_ours"


def test_entries_that_cannot_be_read_may_be_anybody(sqlite_sessions: Sessions) -> None:
    controller = polling(sqlite_sessions)
    lost = controller.rows(State.VERIFIED)[0]
    controller.hierophant.living.remove(address(lost))
    controller.hierophant.unread = 1
    controller.run(3600, every=60)
    assert controller.row(lost.id).state is State.VERIFIED


def test_a_worker_that_hierophant_lists_is_verified_though_its_call_was_not_heard(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=1, roster_every=timedelta(seconds=20)))
    controller.vast.stock([an_offer()])
    controller.run(60, every=10)
    (row,) = controller.rows(State.CREATED)
    controller.hierophant.living = {address(row)}
    controller.run(30, every=10)
    assert controller.story(row.id)[-1] == (State.VERIFIED, Reason.ENROLLED)


def test_a_roster_from_before_a_jump_of_the_clock_judges_nobody(sqlite_sessions: Sessions) -> None:
    controller = polling(sqlite_sessions, target=2)
    lost = controller.rows(State.VERIFIED)[0]
    controller.hierophant.living.remove(address(lost))
    controller.run(120, every=30)
    controller.hierophant.error = Unreachable("away")
    controller.clock.now += timedelta(hours=2)
    controller.run(120, every=10)
    assert controller.row(lost.id).state is State.VERIFIED


def test_a_clock_set_forward_ends_no_grace_of_hierophants_early(sessions: Sessions) -> None:
    controller = polling(sessions, target=2)
    missed = controller.rows(State.VERIFIED)[0]
    controller.hierophant.living.remove(address(missed))
    controller.run(60, every=10)
    controller.clock.now += timedelta(minutes=20)
    controller.run(300, every=10)
    assert controller.row(missed.id).state is State.VERIFIED
    controller.run(400, every=10)
    assert (State.DROPPING, Reason.FORGOTTEN) in controller.story(missed.id)


def test_a_roster_from_before_a_restart_judges_nobody(sqlite_sessions: Sessions) -> None:
    controller = polling(sqlite_sessions, target=2)
    missed = controller.rows(State.VERIFIED)[0]
    controller.hierophant.living.remove(address(missed))
    controller.vast.before("listing", *[Transient("away")] * 200)  # so that nothing is judged meanwhile
    controller.run(900, every=10)
    controller.vast.before_nothing()
    controller.hierophant.error = Unreachable("away")
    controller.restart()
    controller.step(3600)
    controller.run(60, every=10)
    assert controller.row(missed.id).state is State.VERIFIED
    controller.hierophant.error = None
    controller.run(60, every=10)
    assert (State.DROPPING, Reason.FORGOTTEN) in controller.story(missed.id)


def test_a_host_that_fails_as_a_whole_is_replaced_and_counts_against_its_machines(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=5))
    failed, others = [an_offer(host_id=777) for _ in range(3)], [an_offer(price=600_000) for _ in range(20)]
    controller.vast.stock([*failed, *others[:2]])
    controller.filled()
    controller.run(controller.fleet.caution.short_life.total_seconds(), every=30)
    controller.vast.stock(others[2:])
    ended = [row for row in controller.rows(State.VERIFIED) if row.host_id == 777]
    for row in ended:
        controller.vast.change(row.contract_id or 0, actual_status="exited")
    controller.run(90, every=10)
    assert len(ended) == 3
    assert {controller.row(row.id).state for row in ended} <= {State.DROPPING, State.DESTROYED}
    assert set(blamed(controller)) == {offer.machine_id for offer in failed}
    controller.run(60, every=10)
    assert len(controller.rows(State.CREATED)) == 3, "no canary is waited for"


def test_a_market_of_quarantined_machines_is_tried_one_at_a_time(sqlite_sessions: Sessions) -> None:
    controller = Controller(sqlite_sessions, fleet=a_fleet(target=3))
    offers = [an_offer() for _ in range(3)]
    controller.vast.stock(offers)
    for _ in range(2):
        controller.filled() if not controller.rows() else controller.run(600, every=10)
        for contract in list(controller.vast.boxes):
            controller.vast.change(contract, actual_status="exited")
            controller.run(900, every=10)
            controller.verify_all()
    for contract in list(controller.vast.boxes):
        controller.vast.change(contract, actual_status="exited")
    controller.run(60, every=10)
    with sqlite_sessions.write() as session:
        pool.trust(session, controller.clock.now)
    controller.vast.stock(replace(offer, id=offer.id + 10_000) for offer in offers)
    most = 0
    for _ in range(30):
        controller.step(10)
        most = max(most, len(controller.rows(State.REQUESTED, State.CREATED)))
    assert most == 1
    for _ in range(60):
        controller.verify_all()
        controller.step(10)
    assert len(controller.rows(State.VERIFIED)) >= 1


def test_a_clock_set_back_makes_nobody_silent_or_forgotten(sessions: Sessions) -> None:
    beating = Beating(sessions, target=2)
    beating.pool.clock.now -= timedelta(hours=3)
    beating.run(300)
    assert beating.given_up() == {}
    with sessions.read() as session:
        now = beating.pool.clock.now
        assert all(row.beaten_at is not None and row.beaten_at <= now for row in instances.held(session))


def test_an_excuse_ends_when_the_worker_verifies(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock(an_offer() for _ in range(3))
    controller.step()
    with sessions.write() as session:
        transitions.excuse_waiting(session)
    controller.verify_all()
    (box,) = controller.vast.boxes
    controller.step(5)
    controller.vast.change(box, actual_status="exited")
    controller.run(60)
    assert len(blamed(controller)) == 1


def test_the_former_worker_on_an_offer_says_nothing_of_the_next_one(sessions: Sessions) -> None:
    """Hierophant goes on listing a worker that is gone, and the offer is rented again meanwhile."""
    controller = polling(sessions)
    row = controller.rows(State.VERIFIED)[0]
    former = f"{ADDRESS}/drop/{row.offer_id}?key={'0f' * 24}"
    controller.hierophant.living.add(former)
    controller.run(60)
    controller.hierophant.living.discard(address(row))
    controller.run(60)
    off = controller.row(row.id).off_roster_since
    assert off is not None, "the other entry under the same offer is not its worker"
    controller.hierophant.dead[former] = controller.hierophant.dead.get(former, 0) + 1
    controller.run(60)
    assert controller.row(row.id).declared_dead_at is None
