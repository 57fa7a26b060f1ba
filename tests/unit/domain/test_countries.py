"""Countries are known by their codes, and a place by the code at its end."""

import pytest

from magister.domain.countries import COUNTRIES, code_in, objection


def test_every_code_is_two_capitals() -> None:
    assert {code for code in COUNTRIES if len(code) == 2 and code.isupper() and code.isascii()} == COUNTRIES
    assert len(COUNTRIES) == 250


@pytest.mark.parametrize(
    ("code", "right"), [("UK", "GB"), ("EU", "DE, FR, SE"), ("EL", "GR"), ("XX", "ISO 3166"), ("SU", "list")]
)
def test_a_code_of_no_country_is_answered_with_the_right_one(code: str, right: str) -> None:
    assert right in str(objection(code))


@pytest.mark.parametrize("code", ["SE", "NO", "GB", "GR", "US", "XK"])
def test_a_country_is_one(code: str) -> None:
    assert objection(code) is None


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("Oslo, NO", "NO"),
        (", US", "US"),
        ("US", "US"),
        ("Sweden, se \n", "SE"),
        ("Washington, D.C., US", "US"),
        ("Sweden", None),
        ("Rio de Ja", None),
        ("Oslo, NO, Norway", None),
        ("", None),
        (None, None),
    ],
)
def test_a_place_ends_with_the_code_of_its_country(place: str | None, code: str | None) -> None:
    assert code_in(place) == code
