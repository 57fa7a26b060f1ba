"""What the reason of a planned move rests on."""

from magister.domain.actions import RESTS_ON
from magister.domain.instance import Held
from magister.states import Reason

BY_OTHERS = {
    Reason.SHORT,
    Reason.RENTED,
    Reason.CALLED,
    Reason.BEAT,
    Reason.ADOPTED,
    Reason.RESTORED,
    Reason.TWIN,
    Reason.OFFER_GONE,
    Reason.REFUSED,
    Reason.NO_CREDIT,
    Reason.BAD_KEY,
    Reason.STARTED_STOPPED,
    Reason.OPERATOR,
    Reason.LEFT_BEHIND,
}
"""Reasons of moves that are made from an answer or a wish, and never planned."""


def test_every_reason_of_a_planned_move_says_what_it_rests_on() -> None:
    assert set(RESTS_ON) == set(Reason) - BY_OTHERS


def test_a_move_rests_on_columns_that_a_plan_is_made_from() -> None:
    assert {name for names in RESTS_ON.values() for name in names} <= set(Held.__dataclass_fields__)
