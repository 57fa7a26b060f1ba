"""How long an instance is expected to work, from how long others did."""

from hypothesis import given
from hypothesis import strategies as st

from magister.domain.risk.life_expectancy import (
    MEAN_LIVES,
    SHARES,
    Lives,
    among,
    classify,
    count,
    expected_life,
    shares,
)

HOUR = 3600.0
WORKS = Lives(worked=24 * HOUR, ended=2)
SOON_ENDS = Lives(worked=600.0, ended=2)


def test_before_anything_is_known_half_a_day_is_expected() -> None:
    assert shares([]) == SHARES
    assert sum(SHARES) == 1
    assert 11 * HOUR < expected_life(SHARES) < 13 * HOUR


def test_machines_that_were_never_tried_change_nothing() -> None:
    assert shares([Lives()] * 9) == SHARES


def test_the_shares_tell_two_kinds_of_machines_apart() -> None:
    found = shares([WORKS] * 30 + [SOON_ENDS] * 10)
    soon = sum(share for share, mean in zip(found, MEAN_LIVES, strict=True) if mean < HOUR)
    assert 0.2 < soon < 0.3
    assert expected_life(classify(found, SOON_ENDS)) < HOUR
    assert expected_life(classify(found, WORKS)) > 6 * HOUR


def test_a_machine_of_a_host_with_bad_ones_is_expected_to_be_bad_as_well() -> None:
    found = shares([WORKS] * 30 + [SOON_ENDS] * 10)
    bad = classify(found, SOON_ENDS)
    alone, two, four = (expected_life(among(found, count([bad] * number), but=bad)) for number in (1, 3, 5))
    assert alone > two > four
    assert two > alone / 3, "it is not known to be bad"


def test_an_instance_that_still_works_makes_a_long_life_likelier() -> None:
    lasting = [expected_life(classify(SHARES, Lives(worked=hours * HOUR))) for hours in (0, 1, 10, 100)]
    assert lasting == sorted(lasting)


@given(
    st.lists(
        st.builds(Lives, worked=st.floats(0, 1e9), ended=st.floats(0, 1e4)),
        max_size=5,
    )
)
def test_shares_are_shares_whatever_was_lived(lives: list[Lives]) -> None:
    found = shares(lives)
    assert abs(sum(found) - 1) < 1e-9
    for one in lives:
        assert MEAN_LIVES[0] <= expected_life(classify(found, one)) * (1 + 1e-9)
