"""One instance's life, and why the pool is as it is, in sentences."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.risk.quarantine import Quarantine, Quarantines
from magister.domain.sentences import About, lasting
from magister.domain.traffic import KB_PER_GB, Traffic
from magister.planner.budget import Cap
from magister.planner.conditions import Condition
from magister.planner.decision_record import Candidate
from magister.reports.instance_story import Life, Moved, jsonable, told
from magister.reports.pool_story import Banned, Leaving, Standing, explained
from magister.states import Reason, State
from tests.builders import NOW, ago


def a_candidate(offer: int, **facts: object) -> Candidate:
    plain = Candidate(
        offer_id=offer,
        machine_id=offer + 100,
        host_id=offer + 10,
        gpu_name="RTX 4090",
        price=400_000,
        verify=0.8,
        boot=180.0,
        life=43_200.0,
        worth=420_000.0,
        liked=False,
        quarantine=None,
        rejection=None,
    )
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are Candidate's


def a_life(**facts: object) -> Life:
    plain = Life(now=NOW, id=3, offer_id=1, state=State.VERIFIED, reason=Reason.CALLED, contract_id=9001)
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are Life's


def said(life: Life, about: About) -> list[str]:
    return [sentence.said for sentence in told(life) if sentence.about is about]


def test_the_choice_names_its_numbers_the_runner_up_and_the_rejections() -> None:
    candidates = (
        a_candidate(1),
        a_candidate(2, worth=510_000.0, verify=0.5),
        a_candidate(3, rejection="it costs more than cost_per_hour"),
        a_candidate(4, rejection="it costs more than cost_per_hour"),
        a_candidate(5, rejection="another offer of machine 101 is better"),
    )
    assert said(a_life(candidates=candidates), About.CHOICE) == [
        "It was the best of 2 offers that fitted: 0.4000 USD per hour for RTX 4090 on machine 101 of host 11"
        "; expected to verify with 80%, within 3 min, and then to work 12 h; an hour of its work counted as "
        "0.4200 USD.",
        "The next best was offer 2 on machine 102 for 0.4000 USD per hour: an hour of its work counted as "
        "0.5100 USD, for it verifies with 50% only.",
        "3 offers did not come into question: it costs more than cost_per_hour (2); another offer of its "
        "machine is better (1).",
    ]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"quarantine": "died twice"}, "its machine is in quarantine (died twice)"),
        ({"liked": False}, "it is not among good_machines or good_hosts"),
        ({"liked": True}, "more of our boxes are on its machine or its host already"),
        ({"liked": True, "worth": 421_000.0}, "an hour of its work counted as 0.4210 USD"),
        (
            {"liked": True, "worth": 430_000.0, "left": 3600.0},
            "an hour of its work counted as 0.4300 USD, for it is offered for 60 min only",
        ),
    ],
)
def test_the_runner_up_is_worse_by_what_tells_the_two_apart(other: dict[str, object], why: str) -> None:
    life = a_life(candidates=(a_candidate(1, liked=True), a_candidate(2, **other)))
    assert said(life, About.CHOICE)[1].endswith(f"per hour: {why}.")


def test_a_choice_by_the_score_of_vast_names_no_money() -> None:
    life = a_life(candidates=(a_candidate(1, worth=-90.0), a_candidate(2, worth=-80.0)))
    assert "counted as" not in " ".join(said(life, About.CHOICE))
    assert said(life, About.CHOICE)[1].endswith("Vast scores it lower.")


def test_one_of_several_rented_at_once_tells_how_many_went_first() -> None:
    life = a_life(offer_id=2, candidates=(a_candidate(1), a_candidate(2), a_candidate(3)))
    assert "of 3 offers that fitted, after 1 better one that went first: " in said(life, About.CHOICE)[0]
    assert said(life, About.CHOICE)[1].startswith("The next best was offer 3 ")


def test_an_adopted_box_was_not_chosen() -> None:
    born = Moved(at=NOW, old=None, new=State.VERIFIED, reason=Reason.ADOPTED, actor="loop", why="ours")
    assert said(a_life(moves=(born,)), About.CHOICE) == [
        "It was not chosen: it was there, and ours, without a row."
    ]
    assert said(a_life(), About.CHOICE) == ["Why it was chosen is not kept."]


def test_each_move_is_told_with_its_moment_its_actor_and_its_why() -> None:
    moves = (
        Moved(
            at=ago(hours=2), old=None, new=State.REQUESTED, reason=Reason.SHORT, actor="loop", why="0 of 1"
        ),
        Moved(
            at=ago(hours=1),
            old=State.REQUESTED,
            new=State.DROPPING,
            reason=Reason.COORDINATOR,
            actor="coordinator",
            why="too many strikes.",
        ),
    )
    life = a_life(moves=moves, state=State.DROPPING, destroys=2)
    found = [(one.at, one.said) for one in told(life) if one.about is About.LIFE]
    assert found == [
        (ago(hours=2), "It was requested (short): 0 of 1."),
        (ago(hours=1), "It became dropping (coordinator, by coordinator): too many strikes."),
    ]
    assert said(life, About.END) == [
        "It went for this reason: coordinator.",
        "Vast was asked 2 times to destroy it, and it is not proved gone: it may still cost.",
    ]


def test_what_its_box_showed_between_the_moves_is_told() -> None:
    life = a_life(
        created_at=ago(hours=3, minutes=2),
        verified_at=ago(hours=3),
        beaten_at=ago(seconds=9),
        sick_since=ago(minutes=5),
        actual_status="offline",
        last_seen_at=ago(seconds=4),
        status_msg="gone\naway",
    )
    assert said(life, About.LIFE) == [
        "Since then Vast has not called it running, but offline.",
        "Its box last said that its worker lives.",
        "The last listing that showed it has it offline: gone away.",
        "Its worker verified 2 min after its creation, and was kept 3 h.",
    ]


def test_the_cost_is_told_as_an_estimate() -> None:
    assert said(a_life(cost=1_234_567, price=410_000), About.COST) == [
        "It cost about 1.23 USD so far, at 0.41 USD per hour while running."
    ]
    assert said(a_life(), About.COST) == ["It is not known to have cost anything."]


def test_traffic_is_told_beside_the_cost() -> None:
    moved = Traffic(6 * KB_PER_GB + KB_PER_GB // 2, 0, 13_000 * KB_PER_GB)
    assert said(a_life(cost=1, traffic=moved), About.COST)[1:] == [
        "Its traffic cost 0.0130 USD beside that: 6.5 GB down, 0.0 GB up."
    ]
    assert jsonable(a_life(cost=1, traffic=moved))["traffic_cost"] == 0.013


def test_a_failure_is_told_with_what_it_means_and_what_the_logs_left() -> None:
    life = a_life(failure="driver_oci", autopsy="one\ntwo", autopsy_at=NOW, state=State.DESTROYED)
    assert said(life, About.AUTOPSY) == [
        "It failed in this way: driver oci; that counts against its machine.",
        "Its logs were asked for before its end: 2 lines of them kept.",
    ]
    excused = replace(life, excused=True, autopsy=None)
    assert said(excused, About.AUTOPSY) == [
        "It failed in this way: driver oci; that is held against nobody.",
        "Its logs were asked for before its end: nothing came.",
    ]
    assert jsonable(life)["log"] == ["one", "two"]
    worked = replace(life, failure="died", verified_at=ago(hours=2))
    assert said(worked, About.AUTOPSY)[0] == (
        "It failed in this way: died; that shortens the life expected on its machine."
    )


def a_standing(**facts: object) -> Standing:
    plain = Standing(now=NOW, target=10, states={State.VERIFIED: 10})
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are Standing's


def lines(pool: Standing) -> list[str]:
    return [sentence.said for sentence in explained(pool)]


def test_a_full_pool_needs_few_words() -> None:
    assert lines(a_standing(rate=4_000_000)) == [
        "10 of 10 instances are verified.",
        "The pool is full.",
        "The pool costs 4.00 USD per hour.",
    ]


def test_a_short_pool_says_what_is_wrong_what_helps_and_when_it_goes_on() -> None:
    pool = a_standing(
        states={State.VERIFIED: 7, State.CREATED: 1, State.DROPPING: 1},
        conditions=(Condition("the last 3 rentals failed", "mend the template"),),
        next_try=ago(seconds=-90),
    )
    assert lines(pool)[:3] == [
        "7 of 10 instances are verified; beside them 1 created, whose workers have not called yet, 1 on the "
        "way out.",
        "The last 3 rentals failed. What helps: mend the template.",
        "Nothing is rented before 2026-11-24 12:01:30 UTC, 90 s from now.",
    ]


def test_a_short_pool_without_a_reason_says_so() -> None:
    assert lines(a_standing(states={State.VERIFIED: 7, State.REQUESTED: 1}))[1] == (
        "2 more are to be rented, and nothing is known to hinder that."
    )
    waits = a_standing(states={State.VERIFIED: 7}, next_try=ago(seconds=-90))
    assert lines(waits)[1:3] == [
        "3 more are to be rented.",
        "Nothing is rented before 2026-11-24 12:01:30 UTC, 90 s from now.",
    ]
    assert lines(a_standing(states={State.VERIFIED: 9}))[1] == (
        "1 more is to be rented, and nothing is known to hinder that."
    )
    assert lines(a_standing(states={State.VERIFIED: 7, State.CREATED: 3}))[1] == (
        "All the others are rented: it is full once their workers call."
    )


def test_what_is_on_its_way_out_is_named_with_since_when() -> None:
    leaving = tuple(Leaving(n, 9000 + n, ago(minutes=5), Reason.EXITED, n - 1) for n in range(1, 8))
    told_of = [line for line in lines(a_standing(leaving=leaving)) if "way out" in line or "So are" in line]
    assert told_of[0] == (
        "#1 (contract 9001) has been on its way out for 5 min (exited); Vast is not asked yet."
    )
    assert told_of[1].endswith("Vast was asked 1 time.")
    assert told_of[-1] == "So are 2 more."


def test_the_room_in_the_budget_and_the_credit_are_told() -> None:
    pool = a_standing(
        rate=4_000_000,
        hourly=5_000_000,
        caps=(
            Cap("budget.usd_per_day", 100_000_000, 40_120_000, 1_000_000, NOW + timedelta(hours=12)),
            Cap("budget.usd_total", 50_000_000, 49_500_000, 1_000_000),
        ),
        dearest=310_000,
        credit=50_000_000,
    )
    assert lines(pool)[2:] == [
        "The pool costs 4.00 USD per hour, of budget.usd_per_hour = 5.00.",
        "40.12 USD of budget.usd_per_day = 100.00 are spent, and 1.00 reserved until all that runs is surely"
        " gone: 58.88 USD are left; it begins anew at 2026-11-25 00:00:00 UTC.",
        "49.50 USD of budget.usd_total = 50.00 are spent, and 1.00 reserved until all that runs is surely"
        " gone: 0.00 USD are left.",
        "One box more has room in the budget if it costs 0.31 USD per hour or less.",
        "The credit at Vast is 50.00 USD, enough for 12.5 h.",
    ]


def test_who_is_tried_last_or_banned_is_told() -> None:
    held = Quarantines({7: Quarantine(ago(hours=-1), "died once")}, {2: Quarantine(ago(hours=-2), "3 bad")})
    pool = a_standing(quarantines=held, bans=(Banned("host", 9, "it overcharges"),))
    assert lines(pool)[-3:] == [
        "Machine 7 is tried last until 2026-11-24 13:00:00 UTC: died once.",
        "Host 2 is tried last until 2026-11-24 14:00:00 UTC: 3 bad.",
        "Host 9 is banned: it overcharges.",
    ]


@pytest.mark.parametrize(
    ("secs", "words"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5_940, "99 min"),
        (11_520, "3 h 12 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_times_are_told_in_units_that_say_something(secs: float, words: str) -> None:
    assert lasting(secs) == words
