"""Whether so many verified instances were lost at once that something else than they is at fault."""

from dataclasses import replace
from datetime import timedelta

from magister.domain.actions import Move
from magister.domain.instance import Held
from magister.domain.spec import Loss
from magister.planner.plan import plan
from magister.states import Reason, State
from tests.builders import NOW, a_fleet, a_view, ago, held


def gone(*, seconds: float = 6) -> Held:
    """Return a verified row that is proved gone, missing for so long."""
    return held(absences=2, absent_since=ago(seconds=seconds), looked_gone_at=NOW)


def decided(*rows: Held, **view: object) -> tuple[list[Held], int]:
    """Return the rows that are given up, and how many are held back."""
    planned = plan(a_fleet(target=len(rows)), rows, a_view(**view), NOW)
    moves = [action.row for action in planned.actions if isinstance(action, Move)]
    return moves, len(planned.held_back)


def test_one_loss_is_believed_however_small_the_pool() -> None:
    assert len(decided(gone())[0]) == 1
    assert len(decided(gone(), held(), held())[0]) == 1


def test_a_third_of_a_pool_is_believed_and_more_is_not() -> None:
    well = [held() for _ in range(6)]
    assert decided(*well, gone(), gone(), gone())[1] == 0
    assert decided(*well[:5], gone(), gone(), gone(), gone()) == ([], 4)


def test_losses_before_it_in_the_window_count_with_it() -> None:
    rows = (held(), held(), held(), gone())
    assert decided(*rows, lost=(Loss(ago(minutes=1)),))[1] == 1
    assert decided(*rows, lost=(Loss(ago(minutes=11)),))[1] == 0


def test_after_a_while_one_is_replaced_to_see() -> None:
    rows = [gone(seconds=121) for _ in range(4)]
    given_up, held_back = decided(*rows)
    assert (given_up, held_back) == (rows[:1], 3)


def test_while_the_canary_is_awaited_the_others_wait() -> None:
    canary = held(State.CREATED, verify_by=NOW + timedelta(minutes=1))
    assert decided(canary, *[gone(seconds=121) for _ in range(3)])[1] == 3


def test_a_worker_that_verifies_since_proves_that_the_rest_is_really_lost() -> None:
    rows = [gone(seconds=121) for _ in range(4)]
    assert decided(*rows, canary_at=ago(seconds=60)) == (rows, 0)


def test_after_the_window_the_losses_are_believed() -> None:
    rows = [gone(seconds=601) for _ in range(4)]
    assert decided(*rows) == (rows, 0)


def test_what_was_asked_for_is_not_held_back() -> None:
    dropped = held(State.DROPPING, reason=Reason.COORDINATOR, absences=2, looked_gone_at=NOW)
    assert decided(dropped, *[gone() for _ in range(4)]) == ([dropped], 4)


def test_boxes_that_stopped_all_at_once_are_held_back_as_well() -> None:
    rows = [held(actual_status="exited", sick_since=ago(seconds=5)) for _ in range(4)]
    assert decided(*rows) == ([], 4)


def test_losses_are_foreseen_before_a_look_has_proved_them() -> None:
    suspected = [held(absences=2, absent_since=ago(seconds=6)) for _ in range(3)]
    assert decided(gone(), *suspected) == ([], 1)


def test_no_second_one_is_replaced_before_the_first_has_a_successor() -> None:
    going = held(State.DROPPING, reason=Reason.EXITED, destroys=1, due_at=NOW + timedelta(minutes=1))
    assert decided(going, *[gone(seconds=121) for _ in range(3)]) == ([], 3)
    planned = plan(a_fleet(target=4), tuple(gone(seconds=121) for _ in range(3)), a_view(), NOW)
    assert len(planned.held_back) == 3, "the place of the first is still empty"


def test_a_worker_that_had_been_rented_before_the_loss_proves_nothing() -> None:
    rows = [gone(seconds=60) for _ in range(4)]
    assert decided(*rows, canary_at=ago(seconds=61)) == ([], 4)


def test_no_second_one_is_replaced_while_a_canary_that_failed_is_on_its_way_out() -> None:
    failed = held(State.DROPPING, reason=Reason.UNVERIFIED, destroys=1, due_at=NOW + timedelta(minutes=1))
    assert decided(failed, *[gone(seconds=121) for _ in range(3)]) == ([], 3)


HOST = 777


def stopped() -> Held:
    """Return a verified row on HOST that stopped 40 seconds ago."""
    return held(host_id=HOST, actual_status="exited", sick_since=ago(seconds=40))


def working() -> Held:
    """Return a verified row on another host that sent a heartbeat since."""
    return held(beaten_at=ago(seconds=20), beat_secs=60)


def excused(*rows: Held, **view: object) -> set[bool]:
    planned = plan(a_fleet(target=len(rows)), rows, a_view(**view), NOW)
    return {action.excuses_since is not None for action in planned.actions if isinstance(action, Move)}


def test_losses_that_are_all_on_one_host_count_as_one_and_against_it() -> None:
    lost = [stopped() for _ in range(3)]
    assert decided(*lost, working(), working()) == (lost, 0)
    assert excused(*lost, working(), working()) == {False}


def test_one_host_silent_is_the_host_while_another_is_heard() -> None:
    lost = [held(host_id=HOST, beaten_at=ago(seconds=330), beat_secs=60) for _ in range(3)]
    assert decided(*lost, working())[0] == lost


def test_losses_on_two_hosts_are_no_failure_of_a_host() -> None:
    lost = [stopped(), stopped(), replace(stopped(), host_id=HOST + 1)]
    assert decided(*lost, working(), working()) == ([], 3)
    unknown = [replace(row, host_id=None) for row in lost]
    assert decided(*unknown, working(), working()) == ([], 3)


def test_a_host_is_blamed_only_once_another_has_worked_since_the_last_loss() -> None:
    lost = [stopped() for _ in range(3)]
    early = replace(working(), beaten_at=ago(seconds=50))
    assert decided(*lost, early) == ([], 3), "the trouble may reach it next"
    assert decided(*lost, replace(working(), host_id=HOST)) == ([], 3), "it is on the same host"
    assert decided(*lost) == ([], 3), "where all are on one host nothing tells host and Vast apart"


def test_an_instance_that_sends_no_heartbeats_works_as_far_as_vast_tells() -> None:
    lost = [stopped() for _ in range(3)]
    assert decided(*lost, held())[0] == lost, "Vast tells of both"
    assert decided(*lost, held(last_seen_at=ago(seconds=41))) == ([], 3), "it was not listed since"
    silent = [held(host_id=HOST, beaten_at=ago(seconds=330), beat_secs=60) for _ in range(3)]
    assert decided(*silent, held()) == ([], 3), "a status says nothing of a worker"


def test_what_was_lost_on_the_host_before_counts_with_it() -> None:
    lost = [stopped(), stopped()]
    before = Loss(ago(minutes=1), HOST, Reason.EXITED)
    assert decided(*lost, working(), working(), lost=(before,)) == (lost, 0)
    elsewhere = replace(before, host_id=HOST + 1)
    assert decided(*lost, working(), working(), lost=(elsewhere,)) == ([], 2)


def silent_pool(reason: Reason) -> tuple[list[Held], int]:
    """Decide about three that fell silent, and one that was rented to see, verified and is silent too."""
    before = [
        held(
            beaten_at=ago(minutes=40), beat_secs=60, requested_at=ago(minutes=61), verified_at=ago(minutes=60)
        )
        for _ in range(3)
    ]
    to_see = held(
        reason=reason,
        announced_at=ago(minutes=20),
        beat_secs=60,
        requested_at=ago(minutes=21),
        verified_at=ago(minutes=20),
    )
    return decided(*before, to_see)


def test_a_call_since_shows_that_who_could_be_heard_and_is_not_is_dead() -> None:
    given_up, held_back = silent_pool(Reason.CALLED)
    assert (len(given_up), held_back) == (4, 0)


def test_when_the_one_that_was_rented_to_see_falls_silent_as_well_the_next_is_replaced() -> None:
    given_up, held_back = silent_pool(Reason.ENROLLED)
    assert (len(given_up), held_back) == (1, 3)
