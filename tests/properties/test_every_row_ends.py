"""Every row that keeps a place reaches an end by listings, whatever is known of it, if it is gone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from magister.domain.actions import Autopsy, Destroy, Look, Move
from magister.domain.instance import Held
from magister.planner import evidence
from magister.planner.lifecycle import judged
from magister.states import LIVE, State
from tests.builders import NOW, a_fleet, a_view, ago, held

FLEET = a_fleet()
MOMENTS = (None, ago(minutes=10), NOW)


def nameless(state: State) -> Iterator[Held]:
    """Yield rows without a contract: all that was ever known of one together, and more."""
    for sends, unanswered, doubted, judged_from, absences, due, verified in product(
        (0, 1, 2), (0, 1), MOMENTS, MOMENTS, (0, 1, 2), MOMENTS, MOMENTS
    ):
        if unanswered <= sends and (sends or state in {State.REQUESTED, State.DROPPING}):
            yield held(
                state,
                contract_id=None,
                sends=sends,
                unanswered=unanswered,
                doubted_at=doubted,
                judge_from=judged_from,
                absences=absences,
                absent_since=ago(minutes=9) if absences else None,
                due_at=due,
                verified_at=verified,
            )


def named(state: State) -> Iterator[Held]:
    """Yield rows with a contract."""
    for judged_from, seen, absences, looked, destroys, acked, due in product(
        MOMENTS, MOMENTS, (0, 1, 2), MOMENTS, (0, 1), (False, True), MOMENTS
    ):
        if state is State.DROPPING or not (destroys or acked):
            yield held(
                state,
                contract_id=7,
                sends=1,
                judge_from=judged_from,
                first_seen_at=seen,
                last_seen_at=seen,
                absences=absences,
                absent_since=ago(minutes=9) if absences else None,
                looked_gone_at=looked,
                destroys=destroys,
                destroy_acked=acked,
                called_at=ago(minutes=11) if destroys else None,
                due_at=due,
            )


def after(row: Held, now: datetime) -> Held:
    """Return a row after a listing that lacks it, and after what is decided then was carried out."""
    if row.in_flight:  # nobody waits for the answer any more
        row = replace(row, doubted_at=now, judge_from=now + FLEET.create_grace)
    learned: dict[str, Any] = {**evidence.missing(row, now, FLEET)}
    row = replace(row, **learned)
    match judged(row, FLEET, a_view(listed_at=now), now, sighted=True):
        case Move(to=to):
            return replace(row, state=to, due_at=now)
        case Look():
            return replace(row, looked_gone_at=now, looked_at=now)
        case Destroy():
            row = replace(row, absences=0, absent_since=None, looked_gone_at=None, judge_from=now)
            due_at = now + FLEET.destroy_waits[-1]
            return replace(row, destroys=1, destroy_acked=True, called_at=now, due_at=due_at)
        case Autopsy():
            return replace(row, autopsy_at=now)
        case _:
            return row


def ends(row: Held) -> bool:
    for minute in range(60):
        row = after(row, NOW + timedelta(minutes=minute / 2))
        if not row.live:
            return True
    return False


@pytest.mark.parametrize("state", sorted(LIVE))
def test_whatever_is_known_of_a_row_whose_instance_is_gone_it_ends(state: State) -> None:
    known = [*nameless(state), *(named(state) if state is not State.REQUESTED else ())]
    assert len(known) > 500
    assert [row for row in known if not ends(row)] == []
