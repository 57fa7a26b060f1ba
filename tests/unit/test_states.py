"""The table of moves, and the diagram drawn from it."""

import pytest

from magister.states import LIVE, MOVES, WANTED, State, diagram, legal


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, State.DESTROYED),
        (State.CREATED, State.REQUESTED),
        (State.VERIFIED, State.CREATED),
        (State.VERIFIED, State.REQUESTED),
        (State.DROPPING, State.VERIFIED),
        (State.DROPPING, State.CREATED),
        (State.DESTROYED, State.VERIFIED),
        (State.DESTROYED, State.CREATED),
    ],
)
def test_an_instance_never_goes_back_to_life(old: State | None, new: State) -> None:
    assert not legal(old, new)


def test_every_state_but_the_last_leads_to_destroyed() -> None:
    assert all(State.DESTROYED in MOVES[state] for state in LIVE)


def test_what_is_dropping_still_costs_but_is_not_wanted() -> None:
    assert {State.DROPPING} == LIVE - WANTED


def test_the_diagram_shows_each_move_once() -> None:
    arrows = diagram().splitlines()[1:]
    assert len(arrows) == len(set(arrows)) == sum(len(news) for news in MOVES.values())
    assert "    [*] --> requested" in arrows
    assert "    destroyed --> dropping" in arrows
