"""A callback URL says which instance it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.domain.observed import LARGEST_ID
from magister.onstart import script
from magister.onstart.callback_url import Endpoint, read
from magister.settings.model import Settings

PREFIX = "http://magister.example:8555/drop/"


@given(
    offer_id=st.integers(1, LARGEST_ID), key=st.none() | st.text("0123456789abcdef", min_size=1, max_size=48)
)
def test_the_endpoint_that_a_worker_is_given_is_read_back(offer_id: int, key: str | None) -> None:
    settings = Settings.model_construct(this_magister_addr="http://magister.example:8555")
    assert read(script.drop_url(settings, offer_id, key)) == Endpoint(offer_id, key)


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        (f"{PREFIX}7?key=ab12&beat=1", "ab12"),
        (f"{PREFIX}7?monkey=ab12", None),
        (f"{PREFIX}7?", None),
        ("https://older.example/drop/7", None),
        ("http://proxy.example:80/magister/drop/7?key=ab12", "ab12"),
    ],
)
def test_whatever_address_an_instance_was_rented_with_offer_and_key_count(
    endpoint: str, key: str | None
) -> None:
    assert read(endpoint) == Endpoint(7, key)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        PREFIX,
        "http://magister.example:8555/dropped/7",
        "http://magister.example:8555/verify/7",
        f"x{PREFIX}7",
        f"{PREFIX}0",
        f"{PREFIX}-7",
        f"{PREFIX}+7",
        f"{PREFIX}7/",
        f"{PREFIX}7/8",
        f"{PREFIX}7#8",
        f"{PREFIX} 7",
        f"{PREFIX}\N{ARABIC-INDIC DIGIT SEVEN}",
        f"{PREFIX}{LARGEST_ID + 1}",
        f"{PREFIX}{'9' * 100_000}",
        "7",
    ],
    ids=lambda endpoint: repr(endpoint[-30:]),
)
def test_whatever_else_says_no_offer(endpoint: str) -> None:
    assert read(endpoint) is None
