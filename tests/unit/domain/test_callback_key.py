"""Keys that prove for whom a callback URL was made."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from magister.domain import callback_key
from magister.domain.observed import LARGEST_ID

OFFERS = st.integers(1, LARGEST_ID)
CHANCES = st.text("0123456789abcdef", min_size=16, max_size=16)
SECRET = "5" * 64


@given(offer=OFFERS, chance=CHANCES)
def test_a_key_is_hex_begins_with_chance_and_is_signed(offer: int, chance: str) -> None:
    key = callback_key.make(SECRET, offer, chance)
    assert len(key) == callback_key.DIGITS
    assert key.startswith(chance)
    assert set(key) <= set("0123456789abcdef")
    assert callback_key.is_signed(SECRET, offer, key)


@given(offer=OFFERS, other=OFFERS, chance=CHANCES, digit=st.integers(0, callback_key.DIGITS - 1))
def test_a_key_of_another_offer_or_secret_or_with_one_digit_changed_is_not_signed(
    offer: int, other: int, chance: str, digit: int
) -> None:
    key = callback_key.make(SECRET, offer, chance)
    changed = key[:digit] + ("0" if key[digit] != "0" else "1") + key[digit + 1 :]
    assert callback_key.is_signed(SECRET, other, key) == (offer == other)
    assert not callback_key.is_signed("6" * 64, offer, key)
    assert not callback_key.is_signed(SECRET, offer, changed)


@given(text=st.text(max_size=64))
def test_whatever_stands_in_a_url_is_compared_without_an_error(text: str) -> None:
    assert not callback_key.is_signed(SECRET, 404, text)


def test_a_key_from_before_is_the_one_that_instances_were_rented_with() -> None:
    token = SecretStr("token-of-the-operator")
    assert callback_key.former(token, "a" * 32) == "9e855a77dd53c01891218f72ce2d27c7"
    assert not callback_key.is_signed(SECRET, 404, callback_key.former(token, "a" * 32))
