"""How boldly to rent after what became of the last rentals."""

from datetime import timedelta

import pytest

from magister.domain.risk.launch_breaker import Caution, Event, Outlook, Verdict, judge
from tests.builders import NOW, ago

USUAL = Caution()


def outlook(told: str, *, minutes_ago: float = 0) -> Outlook:
    """Read verdicts from a text, the newest first: v = verified, x = failed, each rented after the last."""
    return Outlook(
        tuple(
            Verdict(ago(minutes=minutes_ago + n), ago(minutes=minutes_ago + n + 0.5), word == "v")
            for n, word in enumerate(told)
        )
    )


@pytest.mark.parametrize(
    ("told", "minutes"),
    [("x", 0), ("xx", 1), ("xxx", 2), ("xxxx", 5), ("xxxxx", 10), ("xxxxxx", 30), ("x" * 12, 30), ("xv", 0)],
)
def test_each_failure_in_a_row_makes_the_next_try_wait_longer(told: str, minutes: float) -> None:
    assert outlook(told).rent_from(USUAL) == NOW + timedelta(minutes=minutes)


def test_boxes_that_were_rented_together_failed_in_one_try() -> None:
    together = tuple(Verdict(ago(minutes=n), ago(minutes=12), verified=False) for n in range(10))
    assert Outlook(together).rent_from(USUAL) == NOW
    assert Outlook(together).unverified_at_once(20, USUAL, NOW) == 1
    after = (Verdict(NOW, ago(minutes=5), verified=False), *together[6:])
    assert Outlook(after).tries == 2
    assert Outlook(after).rent_from(USUAL) == NOW + timedelta(minutes=1)


@pytest.mark.parametrize("told", ["", "v", "vxxxxx"])
def test_after_a_worker_that_verified_nothing_waits(told: str) -> None:
    assert outlook(told).rent_from(USUAL) is None
    assert outlook(told).unverified_at_once(20, USUAL, NOW) is None


@pytest.mark.parametrize(("target", "bound"), [(1, 2), (8, 2), (20, 5)])
def test_after_a_failure_fewer_boxes_wait_for_their_workers_at_once(target: int, bound: int) -> None:
    assert outlook("x").unverified_at_once(target, USUAL, NOW) == bound


def test_a_failure_is_forgotten_after_half_an_hour() -> None:
    assert outlook("x", minutes_ago=30).unverified_at_once(20, USUAL, NOW) is None


@pytest.mark.parametrize(
    ("told", "tripped"),
    [
        ("xxxx", True),
        ("xxx", False),
        ("xvxxxv", True),
        ("xvvxxx", True),
        ("xvvvxx", False),
        ("vxxxxx", False),
    ],
)
def test_four_failures_of_the_last_six_open_the_breaker_and_one_success_closes_it(
    told: str, tripped: bool
) -> None:
    assert outlook(told).tripped(USUAL) is tripped


def test_an_open_breaker_lets_one_box_at_a_time_be_tried_however_long_ago_it_opened() -> None:
    assert outlook("xxxx", minutes_ago=600).unverified_at_once(20, USUAL, NOW) == 1


def short(number: int, minutes: float, *, excused: bool = False, rented: float | None = None) -> Event:
    """Return the end of a worker so many minutes ago that had verified, in an instance of two minutes."""
    rented_at = ago(minutes=minutes + 2 if rented is None else rented)
    return Event(
        instance=number, at=ago(minutes=minutes), rented_at=rented_at, ended_soon=True, excused=excused
    )


def verified(number: int, minutes: float, *, outlived: float | None = None, on_trial: bool = False) -> Event:
    """Return a worker that verified so many minutes ago; `outlived` = when it had lived long enough."""
    return Event(
        instance=number,
        at=ago(minutes=minutes),
        rented_at=ago(minutes=minutes + 1),
        verified=True,
        outlived_at=None if outlived is None else ago(minutes=outlived),
        on_trial=on_trial,
    )


def told(*events: Event) -> str:
    """Return the verdicts, the newest first, as `outlook` reads them."""
    return "".join("v" if verdict.verified else "x" for verdict in judge(events, NOW).verdicts)


def test_a_short_life_takes_the_place_of_its_verification() -> None:
    assert told(verified(1, 9), short(1, 8), verified(2, 7), short(2, 6)) == "xx"


def test_after_short_lives_a_worker_has_to_live_on_before_it_closes_the_breaker() -> None:
    ended = [event for n in range(4) for event in (verified(n, 29 - n), short(n, 28 - n))]
    trial = judge([*ended, verified(9, 4, on_trial=True)], NOW)
    assert (trial.failures, trial.short_lives, trial.waiting(USUAL)) == (4, 4, 1)
    assert trial.trial_ends(USUAL) == NOW + timedelta(minutes=1)
    lives = judge([*ended, verified(9, 6, outlived=1)], NOW)
    assert (lives.failures, lives.waiting(USUAL), lives.trial_ends(USUAL)) == (0, 0, None)


def test_a_worker_that_outlived_the_threshold_before_a_short_life_proves_nothing_about_it() -> None:
    assert told(verified(1, 20, outlived=15), short(2, 3)) == "xv"
    assert told(verified(1, 7, outlived=2), short(2, 3)) == "vx"


def test_many_losses_at_once_count_only_if_they_follow_an_earlier_short_life() -> None:
    young = [verified(n, 10) for n in range(4)]
    lost = [short(n, 8, excused=True) for n in range(4)]
    assert told(*young, *lost) == "vvvv"
    again = [short(n, 3, excused=True, rented=5) for n in range(4, 8)]
    assert told(*young, *lost, *again) == "xxxxvvvv"
    between = verified(8, 7.5, outlived=5.5)
    assert told(*young, *lost, between, *again) == "vvvvv"


def test_up_to_two_short_lives_are_of_their_machines_and_a_verification_counts_at_once() -> None:
    two = [verified(1, 9), short(1, 8), verified(2, 7), short(2, 6)]
    assert told(*two, verified(3, 2, on_trial=True)) == "vxx"
    assert told(*two, short(4, 5), verified(3, 2, on_trial=True)) == "xxx"
