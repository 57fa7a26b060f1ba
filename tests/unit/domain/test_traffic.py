"""What a listing adds to the traffic of a box: a high-water mark, written in steps, priced as it grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.domain.observed import Sighting
from magister.domain.traffic import KB_PER_GB, MOST_KB, MOST_PRICE, STEP, Traffic, grown, shown, total
from magister.states import State
from tests.builders import NOW, a_sighting, ago, held

GB = KB_PER_GB


def counting(down: object, up: object = None, **facts: object) -> Sighting:
    plain = {"inet_down_billed": down, "inet_up_billed": up, "inet_down_cost": 2_000, "inet_up_cost": 3_000}
    return a_sighting(1, **(plain | facts))


def test_what_a_box_moved_is_priced_each_way() -> None:
    more = grown(held(), counting(6 * GB, 2 * GB), NOW, Traffic())
    assert more == Traffic(6 * GB, 2 * GB, 18_000 * GB)
    assert more.micros == 18_000


def test_only_what_is_beyond_the_mark_is_added_at_the_price_of_today() -> None:
    noted = Traffic(6 * GB, 2 * GB, 18_000 * GB)
    more = grown(held(), counting(7 * GB, 2 * GB, inet_down_cost=50_000), NOW, noted)
    assert more == Traffic(GB, 0, 50_000 * GB)
    assert total((noted, more)).micros == 68_000


@pytest.mark.parametrize("down", [None, 0, 3 * GB, 6 * GB])
def test_null_and_a_count_that_fell_lose_nothing_and_add_nothing(down: int | None) -> None:
    assert grown(held(), counting(down, down), NOW, Traffic(6 * GB, 6 * GB, 1)) is None


def test_a_way_that_fell_takes_nothing_from_the_other() -> None:
    noted = Traffic(6 * GB, 2 * GB, 18_000 * GB)
    assert grown(held(), counting(GB, 3 * GB), NOW, noted) == Traffic(0, GB, 3_000 * GB)
    assert grown(held(), counting(7 * GB, 0), NOW, noted) == Traffic(GB, 0, 2_000 * GB)


def test_a_running_box_is_noted_in_steps_and_any_other_to_the_last_kilobyte() -> None:
    noted = Traffic(GB, 0, 2_000 * GB)
    little = counting(GB + STEP - 1, 0)
    assert grown(held(), little, NOW, noted) is None
    assert grown(held(), counting(GB + STEP, 0), NOW, noted) is not None
    assert grown(held(State.DROPPING), little, NOW, noted) is not None
    assert grown(held(), counting(GB + 1, actual_status="exited"), NOW, noted) == Traffic(1, 0, 2_000)


def test_what_has_no_price_waits_for_one() -> None:
    assert grown(held(), counting(GB, GB, inet_up_cost=None), NOW, Traffic()) == Traffic(GB, 0, 2_000 * GB)
    later = grown(held(), counting(GB, GB), NOW, Traffic(GB, 0, 2_000 * GB))
    assert later == Traffic(0, GB, 3_000 * GB)


@pytest.mark.parametrize("facts", [{"inet_down_billed": MOST_KB + 1}, {"inet_down_cost": MOST_PRICE + 1}])
def test_what_no_box_can_have_moved_is_not_believed(facts: dict[str, object]) -> None:
    assert grown(held(), counting(GB, **facts), NOW, Traffic()) is None


def test_the_most_that_is_believed_fits_a_column() -> None:
    most = counting(MOST_KB, MOST_KB, inet_down_cost=MOST_PRICE, inet_up_cost=MOST_PRICE)
    more = grown(held(), most, NOW, Traffic())
    assert more is not None
    assert more.fractions < 2**63


def test_a_sighting_older_than_what_is_known_adds_nothing() -> None:
    assert grown(held(last_seen_at=NOW), counting(GB), ago(seconds=1), Traffic()) is None
    gone = held(State.DESTROYED, last_seen_at=ago(minutes=9), destroyed_at=NOW)
    assert grown(gone, counting(GB), ago(seconds=1), Traffic()) is None


def test_a_box_that_moved_nothing_is_not_looked_up() -> None:
    assert not shown(counting(None, None))
    assert not shown(counting(0, 0))
    assert shown(counting(None, 1))


@given(readings=st.lists(st.none() | st.integers(0, 9 * GB), max_size=30))
def test_whatever_listings_say_the_count_only_grows_and_ends_near_the_highest(
    readings: list[int | None],
) -> None:
    noted = Traffic()
    for reading in readings:
        more = grown(held(), counting(reading), NOW, noted)
        if more is not None:
            assert more.down_kb > 0
            noted = total((noted, more))
    highest = max((reading or 0 for reading in readings), default=0)
    assert highest - STEP < noted.down_kb <= highest
    assert noted.fractions == 2_000 * noted.down_kb
