"""What is wrong, in a line each, with what would cure it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from magister.domain.instance import Held
from magister.domain.observed import Route
from magister.domain.risk.launch_breaker import Caution, Outlook, Verdict
from magister.errors import BadKey, IncompleteListing, NoCredit, OtherAccount, Refused, Transient, VastError
from magister.planner.conditions import OTHER_ACCOUNT, Failing, Symptoms, conditions
from magister.states import State
from tests.builders import NOW, a_fleet, ago, held

WELL = Symptoms(failing={}, renting=None, rent_not_before=None, credit=50_000_000, matching=None)


def told(*rows: Held, target: int = 0, **symptoms: object) -> list[str]:
    found = conditions(
        a_fleet(target=target),
        rows,
        replace(WELL, **symptoms),  # type: ignore[arg-type] # names are Symptoms'
        NOW,
    )
    assert all(condition.cure for condition in found)
    return [condition.what for condition in found]


def test_a_healthy_pool_has_none() -> None:
    assert told(held(), target=1) == []


@pytest.mark.parametrize("route", [Route.LIST, Route.ACCOUNT, Route.SEARCH])
def test_a_key_that_vast_does_not_know(route: Route) -> None:
    assert told(failing={route: Failing(NOW, BadKey())}) == ["Vast does not accept the API key"]


def test_vast_that_does_not_answer_since_when() -> None:
    failing = {Route.LIST: Failing(ago(minutes=3), Transient("503 from Vast"))}
    assert told(failing=failing) == ["listings from Vast fail since 11:57:00 UTC: 503 from Vast"]


def test_a_key_of_another_account_is_told_instead_of_the_listing_that_fails() -> None:
    error = OtherAccount(boxes=2, answers=777, ours=4242)
    (condition,) = conditions(a_fleet(), (), replace(WELL, failing={Route.LIST: Failing(NOW, error)}), NOW)
    assert condition.kind == OTHER_ACCOUNT
    assert condition.what == (
        "vast_api_key is a key of Vast account 777, and the 2 boxes of the pool are on account 4242"
    )
    assert "put the former key back" in condition.cure
    assert "magister accept-account" in condition.cure


def test_an_account_that_names_itself_not_is_told_as_well() -> None:
    failing = {Route.LIST: Failing(NOW, OtherAccount(boxes=1, answers=None, ours=4242))}
    assert told(failing=failing) == [
        "vast_api_key seems to be a key of another Vast account: the 1 box of the pool is not on this one, "
        "which Vast does not name"
    ]


def test_a_moment_of_another_day_bears_its_date() -> None:
    failing = {Route.LIST: Failing(ago(hours=13), Transient("503 from Vast"))}
    assert told(failing=failing) == ["listings from Vast fail since 2026-11-23 23:00:00 UTC: 503 from Vast"]


@pytest.mark.parametrize(
    ("since", "error", "said"),
    [
        (ago(), Refused("403: hosts have no charges"), True),
        (ago(hours=2), Transient("503"), False),
        (ago(hours=4), Transient("503"), True),
        (ago(hours=4), BadKey(), False),
    ],
)
def test_charges_that_cannot_be_read_are_told_of(since: datetime, error: VastError, said: bool) -> None:
    found = told(bill=Failing(since, error))
    assert [line.startswith("the charges of Vast cannot be read since") for line in found] == [True] * said


def test_a_search_that_fails_once_is_no_condition() -> None:
    assert told(failing={Route.SEARCH: Failing(NOW, IncompleteListing())}) == []


@pytest.mark.parametrize(
    ("credit", "renting"), [(0, None), (-5_000_000, None), (None, Failing(NOW, NoCredit()))]
)
def test_an_account_without_credit(credit: int | None, renting: Failing | None) -> None:
    (line,) = told(credit=credit, renting=renting)
    assert line.startswith("the Vast account has no credit to rent with")


def test_refusals_in_vasts_own_words_while_they_hold() -> None:
    renting = Failing(NOW, Refused("invalid_args: no such template"))
    later = NOW + timedelta(seconds=20)
    assert told(renting=renting, rent_not_before=later) == [
        "Vast refuses to rent: invalid_args: no such template"
    ]
    assert told(renting=renting, rent_not_before=ago(seconds=1)) == []


def test_a_market_with_too_few_offers() -> None:
    assert told(held(), target=3, matching=1) == ["1 of 3 instances, and 1 offers that could be rented"]
    assert told(held(), target=3, matching=2) == []


def test_a_box_that_will_not_go_away() -> None:
    row = held(State.DROPPING, moved_at=ago(minutes=11))
    (line,) = told(row)
    assert f"instance {row.id} (contract {row.contract_id})" in line
    assert told(held(State.DROPPING, moved_at=ago(minutes=9))) == []


def test_instances_above_the_cap_are_told_of_with_the_numbers_and_kept() -> None:
    dear, dearer = held(price=212_300), held(price=300_000)
    rows = (dear, held(price=180_000), dearer, held(State.DROPPING, price=900_000, moved_at=NOW))
    condition, *_ = conditions(a_fleet(target=3, max_price=180_000), rows, WELL, NOW)
    assert condition.kind == "price_above_cap"
    assert condition.what == (
        "2 instances cost more than vast_query.cost_per_hour = 0.1800 USD: "
        f"#{dearer.id} at 0.3000, #{dear.id} at 0.2123"
    )
    assert "raise cost_per_hour" in condition.cure


def test_of_many_instances_above_the_cap_the_dearest_are_named() -> None:
    rows = tuple(held(price=200_000 + n) for n in range(9))
    (condition,) = conditions(a_fleet(target=9, max_price=180_000), rows, WELL, NOW)
    assert condition.what.startswith("9 instances cost more")
    assert condition.what.endswith(" and 4 more")


def test_without_a_cap_no_price_is_too_high() -> None:
    assert told(held(price=10**9), target=1) == []


def test_a_listing_that_hangs_is_told_of_within_two_polls() -> None:
    assert told(listing_from=ago(seconds=29)) == []
    assert told(listing_from=ago(seconds=30)) == ["Vast has not answered a listing since 11:59:30 UTC"]


def test_a_pool_whose_workers_nobody_can_hear() -> None:
    assert told(deaf=True) == ["nobody can hear workers: no web process is signed in"]


def short_lives(*minutes_ago: float, failed_before: int = 0, trial: tuple[datetime, ...] = ()) -> Outlook:
    """Return rentals whose workers ended soon, after some that never verified."""
    ended = [
        Verdict(ago(minutes=n), ago(minutes=n + 3), verified=False, ended_soon=True) for n in minutes_ago
    ]
    never = [Verdict(ago(minutes=50), ago(minutes=60), verified=False)] * failed_before
    return Outlook((*ended, *never), on_trial=trial)


def test_workers_that_verify_and_end_soon_are_told_with_what_to_check() -> None:
    outlook = short_lives(4, 14, 24, 34)
    (condition,) = conditions(a_fleet(), (), replace(WELL, outlook=outlook), NOW)
    assert condition.kind == "rentals_fail"
    assert condition.what == (
        "the last 4 rentals failed: the workers of these verified, but ended within 5 min; "
        "one instance at a time is tried, the next not before 12:01:00 UTC"
    )
    assert "a worker that lives for 5 min ends the caution" in condition.cure
    assert "template" in condition.cure
    assert "magister resume" in condition.cure


def test_the_one_that_is_watched_is_told_and_how_many_of_the_failures_were_short_lives() -> None:
    outlook = short_lives(40, 41, 42, failed_before=2, trial=(ago(minutes=1),))
    assert told(outlook=outlook) == [
        "the last 5 rentals failed: the workers of 3 of these verified, but ended within 5 min; "
        "one instance at a time is tried; the one that runs now is watched until 12:04:00 UTC"
    ]
    several = replace(outlook, on_trial=(ago(minutes=1), ago(minutes=3)))
    (what,) = told(outlook=several)
    assert what.endswith("; the 2 that run now are watched, the first until 12:02:00 UTC")


def test_a_short_life_that_is_no_whole_number_of_minutes_is_told_in_round_numbers() -> None:
    fleet = a_fleet(caution=Caution(short_life=timedelta(seconds=400)))
    (condition,) = conditions(fleet, (), replace(WELL, outlook=short_lives(4, 14, 24, 34)), NOW)
    assert "but ended within 7 min;" in condition.what


def test_one_short_life_is_no_condition() -> None:
    assert told(outlook=short_lives(1)) == []
