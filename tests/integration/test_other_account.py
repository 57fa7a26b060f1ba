"""The key of another Vast account: it answers for every box of the pool that there is none."""

from datetime import timedelta

import pytest

from magister.cli.commands import accept_account
from magister.domain.actions import List
from magister.errors import OtherAccount, Refused, Transient, Unusable
from magister.planner.conditions import Condition
from magister.reports import queries
from magister.reports.instance_story import told
from magister.states import Reason, State
from magister.store import pool
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, a_row, an_offer, forget_instances
from tests.controller import Controller

OURS, ANOTHER = 4242, 777
A_WHILE = 1200.0
STALE_AFTER = timedelta(seconds=60)


def a_pool(sessions: Sessions, target: int = 3) -> Controller:
    """Return a full pool on the account OURS, with offers enough for another one."""
    controller = Controller(sessions, fleet=a_fleet(target=target, account_every=timedelta(seconds=60)))
    controller.vast.stock(an_offer() for _ in range(3 * target + 1))
    return controller.filled()


def with_another_key(controller: Controller, account_id: int | None = ANOTHER) -> None:
    """Begin a new process with the key of another account."""
    controller.vast.use("another key", account_id)
    controller.restart()


def with_the_old_key(controller: Controller, account_id: int | None = OURS) -> None:
    controller.vast.use("the key", account_id)
    controller.restart()


def live(controller: Controller, seconds: float) -> None:
    """Let time pass, and each worker in a new box call."""
    for _ in range(int(seconds / 10)):
        controller.step(10)
        controller.verify_all()


def shown(controller: Controller) -> list[Condition]:
    """Return what the loop says is wrong."""
    with controller.sessions.read() as session:
        return list(pool.read(session).conditions)


def stored(controller: Controller) -> int | None:
    with controller.sessions.read() as session:
        return pool.read(session).account_id


@pytest.mark.parametrize("target", [1, 3, 8])
def test_nothing_is_rented_or_forgotten_under_the_key_of_another_account(
    sessions: Sessions, target: int
) -> None:
    controller = a_pool(sessions, target)
    before = controller.rows()
    controller.vast.calls.clear()
    with_another_key(controller)
    live(controller, A_WHILE)
    assert controller.vast.boxes == {}
    assert [(row.id, row.state, row.absences) for row in controller.rows()] == [
        (row.id, State.VERIFIED, 0) for row in before
    ]
    assert {name for name, _ in controller.vast.calls} == {"account", "listing"}
    (condition,) = shown(controller)
    assert condition.kind == "other_account"
    assert condition.what == (
        f"vast_api_key is a key of Vast account {ANOTHER}, and the {_boxes(target)} of the pool "
        f"{'is' if target == 1 else 'are'} on account {OURS}"
    )
    assert "magister accept-account" in condition.cure


def _boxes(number: int) -> str:
    return "1 box" if number == 1 else f"{number} boxes"


def test_a_drop_under_the_key_of_another_account_waits_for_the_right_one(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    with_another_key(controller)
    controller.step()
    dropped = controller.rows()[0]
    controller.drop(dropped)
    live(controller, 600)
    assert controller.vast.named("destroy") == []
    with_the_old_key(controller)
    live(controller, 60)
    assert controller.vast.named("destroy") == [dropped.contract_id]
    assert controller.row(dropped.id).reason is Reason.PROVED_GONE
    assert len(controller.vast.boxes) == 3
    assert shown(controller) == []


def test_nothing_is_given_up_under_the_key_of_another_account(sessions: Sessions) -> None:
    """A lower target, a silent box or a lost one: all of that waits, too."""
    controller = a_pool(sessions)
    controller.vast.use("another key", ANOTHER)
    controller.restart(target=1)
    live(controller, A_WHILE)
    assert {row.state for row in controller.rows()} == {State.VERIFIED}
    with_the_old_key(controller)
    live(controller, 120)
    assert [row.reason for row in controller.rows()].count(Reason.PROVED_GONE) == 2
    assert len(controller.vast.boxes) == 1


def test_a_create_that_is_in_doubt_waits_for_the_right_key(sessions: Sessions) -> None:
    """Its row is all there is, so nothing but the id of the account tells that it is another one."""
    controller = Controller(sessions, fleet=a_fleet(target=1))
    controller.vast.stock(an_offer() for _ in range(5))
    controller.vast.lag = 30
    controller.vast.after("create", Transient("the answer was lost"))
    controller.step()
    with_another_key(controller)
    live(controller, A_WHILE)
    assert [row.state for row in controller.rows()] == [State.REQUESTED]
    assert controller.vast.boxes == {}
    controller.verify(controller.rows()[0])
    with_the_old_key(controller)
    live(controller, 60)
    assert controller.rows()[0].contract_id == controller.vast.created[0]
    assert len(controller.vast.boxes) == len(controller.rows()) == 1


def test_the_account_is_asked_for_before_its_first_listing_is_believed(sqlite_sessions: Sessions) -> None:
    controller = a_pool(sqlite_sessions)
    controller.restart()
    controller.vast.calls.clear()
    controller.step()
    names = [name for name, _ in controller.vast.calls]
    assert names[:2] == ["account", "listing"]


def test_a_pool_whose_boxes_all_went_while_nobody_looked_is_rented_anew(sessions: Sessions) -> None:
    """The account says who it is, so that it shows none of them is the truth."""
    controller = a_pool(sessions, 1)
    controller.vast.boxes.clear()
    controller.restart()
    live(controller, 60)
    assert len(controller.vast.boxes) == 1
    assert [row.state for row in controller.rows()] == [State.DESTROYED, State.VERIFIED]


def test_an_account_without_boxes_of_ours_is_taken_silently(sqlite_sessions: Sessions) -> None:
    controller = a_pool(sqlite_sessions)
    controller.restart(target=0)
    live(controller, 120)
    with_another_key(controller)
    controller.restart(target=3)
    live(controller, 30)
    assert len(controller.vast.boxes) == 3
    assert stored(controller) == ANOTHER
    assert shown(controller) == []


def test_an_older_database_learns_its_account_from_a_listing_that_shows_a_box(sessions: Sessions) -> None:
    """The key may have been changed along with the version, so the account's word is not enough."""
    controller = a_pool(sessions)
    with sessions.write() as session:
        pool.forget_account(session)  # as the migration leaves it
    with_another_key(controller)
    live(controller, 300)
    assert {row.state for row in controller.rows()} == {State.VERIFIED}
    assert stored(controller) is None
    (condition,) = shown(controller)
    assert condition.what == (
        "vast_api_key seems to be a key of another Vast account: the 3 boxes of the pool are not on "
        f"this one, which is {ANOTHER}"
    )
    with_the_old_key(controller)
    live(controller, 60)
    assert stored(controller) == OURS
    assert shown(controller) == []


def test_an_account_of_another_id_that_shows_our_boxes_is_ours(sqlite_sessions: Sessions) -> None:
    """A key of a team, or of another of its members, may name somebody else for the same boxes."""
    controller = a_pool(sqlite_sessions)
    controller.vast.account_id = ANOTHER
    controller.restart()
    controller.vast.lose(controller.vast.created[0])
    live(controller, 300)
    assert stored(controller) == ANOTHER
    assert len(controller.vast.boxes) == 3


def test_a_backup_that_knows_none_of_the_boxes_finds_its_account_by_their_label(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    with sessions.write() as session:
        forget_instances(session)
        for _ in range(3):
            a_row(session, at=controller.clock.now)
        pool.forget_account(session)
    controller.restart()
    live(controller, 300)
    assert stored(controller) == OURS
    assert len(controller.vast.boxes) == 3
    assert len(controller.vast.created) == 3
    assert len(controller.rows(State.VERIFIED)) == 3


NOT_SAID = (Refused("403: the key lacks user_read"), Transient("500 from Vast"))


@pytest.mark.parametrize("error", NOT_SAID)
def test_a_key_that_may_not_read_whose_it_is_keeps_the_pool(
    sqlite_sessions: Sessions, error: Exception
) -> None:
    controller = Controller(sqlite_sessions)
    controller.vast.stock(an_offer() for _ in range(10))
    controller.vast.before("account", *[error] * 1000)
    controller.filled()
    controller.restart()
    live(controller, 60)
    controller.vast.boxes.clear()
    live(controller, 600)
    assert len(controller.rows(State.DESTROYED)) == 3
    assert len(controller.vast.boxes) == 3


@pytest.mark.parametrize("error", NOT_SAID)
def test_an_account_that_names_itself_not_and_shows_none_of_our_boxes_is_not_believed(
    sessions: Sessions, error: Exception
) -> None:
    controller = a_pool(sessions)
    with_another_key(controller)
    controller.vast.before("account", *[error] * 1000)
    dropped = controller.rows()[0]
    controller.drop(dropped)
    live(controller, A_WHILE)
    assert controller.vast.boxes == {}
    assert controller.vast.named("destroy") == []
    assert len(controller.rows(State.VERIFIED)) == 2
    assert "other_account" in {condition.kind for condition in shown(controller)}


def test_a_box_that_was_being_destroyed_keeps_no_key_waiting_that_may_not_say_whose_it_is(
    sqlite_sessions: Sessions,
) -> None:
    controller = a_pool(sqlite_sessions, 1)
    controller.vast.before("account", *[NOT_SAID[0]] * 1000)
    controller.drop(controller.rows()[0])
    controller.step()
    assert controller.rows()[0].destroy_acked
    controller.restart()
    live(controller, 120)
    assert [row.state for row in controller.rows()] == [State.DESTROYED, State.VERIFIED]


def test_a_clock_that_jumps_brings_the_question_up_again(sqlite_sessions: Sessions) -> None:
    controller = a_pool(sqlite_sessions)
    controller.vast.use("another key", ANOTHER)  # no process can do so, but a host that takes over
    controller.vast.calls.clear()
    controller.clock.now += timedelta(hours=2)
    live(controller, 300)
    assert {row.state for row in controller.rows()} == {State.VERIFIED}
    assert {name for name, _ in controller.vast.calls} == {"account", "listing"}


def test_a_listing_that_was_under_way_when_the_account_became_another_is_not_taken_in(
    sqlite_sessions: Sessions,
) -> None:
    """As when another host takes over under another key, whose account was accepted meanwhile."""
    controller = a_pool(sqlite_sessions)
    controller.vast.boxes.clear()
    outcome = controller.executor.call(List("a test", account=ANOTHER, ours=True))
    assert isinstance(outcome.error, OtherAccount)
    assert outcome.listing is None
    assert {row.absences for row in controller.rows()} == {0}


def test_of_two_hosts_with_different_keys_the_one_with_the_wrong_one_does_nothing(
    sessions: Sessions,
) -> None:
    right = a_pool(sessions)
    wrong = Controller(sessions, clock=right.clock, fleet=right.fleet)
    wrong.vast.account_id = ANOTHER
    wrong.vast.stock(an_offer() for _ in range(10))
    right.clock.advance(31)
    live(wrong, 600)  # the lease of the other has expired
    assert wrong.vast.boxes == {}
    assert len(right.rows(State.VERIFIED)) == 3
    assert [condition.kind for condition in shown(wrong)] == ["other_account"]
    right.clock.advance(31)
    live(right, 60)
    assert shown(right) == []
    assert {row.absences for row in right.rows()} == {0}


def accept(controller: Controller, answers: int | None = ANOTHER) -> tuple[int | None, ...]:
    with controller.sessions.write() as session:
        return accept_account.accept(session, controller.clock.now, answers=answers, stale_after=STALE_AFTER)


def test_the_operator_may_be_done_with_the_former_account(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    former = sorted(controller.vast.boxes)
    with_another_key(controller)
    live(controller, 60)
    assert sorted(accept(controller), key=str) == former
    assert shown(controller) == []
    live(controller, 60)
    assert len(controller.vast.boxes) == 3
    assert stored(controller) == ANOTHER
    assert shown(controller) == []
    left, new = controller.rows(State.DESTROYED), controller.rows(State.VERIFIED)
    assert [row.reason for row in left] == [Reason.LEFT_BEHIND] * 3
    assert {row.contract_id for row in new} == set(controller.vast.boxes)
    with sessions.read() as session:
        life = queries.life(session, left[0].id, controller.clock.now)
    assert life is not None
    said = [sentence.said for sentence in told(life)]
    assert (
        f"It became destroyed (left behind, by operator): the operator is done with account {OURS}; "
        "nobody has seen it end there, and it may cost on."
    ) in said
    assert "What it cost after that is on the bill of its account, and nowhere here." in said


def test_accepting_is_refused_while_no_other_account_answers(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    with pytest.raises(Unusable, match="no other account has answered"):
        accept(controller)
    assert len(controller.rows(State.VERIFIED)) == 3


def test_the_account_of_the_boxes_is_not_accepted_for_another_by_an_old_word(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    with_another_key(controller)
    live(controller, 60)
    with pytest.raises(Unusable, match=f"vast_api_key is of account {OURS}, which the boxes are on"):
        accept(controller, OURS)
    assert len(controller.rows(State.VERIFIED)) == 3


@pytest.mark.parametrize("answers", [ANOTHER, None])
def test_the_word_of_a_loop_that_has_ended_is_not_acted_on(
    sqlite_sessions: Sessions, answers: int | None
) -> None:
    controller = a_pool(sqlite_sessions)
    with_another_key(controller)
    live(controller, 60)
    controller.clock.advance(STALE_AFTER.total_seconds() + 1)
    with pytest.raises(Unusable, match="no loop has said lately"):
        accept(controller, answers)
    assert len(controller.rows(State.VERIFIED)) == 3


def test_accepting_twice_lets_go_of_nothing_more(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    with_another_key(controller)
    live(controller, 60)
    accept(controller)
    live(controller, 60)
    with pytest.raises(Unusable):
        accept(controller)
    assert len(controller.rows(State.VERIFIED)) == 3


def test_boxes_that_were_left_behind_are_ended_when_their_account_is_back(sessions: Sessions) -> None:
    controller = a_pool(sessions)
    with_another_key(controller)
    live(controller, 60)
    accept(controller)
    live(controller, 60)
    controller.restart(target=0)
    live(controller, 120)
    with_the_old_key(controller)
    assert len(controller.vast.boxes) == 3
    live(controller, 300)
    assert controller.vast.boxes == {}
    assert {row.state for row in controller.rows()} == {State.DESTROYED}


def test_an_account_that_was_left_vouches_for_nothing(sessions: Sessions) -> None:
    """It shows boxes of ours, but none that is in the pool."""
    controller = a_pool(sessions)
    with_another_key(controller)
    live(controller, 60)
    accept(controller)
    live(controller, 60)
    with_the_old_key(controller)
    live(controller, 300)
    assert [condition.kind for condition in shown(controller)] == ["other_account"]
    assert len(controller.vast.boxes) == 3
    assert len(controller.rows(State.VERIFIED)) == 3
