"""For which boxes an account must vouch before it is believed."""

import pytest

from magister.domain.instance import Held
from magister.states import State
from magister.store.account import at_stake
from tests.builders import held

OURS, ANOTHER = 4242, 777
DOUBTED = held(State.REQUESTED, sends=1, unanswered=1)
ACKED = held(State.DROPPING, destroys=1, destroy_acked=True)


@pytest.mark.parametrize("row", [DOUBTED, held(State.CREATED), held(), held(State.DROPPING), ACKED])
def test_another_account_must_show_a_box_wherever_one_may_exist(row: Held) -> None:
    assert at_stake([row], OURS, ANOTHER) == (row,)


@pytest.mark.parametrize("row", [held(State.REQUESTED), held(State.DESTROYED)])
def test_what_was_never_sent_or_is_gone_is_on_no_account(row: Held) -> None:
    assert at_stake([row], OURS, ANOTHER) == ()
    assert at_stake([row], OURS, None) == ()


@pytest.mark.parametrize("known", [(OURS, None), (None, OURS), (None, None)])
@pytest.mark.parametrize(
    ("row", "must"),
    [
        (DOUBTED, False),
        (held(State.CREATED), True),
        (held(), True),
        (held(State.DROPPING), True),
        (ACKED, False),
    ],
)
def test_one_that_is_not_known_must_show_what_ought_to_be_listed(
    row: Held, must: bool, known: tuple[int | None, int | None]
) -> None:
    assert bool(at_stake([row], *known)) is must
