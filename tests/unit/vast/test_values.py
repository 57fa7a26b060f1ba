"""Vast's loosely typed values are read as what they should be or as nothing."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.vast import values


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        pytest.param(7, 7, id="an integer"),
        pytest.param("7", 7, id="digits"),
        pytest.param(True, None, id="a bool is no id"),
        pytest.param(7.0, None, id="a float is no id"),
        pytest.param("7.0", None, id="a decimal string is no id"),
        pytest.param("\u0667", None, id="digits of another script"),
        pytest.param("", None, id="nothing"),
        pytest.param(0, None, id="zero"),
        pytest.param(-7, None, id="negative"),
        pytest.param(2**63, None, id="too large for a BIGINT"),
        pytest.param("9" * 30, None, id="too many digits"),
        pytest.param(None, None, id="null"),
        pytest.param([7], None, id="a list"),
    ],
)
def test_an_id_is_a_positive_integer_or_its_digits(value: object, taken: int | None) -> None:
    assert values.identity(value) == taken


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        pytest.param(0.31, 310_000, id="a float"),
        pytest.param("0.31", 310_000, id="a numeric string"),
        pytest.param(1, 1_000_000, id="an integer"),
        pytest.param(0.1 + 0.2, 300_000, id="binary noise is rounded away"),
        pytest.param(0.0000005, 1, id="half a micro-dollar rounds up"),
        pytest.param(0, 0, id="free"),
        pytest.param(-0.1, None, id="negative"),
        pytest.param(float("nan"), None, id="NaN"),
        pytest.param(float("inf"), None, id="infinity"),
        pytest.param("Infinity", None, id="infinity as a word"),
        pytest.param(1e300, None, id="absurd"),
        pytest.param(10**400, None, id="an integer beyond every float"),
        pytest.param(True, None, id="a bool"),
        pytest.param({"a": 1}, None, id="an object"),
        pytest.param("cheap", None, id="a word"),
    ],
)
def test_a_price_is_whole_micro_dollars(value: object, taken: int | None) -> None:
    assert values.price(value) == taken


def test_an_amount_may_be_negative() -> None:
    assert values.micros(-1.5) == -1_500_000


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        pytest.param(1_700_000_000.5, datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC), id="unix seconds"),
        pytest.param("1700000000", datetime(2023, 11, 14, 22, 13, 20, 0, UTC), id="unix seconds as a string"),
        pytest.param(0, None, id="zero"),
        pytest.param(-5, None, id="negative"),
        pytest.param(1e18, None, id="beyond the calendar"),
        pytest.param("soon", None, id="a word"),
        pytest.param(None, None, id="null"),
    ],
)
def test_a_moment_is_aware_and_in_utc(value: object, taken: datetime | None) -> None:
    assert values.moment(value) == taken


@pytest.mark.parametrize(
    ("value", "taken"),
    [(8, 8), ("8", 8), (8.0, 8), (0, 0), (8.5, None), (-1, None), (True, None), (2**70, None), ("x", None)],
)
def test_a_whole_number_is_at_least_zero(value: object, taken: int | None) -> None:
    assert values.whole(value) == taken


@pytest.mark.parametrize(("value", "taken"), [(True, True), (0, False), (1, True), (2, None), ("true", None)])
def test_a_flag_may_be_written_as_one_or_zero(value: object, taken: bool | None) -> None:
    assert values.flag(value) is taken


def test_a_text_loses_what_databases_refuse() -> None:
    assert values.text("a\0b\ud800c") == "ab?c"
    assert values.text(5) is None


def test_a_text_of_a_host_can_neither_colour_nor_turn_nor_forge_what_a_terminal_shows() -> None:
    hostile = "\u202e\u001b[31mX\r\x9b2J\u2028ok\n\tend\u2066"
    assert values.text(hostile) == "[31mX2Jok\n\tend"
    assert values.name(hostile) == "[31mX2Jok end"
    assert values.name("RTX 4090") == "RTX 4090"


@pytest.mark.parametrize("read", [values.identity, values.price, values.whole, values.moment, values.text])
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_value_is_too_odd_to_read(read: Callable[[object], object], value: object) -> None:
    read(value)
