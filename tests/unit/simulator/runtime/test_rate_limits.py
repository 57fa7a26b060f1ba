"""Vast's rate limits under a clock of the test's own."""

import pytest

from magister.simulator.runtime.rate_limits import INTERVALS, RatePlan, Rates


def test_a_call_is_admitted_once_per_interval() -> None:
    rates = Rates()
    outcomes = [rates.check("destroy", moment) is None for moment in (0.0, 2.9, 3.0, 5.9, 6.0)]
    assert outcomes == [True, False, True, False, True]
    assert rates.refused == 2


def test_routes_do_not_hinder_each_other() -> None:
    rates = Rates()
    assert all(rates.check(route, 0.0) is None for route in INTERVALS)


def test_a_create_that_comes_too_soon_blocks_creates_for_twelve_seconds() -> None:
    rates = Rates()
    outcomes = [rates.check("create", moment) is None for moment in (0.0, 4.0, 5.0, 15.9, 28.0)]
    assert outcomes == [True, False, False, False, True]


def test_without_limits_everything_is_admitted() -> None:
    rates = Rates(RatePlan(scale=0.0))
    assert all(rates.check("create", 0.0) is None for _ in range(50))


def test_limits_stretch_by_the_scale() -> None:
    rates = Rates(RatePlan(scale=0.1))
    assert [rates.check("create", moment) is None for moment in (0.0, 0.45)] == [True, True]


def test_a_429_comes_in_several_shapes() -> None:
    rates = Rates()
    bodies = {rates.throttled("list", 1.0).body for _ in range(50)}
    assert len(bodies) == 4
    assert b"API requests too frequent" in bodies


def test_the_wait_is_told_only_sometimes() -> None:
    rates = Rates()
    told = [bool(rates.throttled("list", 7.0).headers) for _ in range(200)]
    assert 20 < sum(told) < 80
    assert rates.throttled("list", 7.0, always_tell=True).headers == (("Retry-After", "7"),)


def test_the_wait_is_told_in_the_seconds_of_the_caller() -> None:
    rates = Rates(RatePlan(retry_after_share=1.0))
    rates.check("list_v0", 0.0, speed=4.0)
    refused = rates.check("list_v0", 0.0, speed=4.0)
    assert refused is not None
    assert refused.headers == (("Retry-After", "5"),)


def test_the_rows_of_a_day_run_out_and_come_back_at_midnight() -> None:
    rates = Rates(RatePlan(search_rows_per_day=10))
    assert rates.rows_left(0.0) == 10
    rates.count_rows(10)
    assert rates.rows_left(86_399.0) == 0
    assert rates.rows_left(86_400.0) == 10


def test_a_spent_quota_says_when_it_ends() -> None:
    reply = Rates().exhausted(80_000.0, 1.0, 80_000.0)
    assert reply.status == 429
    assert b"search_quota_exceeded" in reply.body
    assert dict(reply.headers) == {"Retry-After": "6400", "X-RateLimit-Reset": "86400"}


@pytest.mark.parametrize("route", ["user", "logs", "log_text", "gpu_names"])
def test_routes_without_a_stated_limit_have_none(route: str) -> None:
    rates = Rates()
    assert [rates.check(route, 0.0) for _ in range(5)] == [None] * 5
