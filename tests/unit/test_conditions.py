"""What is wrong, in a line each, with what would cure it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.conditions import Failing, Symptoms, conditions
from magister.errors import BadKey, IncompleteListing, NoCredit, Refused, Transient
from magister.facts import Route
from magister.held import Held
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
