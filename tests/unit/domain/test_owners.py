"""Which instances another Magister rented, and which are kept although nobody hears them."""

import pytest

from magister.domain.instance import Held
from magister.domain.observed import Foreign, Sighting, Stranger
from magister.domain.owners import SPARED_FOR, Tenure, owner_in, shown, spared, told_apart
from magister.planner.adoption import adoptable
from magister.states import Reason, State
from tests.builders import ADDRESS, NOW, a_fleet, a_sighting, ago, held

MINE, THEIRS = "a" * 12, "b" * 12
CHANCE = "0123456789abcdef01"
FORMER_KEY = "c" * 32


def box(key: str, contract: int = 7, /, **facts: object) -> Stranger:
    plain = {"label": f"magister:{key}", "onstart": f"X={ADDRESS}/drop/1", "start_date": ago(minutes=1)}
    return Stranger(a_sighting(contract, **plain | facts))


def foreign(
    *strangers: Stranger, since: object = ago(minutes=5), kin: frozenset[str] = frozenset({MINE})
) -> tuple[Foreign, ...]:
    fleet = a_fleet()
    ours = {one.sighting.contract_id for one in strangers if adoptable(one, fleet)}
    left, found = told_apart(strangers, ours, Tenure(since=since, kin=kin))  # type: ignore[arg-type] # a moment or None
    assert len(left) + len(found) == len(strangers)
    return found


def test_a_key_names_its_owner_by_its_length() -> None:
    assert owner_in(MINE + CHANCE) == MINE
    assert owner_in(FORMER_KEY) is None
    assert owner_in("") is None
    assert (shown(MINE), shown(None)) == ("a" * 8, "unknown")


@pytest.mark.parametrize("key", [MINE + CHANCE, THEIRS + CHANCE, FORMER_KEY])
def test_a_version_without_owner_ids_reads_each_key_as_one(key: str) -> None:
    found = adoptable(box(key), a_fleet())
    assert found is not None
    assert found.key == key


def test_what_was_there_before_anybody_acted_is_nobody_elses() -> None:
    assert foreign(box(THEIRS + CHANCE), box(FORMER_KEY, 8), since=None) == ()


@pytest.mark.parametrize(
    ("key", "owner"), [(THEIRS + CHANCE, THEIRS), (FORMER_KEY, None), (MINE + CHANCE, MINE)]
)
def test_what_appears_while_we_act_and_was_not_asked_for_is_anothers(key: str, owner: str | None) -> None:
    assert foreign(box(key)) == (Foreign(7, owner),)


def test_an_older_tools_instance_that_appears_is_anothers() -> None:
    assert foreign(box("", label="magister")) == (Foreign(7, None),)


@pytest.mark.parametrize("key", [MINE + CHANCE, FORMER_KEY])
def test_one_that_a_listing_lacked_at_first_is_ours_by_its_date_and_a_known_owner(key: str) -> None:
    assert foreign(box(key, start_date=ago(hours=1))) == ()


def test_a_date_from_before_makes_nobody_ours_whose_owner_we_never_knew() -> None:
    assert foreign(box(THEIRS + CHANCE, start_date=ago(hours=1))) == (Foreign(7, THEIRS),)


def test_without_a_date_it_is_what_it_appears_to_be() -> None:
    assert foreign(box(MINE + CHANCE, start_date=None)) == (Foreign(7, MINE),)


@pytest.mark.parametrize(
    "facts", [{"label": "training"}, {"onstart": None}, {"onstart": f"X={ADDRESS}1/drop/1"}]
)
def test_what_is_not_under_our_label_and_address_is_not_told_of(facts: dict[str, object]) -> None:
    assert foreign(box(THEIRS + CHANCE, **facts)) == ()


def test_a_twin_is_no_others_for_it_bears_the_key_of_a_row() -> None:
    twin = Stranger(
        Sighting(contract_id=8, label=f"magister:{MINE}{CHANCE}", onstart=f"X={ADDRESS}/drop/1"), twin=True
    )
    assert foreign(twin) == ()


def taken_over(**facts: object) -> Held:
    plain = {"key": THEIRS + CHANCE, "reason": Reason.ADOPTED, "moved_at": ago(minutes=10)}
    return held(**plain | facts)  # type: ignore[arg-type] # names are Held's


def kept(*rows: Held, contested: bool = False, trusted: object = None) -> bool:
    found = spared(rows, MINE, NOW, contested=contested, trusted_at=trusted)  # type: ignore[arg-type] # a moment or None
    return bool(found)


@pytest.mark.parametrize("state", [State.CREATED, State.VERIFIED])
def test_what_was_taken_over_and_is_not_heard_may_have_another_keeper(state: State) -> None:
    assert kept(taken_over(state=state))


def test_one_worker_that_is_heard_shows_that_they_call_here() -> None:
    assert not kept(taken_over(), taken_over(beaten_at=ago(minutes=1)))
    assert not kept(taken_over(), held(reason=Reason.CALLED))


def test_after_an_hour_it_is_ours_unless_another_rents() -> None:
    old = taken_over(moved_at=NOW - SPARED_FOR)
    assert not kept(old)
    assert kept(old, contested=True)


def test_the_word_of_the_operator_ends_it() -> None:
    assert not kept(taken_over(), trusted=ago(minutes=1))
    assert kept(taken_over(), trusted=ago(minutes=11))


@pytest.mark.parametrize("facts", [{"key": MINE + CHANCE}, {"key": FORMER_KEY}, {"reason": Reason.RENTED}])
def test_nothing_else_is_spared(facts: dict[str, object]) -> None:
    assert not kept(taken_over(**facts))
