"""No cap of the budget is passed: neither by one rental more, nor by what runs already."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.domain.actions import Move, Rent
from magister.domain.instance import Held
from magister.domain.spec import Fleet
from magister.money import Budget, Outlay, Overrun, cost
from magister.planner.budget import EXIT, Objection, dearest, objection, over_budget, waited_for
from magister.planner.plan import plan
from magister.states import Reason, State
from tests.builders import NOW, a_fleet, a_view, ago, an_offer, held

USD = 1_000_000


def a_budget(*, target: int = 3, **caps: object) -> Fleet:
    return a_fleet(target=target, budget=Budget(**caps))  # type: ignore[arg-type] # names are Budget's


def given_up(fleet: Fleet, *rows: Held, spent: Outlay | None = None) -> list[Held]:
    return [move.row for move in over_budget(fleet, rows, rows, a_view(spent=spent or Outlay()), NOW)]


def rented(fleet: Fleet, *rows: Held, prices: tuple[int, ...], **view: object) -> list[int]:
    """Return the prices of the offers that are rented."""
    seen = a_view(offers=tuple(an_offer(price=price) for price in prices), searched_at=ago(seconds=1), **view)
    return [action.offer.price for action in plan(fleet, rows, seen, NOW).actions if isinstance(action, Rent)]


def test_without_caps_money_is_no_object() -> None:
    assert objection(a_budget(), (), a_view(spent=Outlay(9, 9, 10**12)), (an_offer(),), NOW) is None
    assert given_up(a_budget(), held(), held(), spent=Outlay(9, 9, 10**12)) == []


def test_rentals_stop_where_the_rate_of_all_would_pass_the_cap_per_hour() -> None:
    fleet = a_budget(target=5, per_hour=2 * USD)
    assert rented(fleet, held(price=USD), prices=(400_000, 400_000, 400_000)) == [400_000, 400_000]


def test_a_cheaper_offer_that_fits_is_taken_where_the_best_does_not() -> None:
    fleet = a_budget(target=2, per_hour=2 * USD)
    assert rented(fleet, held(price=USD), prices=(1_100_000, 900_000)) == [900_000]


def test_what_is_on_its_way_out_still_counts_for_rentals() -> None:
    going = held(State.DROPPING, price=USD, moved_at=NOW, destroys=1, called_at=NOW, due_at=NOW + EXIT)
    assert rented(a_budget(target=1, per_hour=USD), going, prices=(USD,)) == []


def test_the_worst_that_a_new_box_can_cost_has_to_fit() -> None:
    fleet = a_budget(target=1, per_day=10 * USD)
    # 180 s to verify, 600 s of grace and 900 s to go, and an hour that makes it worth while
    worst = cost(USD, timedelta(seconds=1680)) + cost(USD, timedelta(hours=1))
    room = a_view(spent=Outlay(day=10 * USD - worst))
    assert objection(fleet, (), room, (an_offer(price=USD),), NOW) is None
    tight = a_view(spent=Outlay(day=10 * USD - worst + 1))
    found = objection(fleet, (), tight, (an_offer(price=USD),), NOW)
    assert found == Objection(
        "8.53 USD of budget.usd_per_day = 10.00 are spent, and with one box more it might come to 10.01",
        "set budget.usd_per_day to 10.01 or more and reload; it ends by itself at 2026-11-25 00:00:00 UTC, "
        "with the day",
        "budget.usd_per_day",
        10 * USD,
    )


def test_traffic_is_set_aside_for_each_new_box() -> None:
    fleet = a_budget(target=2, total=6 * USD, traffic_gb=500)
    two = (an_offer(price=USD, inet_down_cost=2_000), an_offer(price=USD, inet_down_cost=2_000))
    assert objection(fleet, (), a_view(spent=Outlay(total=2 * USD)), two[:1], NOW) is None
    assert objection(fleet, (), a_view(spent=Outlay(total=2 * USD)), two, NOW) is not None


@pytest.mark.parametrize(("credit", "fits"), [(12 * USD, True), (12 * USD - 1, False), (None, True)])
def test_the_credit_has_to_last_for_the_runway(credit: int | None, fits: bool) -> None:
    fleet = a_budget(target=2, runway=timedelta(hours=6))
    why = objection(fleet, (held(price=USD),), a_view(credit=credit), (an_offer(price=USD),), NOW)
    assert (why is None) is fits


def cure(fleet: Fleet, price: int, *rows: Held, **view: object) -> str:
    found = objection(fleet, rows, a_view(**view), (an_offer(price=price),), NOW)
    assert found is not None
    return found.cure


def test_the_cure_names_the_setting_and_a_number_that_would_do() -> None:
    assert cure(a_budget(per_hour=USD), 300_001, held(price=USD)) == (
        "set budget.usd_per_hour to 1.31 or more and reload; a cheaper offer, or a box that goes, ends it"
        " as well"
    )
    runway = a_budget(runway=timedelta(hours=6))
    assert cure(runway, USD, held(price=USD), credit=5 * USD) == (
        "add 7.00 USD or more at console.vast.ai, which is noticed within 300 s; or set "
        "budget.min_runway_hours to 2.5 or less and reload"
    )
    assert cure(a_budget(total=USD), USD).endswith("and reload; it does not end by itself")
    assert cure(a_budget(per_month=5 * USD), USD, spent=Outlay(month=5 * USD)).endswith(
        "; it ends by itself at 2026-12-01 00:00:00 UTC, with the month"
    )
    overrun = Overrun(ago(minutes=20), "budget.usd_per_day", 9 * USD)
    assert cure(a_budget(per_day=9 * USD), USD, overrun=overrun) == (
        "it ends by itself at 12:40:00 UTC, or raise budget.usd_per_day and reload"
    )


@pytest.mark.parametrize(
    ("cap", "of"),
    [
        ("budget.usd_per_hour", "per_hour"),
        ("budget.usd_per_day", "per_day"),
        ("budget.usd_per_month", "per_month"),
        ("budget.usd_total", "total"),
    ],
)
def test_renting_waits_for_the_cap_that_an_instance_was_given_up_for(cap: str, of: str) -> None:
    overrun = Overrun(ago(minutes=59), cap, 5 * USD)
    assert waited_for([overrun], a_budget(**{of: 5 * USD}).budget, NOW) == overrun
    assert waited_for([overrun], a_budget(**{of: 5 * USD - 1}).budget, NOW) == overrun
    assert waited_for([overrun], a_budget(**{of: 5 * USD + 1}).budget, NOW) is None, "it was raised"
    assert waited_for([overrun], Budget(), NOW) is None, "it was unset"
    assert waited_for([overrun], a_budget(**{of: 5 * USD}).budget, NOW + timedelta(minutes=1)) is None, (
        "an hour has passed"
    )


MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cap", "ends", "waits"),
    [
        ("budget.usd_per_day", MIDNIGHT, False),
        ("budget.usd_per_month", MIDNIGHT, True),
        ("budget.usd_per_month", NEW_YEAR, False),
        ("budget.usd_per_hour", NEW_YEAR, True),
        ("budget.usd_total", NEW_YEAR, True),
    ],
)
def test_renting_waits_for_a_day_or_month_no_longer_than_that_lasts(
    cap: str, ends: datetime, waits: bool
) -> None:
    overrun = Overrun(ends - timedelta(minutes=5), cap, USD)
    budget = Budget(per_hour=USD, per_day=USD, per_month=USD, total=USD)
    assert waited_for([overrun], budget, ends - timedelta(microseconds=1)) == overrun
    assert (waited_for([overrun], budget, ends) == overrun) is waits


def test_of_several_caps_the_one_counts_that_renting_waits_for_longest() -> None:
    early, late = Overrun(ago(minutes=50), "budget.usd_total", USD), Overrun(NOW, "budget.usd_per_day", USD)
    assert waited_for([late, early], Budget(per_day=USD, total=USD), NOW) == late
    assert waited_for([late, early], Budget(per_day=2 * USD, total=USD), NOW) == early


@pytest.mark.parametrize("caps", [{"per_hour": 1_300_000}, {"per_day": 4 * USD}, {"total": 3_000_001}])
def test_the_dearest_price_that_has_room_is_exact(caps: dict[str, int]) -> None:
    fleet, rows = a_budget(**caps), (held(price=USD),)
    price = dearest(fleet, rows, a_view(), NOW)
    assert isinstance(price, int)
    assert objection(fleet, rows, a_view(), (an_offer(price=price),), NOW) is None
    assert objection(fleet, rows, a_view(), (an_offer(price=price + 1),), NOW) is not None


def test_without_room_for_the_cheapest_box_it_is_said_why() -> None:
    assert isinstance(dearest(a_budget(per_hour=0), (), a_view(), NOW), Objection)
    assert dearest(a_budget(), (), a_view(), NOW) is None


def test_a_lower_cap_per_hour_shrinks_the_pool_the_dearest_unverified_first() -> None:
    dear, cheap = held(price=3 * USD), held(price=USD)
    fresh = held(State.CREATED, price=2 * USD, verify_by=NOW + EXIT)
    assert given_up(a_budget(per_hour=6 * USD), dear, cheap, fresh) == []
    assert given_up(a_budget(per_hour=4 * USD), dear, cheap, fresh) == [fresh]
    assert given_up(a_budget(per_hour=3 * USD), dear, cheap, fresh) == [fresh, dear]
    assert given_up(a_budget(per_hour=0), dear, cheap, fresh) == [fresh, dear, cheap]


def test_an_intent_that_was_never_sent_ends_at_once() -> None:
    (move,) = over_budget(a_budget(per_hour=0), (row := held(State.REQUESTED),), (row,), a_view(), NOW)
    assert (move.to, move.reason) == (State.DESTROYED, Reason.BUDGET)


def test_a_pool_shrinks_step_by_step_as_a_cap_over_a_time_comes_near() -> None:
    rows = [held(price=USD) for _ in range(4)]
    fleet = a_budget(target=4, per_day=100 * USD)
    # 15 minutes to go and 17 to stay, since a price may double before a listing shows it
    gone = [
        len(given_up(fleet, *rows, spent=Outlay(day=100 * USD - left)))
        for left in (2_133_334, 1_900_000, 1_300_000, 1_000_000)
    ]
    assert gone == [0, 1, 3, 4]


def test_the_planner_gives_up_for_money_through_the_one_door() -> None:
    rows = (held(price=USD), held(price=2 * USD))
    actions = plan(a_budget(target=2, per_hour=USD), rows, a_view(), NOW).actions
    moves = [(action.row, action.to, action.reason) for action in actions if isinstance(action, Move)]
    assert moves == [(rows[1], State.DROPPING, Reason.BUDGET)]


def test_boxes_that_stand_still_for_want_of_credit_are_not_replaced() -> None:
    stopped = held(actual_status="exited", sick_since=ago(minutes=1))
    assert plan(a_fleet(target=1), (stopped,), a_view(credit=0), NOW).actions == ()
    assert plan(a_fleet(target=1), (stopped,), a_view(credit=1), NOW).actions != ()


@pytest.mark.parametrize("poll", [30, 120, 300])
def test_a_price_that_doubles_just_after_a_listing_passes_no_cap(poll: int) -> None:
    fleet = replace(a_budget(total=USD), listing_every=timedelta(seconds=poll))
    price, spent = 600_000, 0
    while not given_up(fleet, held(price=price), spent=Outlay(total=spent)):
        spent += cost(price, timedelta(seconds=poll))
    before = spent - cost(price, timedelta(seconds=poll))  # when it was last looked at, and was to stay
    noticed = timedelta(seconds=poll + 10)  # the next listing shows the price, and takes a while
    assert before + cost(2 * price, noticed + EXIT) <= USD, "and the destroy takes its longest"


def test_what_is_rented_stays_however_seldom_vast_is_listed() -> None:
    fleet = replace(a_budget(total=100 * USD, target=1), listing_every=timedelta(hours=1))
    for left in range(1, 12):
        spent = Outlay(total=100 * USD - left * USD // 2)
        if rented(fleet, prices=(USD,), spent=spent):
            assert given_up(fleet, held(State.CREATED, price=USD), spent=spent) == []


@given(
    prices=st.lists(st.integers(0, 5 * USD), max_size=8),
    spent=st.integers(0, 20 * USD),
    cap=st.integers(0, 20 * USD),
)
def test_what_stays_fits_under_the_cap_until_it_is_gone(prices: list[int], spent: int, cap: int) -> None:
    rows = tuple(held(price=price) for price in prices)
    left = set(rows) - set(given_up(a_budget(per_day=cap), *rows, spent=Outlay(day=spent)))
    needed = sum(cost(row.price or 0, EXIT) for row in rows) + cost(sum(row.price or 0 for row in left), EXIT)
    assert not left or all(row.price == 0 for row in left) or spent + needed <= cap


@given(rate=st.integers(0, 10**9), seconds=st.integers(0, 10**8))
def test_a_cost_is_rounded_up_to_a_whole_micro_dollar(rate: int, seconds: int) -> None:
    found = cost(rate, timedelta(seconds=seconds))
    assert (found - 1) * 3600 < rate * seconds <= found * 3600
