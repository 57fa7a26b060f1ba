"""When an instance that looks lost goes first, since nothing else makes room for a canary."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.actions import Move
from magister.domain.instance import Held
from magister.domain.risk.launch_breaker import Outlook, Verdict
from magister.domain.spec import Fleet, Loss
from magister.money import Budget, Outlay
from magister.planner.plan import plan
from magister.states import Reason, State
from tests.builders import NOW, a_fleet, a_view, ago, an_offer, held

PRICE = 800_000
USD = 1_000_000
CAPPED = a_fleet(target=5, budget=Budget(per_hour=4 * PRICE + PRICE // 2))

FAILED = Verdict(ago(seconds=30), ago(minutes=4), verified=False)


def silent(**facts: object) -> Held:
    """Return a verified row that used to beat and has not for ten minutes."""
    return replace(held(price=PRICE, beaten_at=ago(minutes=10)), **facts)  # type: ignore[arg-type] # Held's names


def decided(fleet: Fleet, *rows: Held, **view: object) -> tuple[list[Held], int]:
    """Return the rows that are given up, and how many are held back."""
    planned = plan(
        fleet, rows, a_view(**{"searched_at": ago(seconds=5), "hearing_since": ago(hours=1), **view}), NOW
    )
    moves = [action.row for action in planned.actions if isinstance(action, Move)]
    return moves, len(planned.held_back)


def four(**facts: object) -> list[Held]:
    return [silent(**facts) for _ in range(4)]


def test_below_the_target_the_dearest_goes_where_no_offer_fits_beside_it() -> None:
    rows = [*four()[1:], dearest := silent(price=PRICE + 1)]
    assert decided(CAPPED, *rows, offers=(an_offer(price=PRICE),)) == ([dearest], 3)
    assert decided(a_fleet(target=6), *rows) == ([dearest], 3)


def test_it_waits_for_the_canary_where_an_offer_fits_beside_it() -> None:
    assert decided(a_fleet(target=5), *four(), offers=(an_offer(price=PRICE),)) == ([], 4)
    assert decided(CAPPED, *four(), offers=(an_offer(price=PRICE // 2),)) == ([], 4)


def test_of_those_that_the_coordinator_forgot_one_goes_as_well() -> None:
    rows = [held(price=PRICE, off_roster_since=ago(minutes=20)) for _ in range(4)]
    moves, _ = decided(a_fleet(target=6), *rows, roster_at=ago(seconds=5))
    assert moves == rows[:1]


def test_no_instance_with_a_fresh_heartbeat_makes_room() -> None:
    beating = [
        held(price=PRICE + n, off_roster_since=ago(minutes=20), beaten_at=ago(seconds=30), beat_secs=60)
        for n in (1, 2)
    ]
    silent = [held(price=PRICE, off_roster_since=ago(minutes=20)) for _ in range(2)]
    moves, _ = decided(a_fleet(target=6), *beating, *silent, roster_at=ago(seconds=5))
    assert moves == silent[:1], "the dearest of those that no heartbeat speaks for"
    assert decided(a_fleet(target=6), *beating, roster_at=ago(seconds=5)) == ([], 0)


def test_of_those_that_stopped_all_at_once_one_goes_as_well() -> None:
    rows = [held(price=PRICE, actual_status="exited", sick_since=ago(minutes=3)) for _ in range(4)]
    assert decided(a_fleet(target=6), *rows) == (rows[:1], 3)


@pytest.mark.parametrize(
    "other",
    [
        held(State.CREATED, requested_at=ago(minutes=1), verify_by=NOW + timedelta(minutes=2)),
        held(
            State.DROPPING,
            reason=Reason.SILENT,
            moved_at=ago(minutes=1),
            destroys=1,
            due_at=NOW + timedelta(1),
        ),
    ],
    ids=["waits for its worker", "is on its way out"],
)
def test_no_second_one_goes_while_another_decides(other: Held) -> None:
    moves, held_back = decided(a_fleet(target=6), other, *four())
    assert (moves, held_back) == ([], 4)


def test_one_that_vast_does_not_destroy_is_not_waited_for() -> None:
    stuck = held(
        State.DROPPING, reason=Reason.SILENT, moved_at=ago(hours=1), destroys=9, due_at=NOW + timedelta(1)
    )
    rows = [silent(beaten_at=ago(minutes=30)) for _ in range(4)]
    assert decided(a_fleet(target=5), stuck, *rows) == (rows[:1], 3)


def test_where_nothing_takes_its_place_the_next_follows_when_the_loss_is_no_longer_recent() -> None:
    rows = four()
    assert decided(a_fleet(target=6), *rows, lost=(Loss(ago(minutes=29)),)) == ([], 4)
    assert decided(a_fleet(target=6), *rows, lost=(Loss(ago(minutes=31)),)) == (rows[:1], 3)


@pytest.mark.parametrize(
    "view",
    [
        {"searched_at": None},
        {"search_failing": True},
        {"outlook": Outlook((FAILED, replace(FAILED, at=ago(minutes=9), rented_at=ago(minutes=15))))},
    ],
    ids=["the market was not asked", "it did not answer", "a canary failed a moment ago"],
)
def test_nothing_goes_while_it_is_not_known_that_nothing_can_be_rented(view: dict[str, object]) -> None:
    assert decided(a_fleet(target=6), *four(), **view) == ([], 4)


def test_one_goes_while_vast_refuses_to_rent() -> None:
    offers = (an_offer(price=PRICE),)
    rows = four()
    hold = NOW + timedelta(seconds=60)
    assert decided(a_fleet(target=6), *rows, offers=offers, rent_not_before=hold) == (rows[:1], 3)


def test_a_full_pool_tries_its_canary_as_before() -> None:
    rows = four()
    assert decided(a_fleet(target=4), *rows) == (rows[:1], 3)


def test_what_is_held_back_is_within_reach_of_the_budget() -> None:
    rows = four()
    fleet = a_fleet(target=4, budget=Budget(total=10 * USD))
    moves, held_back = decided(fleet, *rows, spent=Outlay(total=10 * USD))
    assert (set(moves), held_back) == (set(rows), 0)


def test_what_looks_lost_goes_before_what_works_when_a_cap_comes_near() -> None:
    works = held(price=2 * PRICE, beaten_at=ago(seconds=5))
    canary = held(State.CREATED, price=2 * PRICE, verify_by=NOW + timedelta(minutes=2))
    lost = [held(price=PRICE, actual_status="exited", sick_since=ago(seconds=30)) for _ in range(4)]
    fleet = a_fleet(target=6, budget=Budget(per_hour=6 * PRICE))
    moves, held_back = decided(fleet, works, canary, *lost)
    assert (set(moves) <= set(lost), len(moves), held_back) == (True, 2, 2)


def test_a_lower_target_is_reached_by_what_looks_lost() -> None:
    works = held(price=2 * PRICE)
    lost = [held(price=PRICE, actual_status="exited", sick_since=ago(seconds=30)) for _ in range(4)]
    assert decided(a_fleet(target=1), works, *lost) == (lost[::-1], 0)
    moves, held_back = decided(a_fleet(target=0), works, *lost)
    assert (len(moves), held_back) == (5, 0)
