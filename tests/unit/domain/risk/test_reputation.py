"""What may be expected of a machine, from our own rentals and nothing else."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.domain.risk.reputation import (
    NOTHING_KNOWN,
    Expectation,
    Rental,
    cost_per_verified_hour,
    reputation,
)
from magister.states import Failure
from tests.builders import NOW, ago

TRIAL = timedelta(minutes=3)


def rental(*, verified: bool = True, days: float = 0, **facts: object) -> Rental:
    """Return a rental on machine 1 of host 7 that worked for ten hours and died, or never verified."""
    plain: dict[str, object] = {
        "at": ago(hours=24 * days),
        "machine_id": 1,
        "host_id": 7,
        "gpu_name": "RTX 4090",
        "boot": 100.0 if verified else None,
        "worked": 36_000.0 if verified else 0.0,
        "failure": Failure.DIED if verified else Failure.NEVER_VERIFIED,
    }
    return Rental(**plain | facts)  # type: ignore[arg-type] # names are Rental's


def expected(
    *rentals: Rental, machine: int = 1, host: int = 7, gpu: str = "RTX 4090", price: float = 0.4
) -> Expectation:
    return reputation(rentals, NOW).of(machine, host, gpu, round(price * 1_000_000))


def cost(price: int, expected: Expectation, *, left: float | None = None) -> float:
    """Return the cost of an hour of work in a market where an hour of an empty place costs 2 USD."""
    return cost_per_verified_hour(price, expected, TRIAL, empty=2_000_000, left=left)


def test_before_anything_was_rented_the_same_is_expected_of_all() -> None:
    assert expected() == expected(machine=2, host=8, gpu="H100") == NOTHING_KNOWN


def test_a_machine_is_known_by_what_it_did() -> None:
    good, bad = [rental() for _ in range(20)], [rental(verified=False, machine_id=2) for _ in range(20)]
    assert expected(*good, *bad).verify > 0.9
    assert expected(*good, *bad, machine=2).verify < 0.2


def test_an_unknown_machine_is_judged_by_its_host_and_then_by_its_model() -> None:
    bad = [rental(verified=False, machine_id=n) for n in range(5)]
    good = [rental(machine_id=n + 10, host_id=8) for n in range(5)]
    of_bad_host = expected(*bad, *good, machine=99).verify
    of_unknown_host = expected(*bad, *good, machine=99, host=9).verify
    of_good_host = expected(*bad, *good, machine=99, host=8).verify
    assert of_bad_host < of_unknown_host < of_good_host


def test_failures_of_the_cheapest_machines_say_little_of_dearer_ones() -> None:
    cheap = [
        rental(verified=False, machine_id=n, host_id=n, price=300_000 + 2_000 * n) for n in range(10, 20)
    ]
    alike, near, dear = (expected(*cheap, host=99, machine=99, price=price) for price in (0.33, 0.36, 0.45))
    assert alike.verify < near.verify < dear.verify
    working = rental(machine_id=30, host_id=30, price=410_000)
    assert expected(*cheap, working, host=99, machine=99, price=0.4).verify > 0.3
    assert expected(*cheap, working, host=99, machine=99, price=0.33).verify < 0.2


def test_workers_that_end_soon_say_as_much_of_a_price_as_workers_that_never_verify() -> None:
    def dearer_by(rental_of: Callable[..., Rental]) -> float:
        cheap = [rental_of(machine_id=n, host_id=n, price=300_000 + 2_000 * n) for n in range(10, 20)]
        alike, dear = (expected(*cheap, host=99, machine=99, price=price).verify for price in (0.33, 0.45))
        return dear / alike

    ended_soon = dearer_by(partial(rental, worked=45.0, ended_soon=True))
    assert ended_soon > 1.5
    assert ended_soon == pytest.approx(dearer_by(partial(rental, verified=False)))


def test_what_a_model_asks_says_nothing_of_another_model_at_that_price() -> None:
    cheap = [rental(verified=False, machine_id=n, host_id=n, price=300_000) for n in range(10, 20)]
    working = [rental(machine_id=n, host_id=n, gpu_name="L40S", price=600_000) for n in range(20, 30)]
    other = expected(*cheap, *working, machine=99, host=99, gpu="L40S", price=0.3)
    assert other.verify > 4 * expected(*cheap, *working, machine=99, host=99, price=0.3).verify


def test_a_machine_that_works_is_trusted_among_bad_ones_of_its_price() -> None:
    cheap = [rental(verified=False, machine_id=n, host_id=n, price=300_000) for n in range(10, 20)]
    assert expected(*cheap, *[rental(price=300_000)] * 3, price=0.3).verify > 0.6


def test_one_failure_does_not_damn_an_unknown_machine() -> None:
    assert 0.3 < expected(rental(verified=False)).verify < NOTHING_KNOWN.verify


def test_what_is_long_ago_counts_less() -> None:
    assert expected(rental(verified=False, days=60)).verify > expected(rental(verified=False)).verify


def test_a_box_that_still_works_makes_its_machine_look_longer_lived() -> None:
    going_on = rental(worked=100 * 3600.0, failure=None)
    assert expected(going_on).life > expected(rental()).life


def test_boots_are_averaged() -> None:
    assert expected(*[rental(boot=60.0) for _ in range(50)]).boot == pytest.approx(65, abs=8)


def test_a_machine_whose_host_and_model_are_not_known_is_still_counted() -> None:
    assert expected(rental(verified=False, host_id=None, gpu_name=None)).verify < NOTHING_KNOWN.verify


def test_an_hour_of_a_perfect_machine_costs_its_price() -> None:
    perfect = Expectation(verify=1.0, boot=0.0, life=3600.0)
    assert cost(500_000, perfect) == 500_000


def test_failures_boots_and_short_lives_make_an_hour_of_work_dearer() -> None:
    plain = Expectation(verify=0.9, boot=120, life=36_000)
    costs = [
        cost(500_000, one)
        for one in (
            plain,
            Expectation(0.5, 120, 36_000),
            Expectation(0.5, 300, 36_000),
            Expectation(0.5, 300, 3600),
        )
    ]
    assert costs == sorted(costs)
    assert len(set(costs)) == 4


def test_a_start_is_dearer_where_few_hours_are_left_to_pay_for_it() -> None:
    plain = Expectation(verify=0.9, boot=120, life=36_000)
    costs = [cost(500_000, plain, left=hours * 3600) for hours in (1000, 48, 6, 1, 0.1, 0)]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(cost(500_000, plain))
    assert costs[2] < 1.1 * cost(500_000, plain)
    assert costs[3] > 1.15 * cost(500_000, plain)


def test_one_early_end_says_much_where_instances_live_long_and_little_where_they_do_not() -> None:
    def others(hours: float) -> list[Rental]:
        return [
            rental(machine_id=n, host_id=n, worked=hours * 3600 * share)
            for n in range(10, 20)
            for share in (0.3, 1.0, 1.7)
        ]

    early = rental(worked=120.0)
    steady, fleeting = others(12), others(0.7)
    assert expected(early, *steady).life < 0.3 * expected(*steady, machine=99, host=99).life
    assert expected(early, *fleeting).life > 0.5 * expected(*fleeting, machine=99, host=99).life


def test_a_machine_where_instances_soon_end_is_known_after_two_of_them() -> None:
    steady = [rental(machine_id=n, host_id=n, worked=43_200.0) for n in range(10, 20)]
    soon = [rental(worked=300.0), rental(worked=240.0)]
    assert expected(*soon, *steady).life < 3600


def test_where_all_instances_live_for_minutes_no_hours_are_expected() -> None:
    short = [rental(machine_id=n, host_id=n, worked=600.0) for n in range(10, 30)]
    assert 300 < expected(*short, machine=99, host=99).life < 3600


@given(
    st.lists(
        st.builds(
            rental,
            verified=st.booleans(),
            days=st.floats(0, 1000),
            machine_id=st.integers(1, 3),
            host_id=st.integers(7, 8),
            gpu_name=st.sampled_from(["RTX 4090", "H100", None]),
            price=st.sampled_from([None, 390_000, 400_000, 800_000]),
        ),
        max_size=12,
    )
)
def test_what_is_expected_is_always_possible(rentals: list[Rental]) -> None:
    found = expected(*rentals)
    assert 0 < found.verify < 1
    assert found.boot > 0
    assert found.life > 0
    assert cost(1_000_000, found) >= 1_000_000
