"""The words for a pool on a terminal."""

from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from magister.money import Outlay
from magister.planner.budget import Cap
from magister.reports import overview, terminal
from magister.reports.dashboard import Dashboard, Work
from magister.reports.overview import Event, Overview
from magister.reports.pool_story import Standing
from magister.reports.readiness import Readiness
from magister.states import Reason, State
from magister.store.db.engine import Sessions
from magister.store.db.lease import Acting
from tests.builders import NOW, a_row, ago, an_offer

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

SEEN = Dashboard(
    overview=OVERVIEW,
    readiness=Readiness(ready=True, why=()),
    costs={},
    standing=Standing(now=NOW, target=1, states={}),
    spent=Outlay(day=500_000, month=12_340_000, total=1_234_567_000_000),
    work=Work(0, 0),
    doubts={},
    lost=(),
)


def test_a_move_bears_its_date_unless_it_is_of_today() -> None:
    today, yesterday = list(terminal.lines(SEEN, ()))[-2:]
    assert today.startswith("11:59:00  #1   new -> requested")
    assert yesterday.startswith("2026-11-23 12:00:00  #1   new -> requested")
    assert terminal.painted(OVERVIEW.events[1], NOW).plain.startswith("2026-11-23 12:00:00")


def test_a_move_that_is_told_as_it_happens_bears_no_date() -> None:
    assert terminal.told(OVERVIEW.events[1]).startswith("12:00:00  ")


def test_it_is_said_which_loop_acts_and_that_this_machine_stands_by() -> None:
    assert terminal.acts(OVERVIEW) == "no loop acts: `magister serve` starts one"
    here = replace(OVERVIEW, acting=Acting("alpha", 7, here=True))
    assert terminal.acts(here) == "the loop that acts is process 7 on this machine"
    there = replace(OVERVIEW, acting=Acting("alpha", 7, here=False))
    assert terminal.acts(there) == "the loop that acts is process 7 on alpha, and this machine stands by"


def test_what_was_spent_is_told_with_what_is_allowed_and_what_it_brought() -> None:
    assert terminal.spendings(SEEN) == ("spent 0.5000 USD today, 12.34 this month, 1,234,567.00 in all (UTC)")
    standing = replace(
        SEEN.standing,
        hourly=4_000_000,
        caps=(
            Cap("budget.usd_per_day", 5_000_000, 500_000, 0),
            Cap("budget.usd_total", 2_000_000_000_000, SEEN.spent.total, 0),
        ),
    )
    assert terminal.spendings(replace(SEEN, standing=standing, work=Work(600_000, 7200))) == (
        "spent 0.5000 of 5.00 USD today, 12.34 this month, 1,234,567.00 of 2,000,000.00 in all "
        "(UTC); 0.3000 USD a verified hour; at most 4.00 USD/h allowed"
    )


def test_the_credit_is_told_with_how_long_it_lasts() -> None:
    seen = replace(
        SEEN,
        overview=replace(OVERVIEW, credit=3_000_000),
        standing=replace(SEEN.standing, credit=3_000_000, rate=2_000_000),
    )
    assert terminal.signs(seen).startswith("credit 3.00 USD, enough for 1.5 h; the loop's last sign of life")


def test_what_is_doubtful_is_told_below() -> None:
    seen = replace(SEEN, doubts={7: ("it is late", "it is pale")})
    assert list(terminal.doubtful(seen)) == ["doubtful:", "  #7: it is late; it is pale"]
    assert "  #7: it is late; it is pale" in list(terminal.lines(seen, ()))


@pytest.fixture
def crowd(sqlite_sessions: Sessions) -> Overview:
    """Return a pool with long names."""
    with sqlite_sessions.write() as session:
        for _ in range(3):
            a_row(session, offer=an_offer(gpu_name="RTX PRO 6000 Blackwell", geolocation=", US"))
        return overview.overview(session, NOW)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_fits_into_the_terminal_and_cuts_no_number(crowd: Overview, width: int) -> None:
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(terminal.table(crowd, width))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue().splitlines()
    assert len(shown) == 1 + len(crowd.instances)
    for view, line in zip(crowd.instances, shown[1:], strict=True):
        assert len(line.rstrip()) <= width
        assert line.startswith(f"#{view.id}  ")
        assert {"verified", "0.5000"} <= set(line.split())


def test_a_wide_terminal_shows_every_column(crowd: Overview) -> None:
    assert [column.header for column in terminal.table(crowd, 160).columns] == list(terminal.COLUMNS)


def test_a_place_without_a_town_is_its_country(crowd: Overview) -> None:
    assert terminal.cells(crowd.instances[0], crowd)[terminal.COLUMNS.index("location")] == "US"
