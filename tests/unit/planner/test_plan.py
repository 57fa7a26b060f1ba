"""What the planner decides for one situation after another; no database, no clock, no Vast."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.actions import Action, CheckAccount, Destroy, List, Look, Move, Rent, Search, Send
from magister.domain.instance import Held
from magister.domain.observed import Stranger
from magister.domain.spec import Fleet, View
from magister.planner.plan import plan
from magister.planner.provisioning import shortage
from magister.planner.schedule import listing_retry
from magister.states import Reason, State
from tests.builders import ADDRESS, NOW, a_fleet, a_sighting, a_view, ago, an_offer, held


def decide(*rows: Held, fleet: Fleet | None = None, view: View | None = None) -> tuple[Action, ...]:
    """Plan for these rows; as many are wanted as there are unless a fleet is given."""
    wanted = fleet or a_fleet(target=sum(row.wanted for row in rows))
    return plan(wanted, rows, view or a_view(), NOW).actions


def test_an_account_that_is_not_known_to_be_ours_is_only_asked() -> None:
    rows = [held(state, absences=2, due_at=ago(seconds=1)) for state in State]
    view = a_view(ours=False, listed_at=None, account=777, offers=(an_offer(),), searched_at=NOW)
    wanted = a_fleet(target=9, bills_every=timedelta(hours=1), account_every=timedelta(seconds=300))
    assert decide(*rows, view=view, fleet=wanted) == (List("no complete listing yet", 777, ours=False),)


def test_a_start_asks_who_answers_before_it_asks_for_a_listing() -> None:
    view = a_view(ours=False, listed_at=None, account_at=None)
    assert [type(action) for action in decide(held(), view=view)] == [CheckAccount]


def test_an_account_that_may_be_another_one_is_asked_for_again_soon() -> None:
    view = a_view(ours=False, listed_at=None, list_not_before=NOW + timedelta(minutes=1))
    asked = [decide(held(), view=replace(view, account_at=ago(seconds=secs))) for secs in (29, 30)]
    assert [[type(action) for action in actions] for actions in asked] == [[], [CheckAccount]]


def test_a_full_healthy_pool_needs_nothing() -> None:
    assert decide(held(), held(State.CREATED, verify_by=NOW + timedelta(minutes=1))) == ()


def test_without_a_listing_only_a_listing_is_planned() -> None:
    rows = (
        held(State.CREATED, verify_by=ago(minutes=5)),
        held(State.VERIFIED, actual_status="exited"),
        held(State.REQUESTED),
    )
    view = a_view(listed_at=None, account_at=NOW)
    assert [type(a) for a in decide(*rows, fleet=a_fleet(target=9), view=view)] == [List]


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.VERIFIED])
def test_a_failing_listing_judges_and_rents_nothing(state: State) -> None:
    row = held(state, absences=5, looked_gone_at=NOW, actual_status="exited", verify_by=ago(hours=1))
    view = a_view(list_failing=True, list_not_before=NOW + timedelta(seconds=10))
    assert decide(row, fleet=a_fleet(target=3), view=view) == ()


def test_an_old_listing_judges_nothing() -> None:
    row = held(actual_status="exited")
    assert [type(a) for a in decide(row, view=a_view(listed_at=ago(seconds=151)))] == [List]


def test_a_failing_listing_does_not_stop_a_destroy() -> None:
    row = held(State.DROPPING, due_at=NOW)
    view = a_view(list_failing=True, list_not_before=NOW + timedelta(seconds=10))
    assert [type(a) for a in decide(row, view=view)] == [Destroy]


class TestRequested:
    def test_a_key_seen_in_a_listing_makes_it_created(self) -> None:
        row = held(State.REQUESTED, contract_id=7, sends=1)
        (action,) = decide(row)
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.CREATED, Reason.FOUND)

    def test_an_unanswered_send_waits_for_two_listings(self) -> None:
        row = held(State.REQUESTED, sends=1, unanswered=1, doubted_at=ago(minutes=10), absences=1)
        assert not any(isinstance(a, Move | Send | Rent) for a in decide(row))

    def test_an_unanswered_send_that_two_listings_lack_never_took_effect(self) -> None:
        row = held(State.REQUESTED, sends=1, unanswered=1, doubted_at=ago(minutes=10), absences=2)
        (action,) = decide(row)
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.DESTROYED, Reason.NEVER_TOOK_EFFECT)

    def test_an_undecided_send_keeps_its_slot(self) -> None:
        row = held(State.REQUESTED, sends=1, unanswered=1, doubted_at=ago(seconds=9))
        view = a_view(offers=(an_offer(),), searched_at=NOW)
        assert not any(isinstance(a, Rent) for a in decide(row, fleet=a_fleet(target=1), view=view))

    def test_an_intent_that_was_never_sent_is_sent(self) -> None:
        row = held(State.REQUESTED, due_at=ago(minutes=1))
        assert [type(a) for a in decide(row)] == [Send]

    def test_a_send_that_was_not_carried_out_waits_for_its_time(self) -> None:
        row = held(State.REQUESTED, sends=1, due_at=NOW + timedelta(seconds=3))
        assert decide(row) == ()

    def test_an_unsent_intent_beyond_the_target_just_ends(self) -> None:
        (action,) = decide(held(State.REQUESTED), fleet=a_fleet(target=0))
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.DESTROYED, Reason.SURPLUS)


class TestCreated:
    def test_the_deadline_drops_it(self) -> None:
        row = held(State.CREATED, verify_by=NOW)
        (action,) = decide(row)
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.DROPPING, Reason.UNVERIFIED)
        assert "did not call /verify within 3600 s" in action.why

    @pytest.mark.parametrize("status", ["loading", "created"])
    def test_the_deadline_waits_while_the_box_is_made(self, status: str) -> None:
        row = held(
            State.CREATED, verify_by=ago(seconds=1), actual_status=status, last_seen_at=ago(seconds=20)
        )
        assert decide(row) == ()

    def test_but_not_once_the_grace_is_used_up(self) -> None:
        row = held(
            State.CREATED, verify_by=ago(seconds=30), actual_status="loading", last_seen_at=ago(seconds=1)
        )
        assert [type(a) for a in decide(row)] == [Move]

    @pytest.mark.parametrize("status", [None, "running", "offline"])
    def test_other_statuses_do_not_stop_the_clock(self, status: str | None) -> None:
        assert [type(a) for a in decide(held(State.CREATED, verify_by=NOW, actual_status=status))] == [Move]

    def test_a_box_that_exited_is_not_waited_for(self) -> None:
        row = held(State.CREATED, verify_by=NOW + timedelta(minutes=2), actual_status="exited")
        (action,) = decide(row)
        assert isinstance(action, Move)
        assert action.reason is Reason.EXITED


class TestGone:
    def test_two_absences_ask_for_a_look(self) -> None:
        row = held(absences=2, absent_since=ago(seconds=5))
        assert decide(row) == (
            Look(row, row.contract_id or 0, f"2 complete listings lack contract {row.contract_id}"),
        )

    def test_two_absences_and_a_look_prove_it(self) -> None:
        (action,) = decide(held(absences=2, absent_since=ago(seconds=5), looked_gone_at=NOW))
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.DESTROYED, Reason.VANISHED)

    def test_one_absence_asks_for_a_second_listing_five_seconds_later(self) -> None:
        row = held(absences=1, absent_since=ago(seconds=4))
        view = a_view(listed_at=ago(seconds=4))
        assert decide(row, view=view) == ()
        assert plan(a_fleet(target=1), (row,), view, NOW).next_at == NOW + timedelta(seconds=1)
        later = plan(a_fleet(target=1), (row,), view, NOW + timedelta(seconds=1)).actions
        assert [type(a) for a in later] == [List]

    def test_a_verified_worker_whose_box_was_never_named_ends_by_listings_alone(self) -> None:
        (action,) = decide(held(contract_id=None, absences=2))
        assert isinstance(action, Move)
        assert action.reason is Reason.VANISHED


class TestDropping:
    def test_it_is_destroyed_when_due(self) -> None:
        row = held(State.DROPPING, due_at=NOW)
        assert [type(a) for a in decide(row)] == [Destroy]

    def test_one_never_tried_is_due_whatever_the_clock_says_that_heard_the_drop(self) -> None:
        row = held(State.DROPPING, due_at=NOW + timedelta(seconds=10))
        assert [type(a) for a in decide(row)] == [Destroy]

    def test_it_is_not_destroyed_before(self) -> None:
        row = held(State.DROPPING, destroys=1, due_at=NOW + timedelta(seconds=2))
        assert decide(row) == ()

    def test_an_acknowledged_destroy_is_not_repeated_but_listed(self) -> None:
        later = NOW + timedelta(minutes=5)
        row = held(State.DROPPING, destroys=1, destroy_acked=True, called_at=NOW, due_at=later)
        assert [type(a) for a in decide(row, view=a_view(listed_at=ago(seconds=2)))] == [List]

    def test_a_box_seen_after_its_destroy_is_destroyed_again(self) -> None:
        row = held(
            State.DROPPING,
            destroy_acked=True,
            called_at=ago(seconds=10),
            last_seen_at=ago(seconds=1),
            due_at=ago(seconds=5),
        )
        assert Destroy in [type(a) for a in decide(row)]

    def test_two_absences_and_a_look_end_it(self) -> None:
        row = held(State.DROPPING, destroy_acked=True, absences=2, looked_gone_at=NOW)
        (action,) = decide(row)
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.DESTROYED, Reason.PROVED_GONE)

    def test_two_absences_without_a_look_do_not(self) -> None:
        row = held(State.DROPPING, destroy_acked=True, absences=2, looked_gone_at=None)
        assert [type(a) for a in decide(row)] == [Look]

    def test_one_never_sent_just_ends(self) -> None:
        row = held(State.DROPPING, contract_id=None, sends=0)
        (action,) = decide(row)
        assert isinstance(action, Move)
        assert (action.to, action.reason) == (State.DESTROYED, Reason.NEVER_SENT)

    def test_one_without_a_contract_waits_for_listings(self) -> None:
        row = held(State.DROPPING, contract_id=None, sends=1, unanswered=1)
        assert decide(row) == ()
        (action,) = decide(held(State.DROPPING, contract_id=None, sends=1, unanswered=1, absences=2))
        assert isinstance(action, Move)
        assert action.reason is Reason.NEVER_TOOK_EFFECT


def test_a_destroyed_box_that_a_listing_shows_again_is_dropped_again() -> None:
    (action,) = decide(held(State.DESTROYED, due_at=NOW), fleet=a_fleet(target=0))
    assert isinstance(action, Move)
    assert (action.to, action.reason) == (State.DROPPING, Reason.REAPPEARED)


class TestSick:
    @pytest.mark.parametrize("status", ["exited", "stopped", "frozen"])
    def test_what_stopped_goes_at_once(self, status: str) -> None:
        (action,) = decide(held(actual_status=status, sick_since=ago(seconds=1)))
        assert isinstance(action, Move)
        assert action.reason is Reason.EXITED

    def test_what_stopped_after_the_account_was_asked_has_it_asked_again(self) -> None:
        assert [type(a) for a in decide(held(actual_status="exited", sick_since=NOW))] == [CheckAccount]

    @pytest.mark.parametrize("status", ["offline", "unknown", None, "rebooting", "new-word"])
    def test_what_is_out_of_reach_goes_after_the_grace(self, status: str | None) -> None:
        assert decide(held(actual_status=status, sick_since=ago(seconds=599))) == ()
        (action,) = decide(held(actual_status=status, sick_since=ago(seconds=600)))
        assert isinstance(action, Move)
        assert action.reason is Reason.OFFLINE

    def test_what_was_taken_over_stays_out_of_reach_while_its_heartbeats_may_go_elsewhere(self) -> None:
        row = held(
            reason=Reason.ADOPTED,
            key="b" * 12 + "0123456789abcdef01",
            moved_at=ago(minutes=20),
            actual_status="unknown",
            sick_since=ago(seconds=601),
        )
        assert decide(row, view=a_view(owner="a" * 12)) == ()
        (action,) = decide(row, view=a_view(owner="b" * 12))
        assert isinstance(action, Move)
        assert action.reason is Reason.OFFLINE

    def test_the_grace_of_a_verified_worker_begins_when_it_verified(self) -> None:
        row = held(actual_status="loading", sick_since=ago(hours=1), verified_at=ago(minutes=1))
        assert decide(row) == ()


class TestSurplus:
    def test_the_newest_unverified_goes_first(self) -> None:
        old, new = held(State.CREATED, verify_by=None), held(State.CREATED, verify_by=None)
        cheap = held()
        (action,) = decide(old, new, cheap, fleet=a_fleet(target=2))
        assert isinstance(action, Move)
        assert (action.row, action.reason) == (new, Reason.SURPLUS)

    def test_then_the_dearest_verified(self) -> None:
        cheap, dear = held(price=100), held(price=900)
        (action,) = decide(cheap, dear, fleet=a_fleet(target=1))
        assert isinstance(action, Move)
        assert action.row == dear

    def test_one_that_a_listing_lacks_costs_none_that_it_shows(self) -> None:
        gone, there = held(absences=1, absent_since=ago(seconds=1)), held(price=900)
        assert decide(gone, there, fleet=a_fleet(target=1)) == ()

    def test_one_without_a_contract_goes_before_one_that_is_known_to_exist(self) -> None:
        doubtful, known = held(contract_id=None, price=1), held(price=900)
        (action,) = decide(doubtful, known, fleet=a_fleet(target=1))
        assert isinstance(action, Move)
        assert action.row == doubtful

    def test_what_goes_anyway_is_not_counted_twice(self) -> None:
        dead, well = held(actual_status="exited"), held()
        assert [a.row for a in decide(dead, well, fleet=a_fleet(target=1)) if isinstance(a, Move)] == [dead]


class TestFill:
    def test_a_short_pool_searches_first(self) -> None:
        assert [type(a) for a in decide(fleet=a_fleet(target=2))] == [Search]

    def test_then_rents_the_cheapest_first(self) -> None:
        dear, cheap = an_offer(price=900), an_offer(price=100)
        view = a_view(offers=(dear, cheap), searched_at=NOW)
        rents = [a for a in decide(fleet=a_fleet(target=1), view=view) if isinstance(a, Rent)]
        assert [rent.offer for rent in rents] == [cheap]

    def test_old_offers_are_not_rented_from(self) -> None:
        view = a_view(offers=(an_offer(),), searched_at=ago(seconds=60))
        assert [type(a) for a in decide(fleet=a_fleet(target=1), view=view)] == [Search]

    def test_an_exhausted_market_is_not_searched_again_at_once(self) -> None:
        view = a_view(offers=(), searched_at=ago(seconds=30))
        fleet = a_fleet(target=1)
        assert decide(fleet=fleet, view=view) == ()
        next_at = plan(fleet, (), view, NOW).next_at
        assert next_at is not None
        assert next_at <= NOW + timedelta(seconds=30)

    def test_what_is_dropping_counts_until_it_is_gone(self) -> None:
        rows = (held(State.DROPPING, due_at=NOW + timedelta(minutes=1)),)
        assert shortage(a_fleet(target=1), rows) == 0
        assert shortage(a_fleet(target=1, surge=1), rows) == 1

    def test_nothing_is_rented_while_refusals_hold(self) -> None:
        view = a_view(offers=(an_offer(),), searched_at=NOW, rent_not_before=NOW + timedelta(seconds=5))
        assert decide(fleet=a_fleet(target=1), view=view) == ()

    def test_nothing_is_rented_before_our_own_are_adopted(self) -> None:
        box = a_sighting(5, label="magister", onstart=f"x {ADDRESS}/drop/77 y")
        view = a_view(offers=(an_offer(),), searched_at=NOW, strangers=(Stranger(box),))
        assert not any(isinstance(a, Rent) for a in decide(fleet=a_fleet(target=3), view=view))


class TestListing:
    def test_it_is_polled(self) -> None:
        view = a_view(listed_at=ago(seconds=30))
        assert [type(a) for a in decide(held(), view=view)] == [List]

    def test_it_comes_when_asked_for(self) -> None:
        view = a_view(listed_at=ago(seconds=3), listing_wanted_at=ago(seconds=2))
        assert [type(a) for a in decide(held(), view=view)] == [List]

    def test_whose_clock_a_wish_bears_does_not_matter(self) -> None:
        for moment in (ago(hours=1), NOW + timedelta(hours=1)):
            assert [type(a) for a in decide(held(), view=a_view(listing_wanted_at=moment))] == [List]

    def test_a_lost_answer_is_looked_for_at_once(self) -> None:
        row = held(State.REQUESTED, sends=1, unanswered=1, doubted_at=NOW)
        assert List in [type(a) for a in decide(row, view=a_view(listed_at=ago(seconds=2)))]

    def test_after_a_failure_it_waits(self) -> None:
        view = a_view(listed_at=ago(minutes=5), list_not_before=NOW + timedelta(seconds=1))
        assert decide(held(), view=view) == ()

    def test_failures_in_a_row_wait_longer_up_to_a_minute(self) -> None:
        ten = timedelta(seconds=10)
        assert [listing_retry(n, backoff=ten).total_seconds() for n in (1, 2, 6, 99)] == [10, 20, 60, 60]


def test_an_unsent_intent_waits_while_a_box_that_came_back_takes_its_room() -> None:
    back = held(State.DROPPING, reason=Reason.REAPPEARED, destroys=1, due_at=NOW + timedelta(minutes=1))
    rows = (held(), held(State.REQUESTED), back)
    assert not any(isinstance(a, Send | Rent) for a in decide(*rows, fleet=a_fleet(target=2)))
    assert [type(a) for a in decide(*rows, fleet=a_fleet(target=2, surge=1))] == [Send]


def test_the_account_is_looked_at_now_and_then() -> None:
    assert [type(a) for a in decide(held(), view=a_view(account_at=ago(minutes=5)))] == [CheckAccount]


def test_a_refusal_for_credit_asks_the_account_at_once_and_once() -> None:
    asked = [
        any(isinstance(one, CheckAccount) for one in plan(a_fleet(target=1), (), view, NOW).actions)
        for view in (a_view(no_credit_at=NOW), a_view(no_credit_at=ago(seconds=2)))
    ]
    assert asked == [True, False]
