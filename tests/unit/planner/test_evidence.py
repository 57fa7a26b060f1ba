"""What a listing changes in what is known of one row."""

from datetime import timedelta

import pytest

from magister.planner import evidence
from magister.states import State
from tests.builders import NOW, a_fleet, a_sighting, ago, held

FLEET = a_fleet()


def test_absence_before_the_judgement_begins_says_nothing() -> None:
    assert evidence.missing(held(judge_from=NOW), ago(seconds=1), FLEET) == {}


@pytest.mark.parametrize("row", [{}, {"sends": 1, "unanswered": 1}], ids=["never sent", "answer awaited"])
def test_absence_says_nothing_of_a_row_that_has_no_moment_to_judge_from(row: dict[str, object]) -> None:
    assert evidence.missing(held(State.REQUESTED, judge_from=None, **row), NOW, FLEET) == {}


@pytest.mark.parametrize("state", [State.REQUESTED, State.DROPPING])
def test_a_row_that_was_sent_and_awaits_no_answer_is_judged_after_the_grace(state: State) -> None:
    row = held(state, contract_id=None, sends=1, judge_from=None, absences=1, absent_since=ago(seconds=9))
    learned = evidence.missing(row, NOW, FLEET)
    assert learned == {"judge_from": NOW + FLEET.create_grace, "absences": 0, "absent_since": None}


def test_absences_are_counted_listing_by_listing() -> None:
    first = evidence.missing(held(), NOW, FLEET)
    assert first == {"absences": 1, "absent_since": NOW}
    later = held(absences=1, absent_since=NOW)
    assert evidence.missing(later, NOW, FLEET) == {}, "the same listing counts once"
    assert evidence.missing(later, NOW + timedelta(seconds=5), FLEET) == {"absences": 2}


def test_a_destroyed_row_is_absent_by_nature() -> None:
    assert evidence.missing(held(State.DESTROYED), NOW, FLEET) == {}


def test_being_seen_ends_every_suspicion() -> None:
    row = held(absences=2, absent_since=ago(seconds=9), looked_gone_at=ago(seconds=1))
    learned = evidence.seen(row, a_sighting(row.contract_id or 0), NOW, FLEET)
    assert (learned["absences"], learned["absent_since"], learned["looked_gone_at"]) == (0, None, None)


def test_the_first_sighting_ends_the_grace_for_lagging_listings() -> None:
    row = held(State.CREATED, first_seen_at=None, judge_from=NOW + timedelta(minutes=5))
    learned = evidence.seen(row, a_sighting(1), NOW, FLEET)
    assert learned["judge_from"] == learned["first_seen_at"] == NOW


def test_but_never_makes_a_listing_count_that_began_before_the_last_destroy() -> None:
    called = NOW + timedelta(seconds=2)
    row = held(State.DROPPING, first_seen_at=None, called_at=called, judge_from=called)
    assert evidence.seen(row, a_sighting(1), NOW, FLEET)["judge_from"] == called


def test_sickness_is_counted_from_its_first_sighting() -> None:
    sick = evidence.seen(held(), a_sighting(1, actual_status="offline"), NOW, FLEET)
    assert sick["sick_since"] == NOW
    still = held(sick_since=ago(minutes=3))
    assert evidence.seen(still, a_sighting(1, actual_status="unknown"), NOW, FLEET)["sick_since"] == ago(
        minutes=3
    )
    assert evidence.seen(still, a_sighting(1), NOW, FLEET)["sick_since"] is None


@pytest.mark.parametrize("status", ["loading", "created"])
def test_the_verification_clock_stands_while_the_box_is_made(status: str) -> None:
    row = held(
        State.CREATED,
        created_at=ago(seconds=100),
        verify_by=NOW + timedelta(seconds=80),
        last_seen_at=ago(seconds=30),
    )
    learned = evidence.seen(row, a_sighting(1, actual_status=status), NOW, FLEET)
    assert learned["verify_by"] == NOW + timedelta(seconds=110)


def test_a_null_status_does_not_stop_the_verification_clock() -> None:
    row = held(State.CREATED, created_at=ago(seconds=100), verify_by=NOW, actual_status=None)
    assert evidence.seen(row, a_sighting(1, actual_status=None), NOW, FLEET)["verify_by"] == NOW


def test_the_verification_clock_stands_for_the_grace_at_most() -> None:
    limit = ago(seconds=700) + timedelta(seconds=780)
    row = held(State.CREATED, created_at=ago(seconds=700), verify_by=limit, last_seen_at=ago(seconds=30))
    assert evidence.seen(row, a_sighting(1, actual_status="loading"), NOW, FLEET)["verify_by"] == limit


def test_a_destroyed_box_that_is_seen_again_asks_for_the_loop() -> None:
    row = held(State.DESTROYED, destroyed_at=ago(minutes=1))
    assert evidence.seen(row, a_sighting(1), NOW, FLEET)["due_at"] == NOW
    assert "due_at" not in evidence.seen(row, a_sighting(1), ago(minutes=2), FLEET)


def test_a_null_never_overwrites_a_fact() -> None:
    learned = evidence.seen(held(), a_sighting(1, price=None, machine_id=None), NOW, FLEET)
    assert not {"price", "machine_id", "host_id", "gpu_name"} & set(learned)


class TestAClockThatWasSetBack:
    LATER = NOW + timedelta(hours=2)

    def test_what_is_due_later_than_it_can_be_is_due_now(self) -> None:
        row = held(State.DROPPING, due_at=self.LATER, called_at=self.LATER, judge_from=self.LATER)
        learned = evidence.turned_back(row, NOW, FLEET)
        assert (learned["due_at"], learned["called_at"], learned["judge_from"]) == (NOW, NOW, NOW)

    def test_a_grace_is_at_most_a_whole_one(self) -> None:
        row = held(State.CREATED, judge_from=self.LATER, verify_by=self.LATER)
        learned = evidence.turned_back(row, NOW, FLEET)
        assert learned["judge_from"] == NOW + FLEET.create_grace
        assert learned["verify_by"] == NOW + FLEET.verify_within + FLEET.provisioning_grace

    def test_no_suspicion_outlives_the_time_it_was_counted_in(self) -> None:
        row = held(absences=1, absent_since=self.LATER, sick_since=self.LATER, looked_at=self.LATER)
        learned = evidence.turned_back(row, NOW, FLEET)
        assert (learned["absences"], learned["absent_since"]) == (0, None)
        assert (learned["sick_since"], learned["looked_at"]) == (NOW, None)

    def test_a_sighting_from_later_is_one_from_now(self) -> None:
        assert evidence.turned_back(held(last_seen_at=self.LATER), NOW, FLEET)["last_seen_at"] == NOW

    def test_nothing_else_changes(self) -> None:
        row = held(judge_from=ago(minutes=1))
        assert evidence.turned_back(row, NOW, FLEET) == {"judge_from": ago(minutes=1)}


def test_a_box_seen_after_its_acknowledged_destroy_is_due_again() -> None:
    row = held(State.DROPPING, destroy_acked=True, called_at=ago(seconds=9), destroys=2)
    learned = evidence.seen(row, a_sighting(1), NOW, FLEET)
    assert learned["due_at"] == ago(seconds=9) + FLEET.destroy_waits[1]
