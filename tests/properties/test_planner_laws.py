"""Laws of one plan, whatever the rows, the listing and the market are."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from magister.domain.actions import Adopt, Move, Rent, Send
from magister.domain.instance import Held
from magister.domain.spec import Fleet, View
from magister.planner.plan import plan
from magister.states import State, legal
from tests.builders import NOW, a_fleet, a_view, an_offer, held

SPANS = st.sampled_from([-900, -600, -181, -31, -6, -1, 0, 1, 30, 300])
MOMENTS = SPANS.map(lambda seconds: NOW + timedelta(seconds=seconds))
STATUSES = st.sampled_from([None, "running", "loading", "created", "exited", "offline", "unknown", "odd"])


@st.composite
def rows(draw: st.DrawFn) -> Held:
    """Draw a row that the store could hold."""
    row = held(draw(st.sampled_from(State)))
    sends = draw(st.integers(0, 2)) if row.state in {State.REQUESTED, State.DROPPING} else 1
    named = sends > 0 and draw(st.booleans())
    return replace(
        row,
        sends=sends,
        unanswered=0 if named else draw(st.integers(0, min(sends, 1))),
        contract_id=row.id + 9000 if named else None,
        doubted_at=draw(st.none() | MOMENTS),
        due_at=draw(st.none() | MOMENTS),
        verify_by=draw(st.none() | MOMENTS),
        absences=draw(st.integers(0, 3)),
        absent_since=draw(st.none() | MOMENTS),
        looked_gone_at=draw(st.none() | MOMENTS),
        called_at=draw(st.none() | MOMENTS),
        destroy_acked=draw(st.booleans()),
        last_seen_at=draw(st.none() | MOMENTS),
        sick_since=draw(st.none() | MOMENTS),
        actual_status=draw(STATUSES),
        price=draw(st.none() | st.integers(0, 10**6)),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Fleet, tuple[Held, ...], View]:
    """Draw everything that a plan is made from."""
    fleet = a_fleet(target=draw(st.integers(0, 6)), surge=draw(st.integers(0, 2)))
    market = tuple(an_offer(price=draw(st.integers(1, 9))) for _ in range(draw(st.integers(0, 8))))
    view = a_view(
        listed_at=draw(st.none() | MOMENTS),
        list_failing=draw(st.booleans()),
        list_not_before=draw(st.none() | MOMENTS),
        listing_wanted_at=draw(st.none() | MOMENTS),
        offers=market,
        searched_at=draw(st.none() | MOMENTS),
        rent_not_before=draw(st.none() | MOMENTS),
        account_at=draw(st.none() | MOMENTS),
    )
    return fleet, tuple(draw(st.lists(rows(), max_size=8))), view


@given(situations())
@settings(max_examples=400)
def test_a_plan_keeps_its_promises(situation: tuple[Fleet, tuple[Held, ...], View]) -> None:
    fleet, held_rows, view = situation
    planned = plan(fleet, held_rows, view, NOW)
    rents = [action for action in planned.actions if isinstance(action, Rent)]
    moves = [action for action in planned.actions if isinstance(action, Move)]
    live = sum(row.live for row in held_rows)

    assert len(rents) <= max(fleet.target + fleet.surge - live, 0), "never beyond what is wanted"
    assert len({rent.offer.machine_id for rent in rents}) == len(rents), "one on each machine"
    touched = Counter(action.row.id for action in planned.actions if hasattr(action, "row"))
    assert all(count == 1 for count in touched.values()), "one action for a row"
    assert all(legal(move.row.state, move.to) for move in moves), "no move the table lacks"
    assert all(action.why for action in planned.actions), "every action says why"
    assert plan(fleet, held_rows, view, NOW) == planned, "the same facts give the same plan"
    if view.listed_at is None or view.list_failing:
        blind = [a for a in planned.actions if isinstance(a, Rent | Send | Adopt)]
        assert blind == [], "nothing is rented without sight"
        assert all(move.row.state is State.DESTROYED for move in moves), "nothing is judged without sight"
    ended = [move for move in moves if move.to is State.DESTROYED and move.row.contract_id is not None]
    assert all(move.row.absences >= 2 and move.row.looked_gone_at for move in ended), "gone needs proof"


@given(situations())
@settings(max_examples=200)
def test_a_plan_is_looked_at_again_later_and_never_at_once(
    situation: tuple[Fleet, tuple[Held, ...], View],
) -> None:
    fleet, held_rows, view = situation
    next_at = plan(fleet, held_rows, view, NOW).next_at
    assert next_at is None or next_at > NOW
