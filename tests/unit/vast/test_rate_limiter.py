"""The pacer keeps each route at Vast's pace under a clock that only naps move."""

from itertools import pairwise
from threading import Thread

import pytest

from magister.domain.observed import Route
from magister.errors import Stopping
from magister.vast.rate_limiter import Pacer
from tests.waiting import PATIENCE

INTERVALS = {Route.CREATE: 4.5, Route.LIST: 1.0, Route.DESTROY: 3.0}


class Time:
    """A clock that stands still but for naps and `pass_`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def paced(time: Time, *, backoff: float = 10.0, cap: float = 120.0) -> Pacer:
    return Pacer(INTERVALS, backoff=backoff, cap=cap, clock=time.clock, nap=time.nap)


def test_the_first_call_of_a_route_does_not_wait() -> None:
    time = Time()
    paced(time).enter(Route.CREATE)
    assert time.naps == []


def test_a_second_call_waits_for_the_interval_and_a_small_margin() -> None:
    time = Time()
    pacer = paced(time)
    pacer.enter(Route.LIST)
    assert pacer.wait_secs(Route.LIST) == pytest.approx(1.04)
    pacer.enter(Route.LIST)
    assert time.naps == [pytest.approx(1.04)]


def test_one_route_does_not_hold_another() -> None:
    time = Time()
    pacer = paced(time)
    pacer.enter(Route.CREATE)
    pacer.limited(Route.CREATE, 3600.0)
    pacer.enter(Route.DESTROY)
    assert time.naps == []
    assert pacer.wait_secs(Route.CREATE) == pytest.approx(3600.0)


def test_a_route_without_an_interval_is_always_free() -> None:
    time = Time()
    pacer = paced(time)
    for _ in range(5):
        pacer.enter(Route.ACCOUNT)
        pacer.left(Route.ACCOUNT)
    assert time.naps == []


@pytest.mark.parametrize("latency", [0.0, 0.2, 0.5, 3.0])
def test_twenty_creates_take_at_most_a_tenth_longer_than_vast_demands(latency: float) -> None:
    time = Time()
    pacer = paced(time)
    begun: list[float] = []
    for _ in range(20):
        pacer.enter(Route.CREATE)
        begun.append(time.now)
        time.now += latency
        pacer.left(Route.CREATE)
    assert begun[-1] - begun[0] <= 1.1 * 19 * 4.5
    assert min(later - earlier for earlier, later in pairwise(begun)) >= 4.5 * 1.04 - 1e-6


def test_a_slow_first_answer_does_not_let_the_next_call_arrive_too_soon() -> None:
    time = Time()
    pacer = paced(time)
    pacer.enter(Route.DESTROY)
    time.now += 0.8  # the request may have arrived only just now
    pacer.left(Route.DESTROY)
    assert pacer.wait_secs(Route.DESTROY) == pytest.approx(3.0)


def test_a_slow_answer_to_a_create_holds_the_next_one_only_a_little() -> None:
    time = Time()
    pacer = paced(time)
    pacer.enter(Route.CREATE)
    time.now += 2.0
    pacer.left(Route.CREATE)
    assert pacer.wait_secs(Route.CREATE) == pytest.approx(4.5 * 1.08 - 2.0)


def test_what_vast_says_after_a_429_is_kept_even_above_the_cap() -> None:
    time = Time()
    pacer = paced(time, cap=60.0)
    pacer.limited(Route.SEARCH, 7200.0)
    assert pacer.wait_secs(Route.SEARCH) == pytest.approx(7200.0)


def test_the_backoff_doubles_with_each_429_in_a_row_up_to_the_cap() -> None:
    time = Time()
    pacer = paced(time, backoff=10.0, cap=60.0)
    waits = []
    for _ in range(50):
        pacer.limited(Route.SHOW, None)
        waits.append(pacer.wait_secs(Route.SHOW))
        pacer.enter(Route.SHOW)
    assert waits[:5] == pytest.approx([10.0, 20.0, 40.0, 60.0, 60.0])
    assert waits[-1] == pytest.approx(60.0)


def test_a_success_ends_the_row_of_429s() -> None:
    time = Time()
    pacer = paced(time)
    pacer.limited(Route.SHOW, None)
    pacer.limited(Route.SHOW, None)
    pacer.enter(Route.SHOW)
    pacer.cleared(Route.SHOW)
    pacer.limited(Route.SHOW, None)
    assert pacer.wait_secs(Route.SHOW) == pytest.approx(10.0)


def test_a_429_that_says_zero_seconds_gets_the_backoff() -> None:
    time = Time()
    pacer = paced(time)
    pacer.limited(Route.SHOW, 0.0)
    assert pacer.wait_secs(Route.SHOW) == pytest.approx(10.0)


def test_a_429_never_opens_a_route_sooner_than_it_was() -> None:
    time = Time()
    pacer = paced(time)
    pacer.limited(Route.SHOW, 100.0)
    pacer.limited(Route.SHOW, 1.0)
    pacer.left(Route.SHOW)
    assert pacer.wait_secs(Route.SHOW) == pytest.approx(100.0)


def test_a_nap_that_returns_early_is_followed_by_another() -> None:
    time = Time()
    naps: list[float] = []

    def short(seconds: float) -> None:
        naps.append(seconds)
        time.now += min(seconds, 0.5)

    pacer = Pacer(INTERVALS, backoff=10, cap=60, clock=time.clock, nap=short)
    pacer.enter(Route.LIST)
    pacer.enter(Route.LIST)
    assert naps == pytest.approx([1.04, 0.54, 0.04])


def test_stopping_while_waiting_takes_no_slot() -> None:
    time = Time()

    def stop(_: float) -> None:
        raise Stopping

    pacer = Pacer(INTERVALS, backoff=10, cap=60, clock=time.clock, nap=stop)
    pacer.enter(Route.CREATE)
    with pytest.raises(Stopping):
        pacer.enter(Route.CREATE)
    assert pacer.wait_secs(Route.CREATE) == pytest.approx(4.5 * 1.04)


def test_no_lock_is_held_while_napping() -> None:
    time = Time()
    seen: list[float] = []

    def nap(seconds: float) -> None:
        other = Thread(target=lambda: seen.append(pacer.wait_secs(Route.LIST)))
        other.start()
        other.join(PATIENCE)
        time.now += seconds

    pacer = Pacer(INTERVALS, backoff=10, cap=60, clock=time.clock, nap=nap)
    pacer.enter(Route.LIST)
    pacer.enter(Route.LIST)
    assert seen == [pytest.approx(1.04)]
