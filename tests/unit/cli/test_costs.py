"""What was spent and what happened, on the command line: plain in a pipe, JSON, clear when wrong."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from magister.cli.main import main
from magister.domain.instance import Learned
from magister.domain.observed import Charge
from magister.domain.traffic import KB_PER_GB
from magister.service import wiring
from magister.states import Failure, Reason, State
from magister.store import instances, pool, transitions
from magister.store.accounting import invoice
from magister.store.db.engine import Sessions, open_database
from magister.store.db.migrations import migrate
from magister.store.db.models_accounting import DayTraffic
from tests.builders import a_row, an_offer, forget_instances
from tests.unit.cli.test_main import SETTINGS

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    """Keep a box that failed after an hour, and one that was rented two hours ago; it is NOW."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wiring, "now", lambda: NOW)
    Path("magister.toml").write_text(SETTINGS)
    sessions = open_database("sqlite:///magister.db", busy_timeout=5)
    migrate(sessions)
    with sessions.write() as session:
        gone = a_row(
            session,
            state=State.CREATED,
            offer=an_offer(machine_id=31, host_id=3, disk_price=360_000),
            at=NOW - timedelta(hours=2),
            learned=Learned(absent_since=NOW - timedelta(hours=1), absences=2),
        )
        pulled = DayTraffic(
            instance_id=gone.id, day=NOW.date(), down_kb=7 * KB_PER_GB, up_kb=0, fractions=14_000 * KB_PER_GB
        )
        session.add(pulled)
        for to, reason in ((State.DROPPING, Reason.UNVERIFIED), (State.DESTROYED, Reason.PROVED_GONE)):
            row = instances.one(session, gone.id)
            assert row is not None
            transitions.move(
                session, row, to, reason, actor="loop", why="no call", at=NOW - timedelta(hours=1)
            )
        a_row(
            session, offer=an_offer(machine_id=32, host_id=4, disk_price=500_000), at=NOW - timedelta(hours=2)
        )
    yield sessions
    sessions.engine.dispose()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="magister")


def test_the_cost_of_this_month_is_shown_by_day() -> None:
    assert run("cost").stdout.splitlines() == [
        "2026-11-01 to 2026-11-24 (UTC): 1.3600 USD, and for traffic 0.0140 USD, estimated",
        "day            USD  traffic",
        "2026-11-24  1.3600   0.0140",
    ]


def test_the_cost_can_be_told_apart_as_json() -> None:
    result = run("cost", "--by", "reason", "--from", "2026-11-24", "--to", "2026-11-24", "--json")
    assert json.loads(result.stdout) == {
        "from": "2026-11-24",
        "to": "2026-11-24",
        "by": "reason",
        "usd": 1.36,
        "traffic_usd": 0.014,
        "costs": [
            {"reason": None, "usd": 1.0, "traffic_usd": 0.0},
            {"reason": "unverified", "usd": 0.36, "traffic_usd": 0.014},
        ],
    }


def test_what_has_not_left_is_named_as_such() -> None:
    assert "still in the pool  1.0000" in run("cost", "--by", "reason").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cost", "--by", "colour"), "--by must be one of day, machine, host, gpu, reason, state."),
        (("cost", "--from", "2026-13-01"), "--from must be a day in UTC such as 2026-11-24."),
        (("cost", "--from", "2026-W48-2"), "--from must be a day in UTC such as 2026-11-24."),
        (("cost", "--from", "2026-11-25"), "--from = 2026-11-25 is after to = 2026-11-24."),
        (("history", "--since", "lately"), "--since must be a day or a moment such as 2026-11-24"),
        (("history", "--since", "0001-01-01T00:00+14:00"), "--since must be a day or a moment such as"),
        (("history", "--limit", "9" * 20), "is not in the range 1<=x<=9223372036854775807"),
        (("history", "--instance", "#" + "9" * 20), "is not in the range 1<=x<=9223372036854775807"),
        (("history", "--instance", "##1"), "is not a valid integer range"),
        (("machines", "--limit", "9" * 20), "is not in the range 1<=x<=9223372036854775807"),
        (("ban", "machine", "9" * 20, "--why", "x"), "is not in the range 1<=x<=9223372036854775807"),
        (("unban", "machine", "9" * 20), "is not in the range 1<=x<=9223372036854775807"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_what_would_be_right(
    arguments: tuple[str, ...], words: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_history_of_one_instance_is_told() -> None:
    lines = run("history", "--instance", "1").stdout.splitlines()
    assert lines[0] == "2026-11-24 (UTC)"
    assert [line.split()[3:4] + line.split()[4:5] for line in lines[1:]] == [
        ["->", "requested"],
        ["->", "created"],
        ["->", "dropping"],
        ["->", "destroyed"],
    ]


def test_an_instance_can_be_named_as_it_is_shown() -> None:
    assert run("history", "--instance", "#1").stdout == run("history", "--instance", "1").stdout


def test_the_history_is_cut_by_time_and_number() -> None:
    told = json.loads(run("history", "--since", "2026-11-24T11:00", "--json").stdout)
    assert [move["to"] for move in told] == ["dropping", "destroyed"]
    told = json.loads(run("history", "--limit", "1", "--json").stdout)
    assert [(move["id"], move["to"]) for move in told] == [(2, "verified")]


def test_the_machines_are_shown_the_dearest_first() -> None:
    lines = run("machines").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["machine", "32", "31"]
    assert "1 never verified" in lines[2]
    assert lines[2].endswith("-"), "it failed an hour ago, which is as long as the first quarantine lasts"
    told = json.loads(run("machines", "--limit", "1", "--json").stdout)
    assert [(one["machine_id"], one["rentals"], one["verified"]) for one in told] == [(32, 1, 1)]
    assert "micros" not in told[0]


def test_a_machine_in_quarantine_is_shown_with_its_end_and_why(
    past: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "now", lambda: NOW - timedelta(minutes=10))
    lines = run("machines").stdout.splitlines()
    assert lines[1].endswith("-")
    assert lines[2].endswith("until 2026-11-24 12:00 UTC: never verified once")
    good, bad = json.loads(run("machines", "--json").stdout)
    assert (good["quarantine_until"], good["quarantine_why"]) == (None, None)
    assert bad["quarantine_until"] == "2026-11-24T12:00:00.000Z"
    assert bad["quarantine_why"] == "never verified once"


@pytest.mark.parametrize("kind", Failure)
def test_each_way_to_fail_is_shown_of_a_machine(past: Sessions, kind: Failure) -> None:
    with past.write() as session:
        session.execute(text("UPDATE instances SET failure = :kind WHERE id = 1"), {"kind": kind.value})
    assert f" 1 {kind.value.replace('_', ' ')} " in run("machines").stdout
    told = json.loads(run("machines", "--json").stdout)
    assert told[1][kind.value] == 1


def test_a_failure_that_is_held_against_nobody_is_shown_as_such(past: Sessions) -> None:
    with past.write() as session:
        session.execute(text("UPDATE instances SET excused = true WHERE id = 1"))
    assert " 1 excused " in run("machines").stdout
    told = json.loads(run("machines", "--json").stdout)
    assert (told[1]["never_verified"], told[1]["excused"]) == (0, 1)


def test_the_bill_is_shown_beside_the_estimate(past: Sessions) -> None:
    assert "no charges of these days are known" in run("cost", "--bill").stdout
    with past.write() as session:
        charges = [
            Charge(9001, None, "gpu", 300_000),
            Charge(9001, None, "bwd", 15_000),
            Charge(666, "magister:0", "disk", 70_000),
        ]
        invoice.note(session, NOW.date(), charges, tag="magister", at=NOW)
        pool.note_bills(session, NOW + timedelta(days=1))
    assert run("cost", "--bill").stdout.splitlines() == [
        "2026-11-24 to 2026-11-24 (UTC): estimated 1.360 USD, billed 0.300 USD; "
        "and for traffic estimated 0.014 USD, billed 0.015 USD",
        "charged for 1 boxes nobody here knows: 0.070 USD",
        "         contract  estimated  billed  traffic estimated  billed",
        "#2       9002          1.000   0.000              0.000   0.000",
        "unknown  666           0.000   0.070              0.000   0.000",
        "#1       9001          0.360   0.300              0.014   0.015",
    ]
    assert json.loads(run("cost", "--bill", "--json").stdout)["unknown"] == 1


def test_the_bill_is_not_told_apart_otherwise() -> None:
    result = run("cost", "--bill", "--by", "day")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_an_unused_pool_has_nothing_to_tell(past: Sessions, tmp_path: Path) -> None:
    past.engine.dispose()
    for file in tmp_path.glob("magister.db*"):
        file.unlink()
    result = run("cost")
    assert result.exit_code == 2
    assert "there is no database" in result.stderr


def test_no_spending_is_told_without_an_empty_table() -> None:
    assert run("cost", "--to", "2030-01-01").stdout.splitlines() == [
        "2030-01-01 to 2030-01-01 (UTC): 0.0000 USD, and for traffic 0.0000 USD, estimated"
    ]


def test_the_history_of_no_instance_is_refused_with_where_they_are_named() -> None:
    result = run("history", "--instance", "99")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no instance #99: `magister history` and `status` name them" in result.stderr


def test_a_time_in_which_nothing_happened_is_told() -> None:
    said = "nothing has happened since 2030-01-01 00:00:00 UTC\n"
    assert run("history", "--since", "2030-01-01").stdout == said
    assert run("history", "--since", "2030-01-01", "--instance", "1").stdout == said
    assert run("history", "--since", "2030-01-01", "--json").stdout == "[]\n"


def test_a_pool_that_rented_nothing_yet_says_so(past: Sessions) -> None:
    with past.write() as session:
        forget_instances(session)
    assert run("machines").stdout == "no machine was rented yet\n"
    assert run("machines", "--json").stdout == "[]\n"


def test_status_tells_what_the_command_cost_tells() -> None:
    told = json.loads(run("status", "--json").stdout)
    assert told["spent"] == {"day": 1.374, "month": 1.374, "total": 1.374}
    costs = json.loads(run("cost", "--json").stdout)
    assert costs["usd"] + costs["traffic_usd"] == pytest.approx(told["spent"]["month"])
    assert "spent 1.37 USD today, 1.37 this month, 1.37 in all (UTC)" in run("status").stdout
