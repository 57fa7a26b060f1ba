"""How boldly to rent after what became of the last rentals."""

from datetime import timedelta

import pytest

from magister.outlook import Caution, Outlook, Verdict
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
