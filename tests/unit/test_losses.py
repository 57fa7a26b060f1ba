"""Whether so many verified instances were lost at once that something else than they is at fault."""

from datetime import timedelta

from magister.actions import Move
from magister.held import Held
from magister.planner import plan
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
    assert decided(*rows, lost=(ago(minutes=1),))[1] == 1
    assert decided(*rows, lost=(ago(minutes=11),))[1] == 0


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
