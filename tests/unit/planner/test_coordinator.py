"""What Hierophant's lists prove of an instance, and what they do not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.actions import CallRoll, Move, Plan
from magister.domain.instance import Held, Learned
from magister.domain.observed import Roster
from magister.domain.spec import View
from magister.onstart.callback_url import Endpoint
from magister.planner.coordinator import called_out, dead, living
from magister.planner.plan import plan
from magister.states import Reason, State
from tests.builders import ADDRESS, NOW, a_fleet, a_view, ago, held

GRACE = timedelta(minutes=10)


def missing(*, minutes: float = 11, **facts: object) -> Held:
    """Return a verified row that Hierophant has not listed for so long."""
    return replace(held(), **{"off_roster_since": ago(minutes=minutes), "roster_deaths": 0} | facts)  # type: ignore[arg-type] # names are Held's


def listed(**facts: object) -> Held:
    """Return a verified row that the last roster has."""
    return replace(held(), **{"on_roster_at": NOW, "roster_deaths": 0} | facts)  # type: ignore[arg-type] # names are Held's


def planned(*rows: Held, view: View | None = None) -> Plan:
    return plan(a_fleet(target=len(rows)), rows, view or a_view(roster_at=NOW), NOW)


def moves(*rows: Held, view: View | None = None) -> list[tuple[Held, State, Reason]]:
    """Return what is done with the rows after a roster that came just now."""
    actions = planned(*rows, view=view).actions
    return [(one.row, one.to, one.reason) for one in actions if isinstance(one, Move)]


def heard(row: Held, *, living: bool = False, deaths: int = 0) -> Held:
    """Return `row` after a roster that was asked for now."""
    learned: dict[str, object] = {**called_out(row, living=living, deaths=deaths, begun_at=NOW)}
    return replace(row, **learned)  # type: ignore[arg-type] # what is learned of a worker is all Held's


def test_workers_are_told_by_the_offers_and_keys_in_their_addresses() -> None:
    roster = Roster(
        NOW,
        frozenset({f"{ADDRESS}/drop/5", "http://older/drop/6?key=ab", "nonsense"}),
        {f"{ADDRESS}/drop/5": 2, "http://older/drop/5": 1, "": 4},
    )
    assert living(roster) == {Endpoint(5, None), Endpoint(6, "ab")}
    assert dead(roster) == {Endpoint(5, None): 3}


def test_a_worker_whose_entry_among_the_dead_is_new_since_it_verified_goes() -> None:
    row = heard(heard(held(State.CREATED)), deaths=0)
    row = heard(replace(row, state=State.VERIFIED, verified_at=NOW), deaths=1)
    assert moves(row) == [(row, State.DROPPING, Reason.COORDINATOR)]


def test_entries_from_before_it_verified_are_none_of_its_own() -> None:
    row = heard(held(State.CREATED), deaths=2)
    row = heard(replace(row, state=State.VERIFIED, verified_at=NOW), deaths=2)
    assert moves(row) == []


def test_the_first_roster_after_a_worker_verified_proves_nothing_against_it() -> None:
    assert heard(held(), deaths=1).declared_dead_at is None


def test_a_worker_that_is_among_the_living_as_well_has_come_back() -> None:
    row = heard(held(roster_deaths=0), living=True, deaths=1)
    assert moves(row) == []
    assert heard(row, deaths=1).declared_dead_at is None


def test_the_word_of_hierophant_is_carried_out_for_all_at_once() -> None:
    rows = [replace(missing(minutes=1), declared_dead_at=NOW) for _ in range(6)]
    assert [row for row, _, reason in moves(*rows) if reason is Reason.COORDINATOR] == rows


def test_one_that_is_missing_for_the_grace_while_others_are_listed_goes() -> None:
    row = missing()
    assert moves(row, listed(), listed()) == [(row, State.DROPPING, Reason.FORGOTTEN)]
    assert moves(missing(minutes=9), listed(), listed()) == []


def test_the_grace_begins_anew_with_a_worker_that_verified_since() -> None:
    assert moves(missing(verified_at=ago(minutes=5)), listed(), listed()) == []


def test_a_hierophant_out_of_reach_proves_nothing() -> None:
    old = a_view(roster_at=ago(minutes=10))
    assert moves(missing(), listed(), view=old) == []
    assert moves(missing(), listed(), view=a_view(roster_at=None)) == []


def test_a_fresh_heartbeat_outweighs_what_hierophant_lists() -> None:
    beats, silent = missing(beaten_at=ago(seconds=30), beat_secs=60), missing()
    assert moves(beats, silent, listed(), listed()) == [(silent, State.DROPPING, Reason.FORGOTTEN)]
    assert moves(replace(beats, beaten_at=ago(seconds=179)), listed(), listed()) == []


def test_a_heartbeat_that_is_three_intervals_old_outweighs_nothing() -> None:
    beats = missing(beaten_at=ago(seconds=180), beat_secs=60)
    assert moves(beats, listed(), listed()) == [(beats, State.DROPPING, Reason.FORGOTTEN)]


def test_where_none_is_listed_the_canary_takes_the_place_of_one_that_does_not_beat() -> None:
    beating = [missing(beaten_at=ago(seconds=30), beat_secs=60, price=900_000) for _ in range(3)]
    assert moves(*beating, silent := missing()) == [(silent, State.DROPPING, Reason.FORGOTTEN)]


def test_where_none_is_listed_and_all_beat_it_is_the_wrong_list_and_costs_nothing() -> None:
    assert moves(*[missing(beaten_at=ago(seconds=30), beat_secs=60, minutes=30) for _ in range(4)]) == []


def test_an_instance_that_beats_is_not_forgotten_while_nobody_could_hear_it() -> None:
    beats = missing(beaten_at=ago(minutes=20), beat_secs=60)
    for since in (None, ago(seconds=30)):
        view = a_view(roster_at=NOW, hearing_since=since)
        assert moves(beats, listed(), listed(), view=view) == []


def test_the_word_of_hierophant_that_a_worker_is_dead_passes_a_heartbeat() -> None:
    row = missing(beaten_at=ago(seconds=30), beat_secs=60, declared_dead_at=NOW)
    assert moves(row, listed(), listed()) == [(row, State.DROPPING, Reason.COORDINATOR)]


def test_a_hierophant_that_lists_none_of_ours_is_met_by_one_canary() -> None:
    rows = [missing() for _ in range(4)]
    assert moves(*rows) == [(rows[0], State.DROPPING, Reason.FORGOTTEN)]


@pytest.mark.parametrize(
    "answer",
    [
        held(State.DROPPING, reason=Reason.FORGOTTEN, destroys=1, called_at=NOW, due_at=NOW + GRACE),
        held(State.CREATED, requested_at=ago(minutes=1), verify_by=NOW + GRACE),
        held(State.VERIFIED, requested_at=ago(minutes=9), off_roster_since=ago(minutes=2)),
    ],
    ids=["makes room", "boots", "has just verified"],
)
def test_the_others_wait_for_what_becomes_of_the_canary(answer: Held) -> None:
    assert moves(answer, *[missing() for _ in range(3)]) == []


def test_a_canary_that_does_not_appear_either_proves_that_it_is_the_wrong_list() -> None:
    canary = missing(requested_at=ago(minutes=13), verified_at=ago(minutes=11), minutes=11)
    assert moves(canary, *[missing(minutes=30) for _ in range(3)]) == []


def test_once_the_canary_is_listed_the_rest_are_stale_and_go_at_once() -> None:
    rows = [missing(minutes=30) for _ in range(4)]
    canary = listed(requested_at=ago(minutes=15), verified_at=ago(minutes=12))
    view = a_view(roster_at=NOW, canary_at=ago(minutes=15))
    assert [row for row, _, reason in moves(canary, *rows, view=view) if reason is Reason.FORGOTTEN] == rows


def test_presence_counts_as_verification_if_an_earlier_roster_lacked_it() -> None:
    row = heard(heard(held(State.CREATED, verify_by=NOW + GRACE)), living=True)
    assert moves(row) == [(row, State.VERIFIED, Reason.ENROLLED)]


def test_an_entry_that_was_there_before_may_be_of_another_worker() -> None:
    row = heard(held(State.CREATED, verify_by=NOW + GRACE), living=True)
    assert moves(row) == []


def test_a_worker_can_be_listed_before_the_answer_to_its_create_comes() -> None:
    row = heard(heard(held(State.REQUESTED, sends=1, unanswered=1)), living=True)
    assert moves(row) == [(row, State.VERIFIED, Reason.ENROLLED)]


def test_a_roster_is_called_when_it_is_due_and_only_if_that_is_wanted() -> None:
    fleet, every = a_fleet(target=0), timedelta(seconds=60)
    assert CallRoll("the poll of Hierophant") not in plan(fleet, (), a_view(), NOW).actions
    polling = replace(fleet, roster_every=every)
    assert CallRoll("the poll of Hierophant") in plan(polling, (), a_view(), NOW).actions
    called = plan(polling, (), a_view(roster_tried_at=ago(seconds=59)), NOW)
    assert CallRoll("the poll of Hierophant") not in called.actions
    assert called.next_at == NOW + timedelta(seconds=1)


def test_what_is_learned_of_a_worker_that_is_listed_is_exact() -> None:
    row = missing(declared_dead_at=ago(minutes=1))
    assert called_out(row, living=True, deaths=3, begun_at=NOW) == Learned(
        off_roster_since=None, declared_dead_at=None, roster_deaths=3, on_roster_at=NOW
    )
