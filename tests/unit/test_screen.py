"""The words for a pool on a terminal."""

from dataclasses import replace
from datetime import timedelta

from magister import screen
from magister.lease import Acting
from magister.reports import Event, Overview
from magister.states import Reason, State
from tests.builders import NOW, ago

EVENT = Event(
    at=ago(minutes=1),
    instance=1,
    offer_id=2,
    instance_id=3,
    machine_id=4,
    gpu=None,
    from_state=None,
    to_state=State.REQUESTED,
    reason=Reason.SHORT,
    actor="loop",
    detail="0 of 1 instances",
)

OVERVIEW = Overview(
    at=NOW,
    target=1,
    states={},
    cost=0,
    credit=None,
    heartbeat_age_secs=None,
    listing_age_secs=None,
    conditions=(),
    events=(EVENT, replace(EVENT, at=NOW - timedelta(days=1))),
    instances=(),
)


def test_a_move_bears_its_date_unless_it_is_of_today() -> None:
    today, yesterday = list(screen.lines(OVERVIEW, ()))[-2:]
    assert today.startswith("11:59:00  #1   new -> requested")
    assert yesterday.startswith("2026-11-23 12:00:00  #1   new -> requested")
    assert screen.painted(OVERVIEW.events[1], NOW).plain.startswith("2026-11-23 12:00:00")


def test_a_move_that_is_told_as_it_happens_bears_no_date() -> None:
    assert screen.told(OVERVIEW.events[1]).startswith("12:00:00  ")


def test_it_is_said_which_loop_acts_and_that_this_machine_stands_by() -> None:
    assert screen.acts(OVERVIEW) == "no loop acts"
    here = replace(OVERVIEW, acting=Acting("alpha", 7, here=True))
    assert screen.acts(here) == "the loop that acts is process 7 on this machine"
    there = replace(OVERVIEW, acting=Acting("alpha", 7, here=False))
    assert screen.acts(there) == "the loop that acts is process 7 on alpha, and this machine stands by"
