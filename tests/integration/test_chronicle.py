"""What the stories are read from, over HTTP and on the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from magister.cli.main import main
from magister.domain.instance import Learned
from magister.domain.sentences import About
from magister.reports import overview, queries
from magister.reports.instance_story import told
from magister.reports.pool_story import explained
from magister.states import Reason, State
from magister.store import bans, transitions
from magister.store.db.engine import Sessions
from magister.store.db.lease import NoLock
from magister.web import create_app
from tests.builders import NOW, a_fleet, a_row, an_offer, some_settings
from tests.controller import Controller
from tests.fakes import FakeClock

SETTINGS = """
this_magister_addr = "http://magister.example"
hierophant_ip = "hierophant.example"
hierophant_http_port = 9010
vast_api_key = "key-of-the-account"
template_hash = "819fdf2e42fc8ceb32f295465b5bb21e"
number_instances = 3
bad_machines = [66]
"""

MAC = "0123456789abcdef" * 2


@pytest.fixture
def pool(sessions: Sessions) -> Controller:
    """A controller for two instances, of which the first has failed."""
    controller = Controller(sessions, fleet=a_fleet(target=2), lock=NoLock())
    controller.vast.stock(an_offer(price=100_000 * n) for n in range(1, 6))
    controller.filled()
    first = controller.rows()[0]
    assert first.contract_id is not None
    controller.vast.logged[first.contract_id] = f"GET /drop/5?key={MAC}\npanicked\n"
    controller.vast.change(first.contract_id, actual_status="exited", status_msg=f"ran /drop/5?key={MAC}")
    controller.run(120)
    return controller


def test_a_life_is_read_as_it_was(pool: Controller) -> None:
    with pool.sessions.read() as session:
        life = queries.life(session, 1, pool.clock.now)
    assert life is not None
    sentences = {about: [one.said for one in told(life) if one.about is about] for about in About}
    assert sentences[About.CHOICE][0].startswith(
        "It was the best of 5 offers that fitted: 0.1000 USD per hour"
    )
    assert sentences[About.CHOICE][1].startswith("The next best was offer ")
    assert [move.new for move in life.moves] == [
        State.REQUESTED,
        State.CREATED,
        State.VERIFIED,
        State.DROPPING,
        State.DESTROYED,
    ]
    assert sentences[About.COST][0].startswith("It cost about 0.00")
    assert sentences[About.END] == ["It went for this reason: exited."]
    assert sentences[About.AUTOPSY][0].startswith("It failed in this way: died")
    assert life.autopsy is not None
    assert life.autopsy.endswith("panicked")


def test_no_story_tells_the_key_of_a_drop_address(pool: Controller) -> None:
    with pool.sessions.read() as session:
        life = queries.life(session, 1, pool.clock.now)
    assert life is not None
    assert MAC not in repr(life) + str(life.autopsy) + str(life.status_msg)
    assert "key=***" in str(life.status_msg)


def test_a_number_means_a_row_first_then_a_contract_then_the_newest_of_an_offer(sessions: Sessions) -> None:
    with sessions.write() as session:
        one = a_row(session, offer=an_offer(id=2), contract_id=3, state=State.DESTROYED)
        two = a_row(session, offer=an_offer(id=7), contract_id=1)
        three = a_row(session, offer=an_offer(id=2), contract_id=8)
        found = {
            number: [(each.id, each.kind) for each in queries.meant(session, number)]
            for number in (1, 2, 3, 7, 8, 99)
        }
    assert (one.id, two.id, three.id) == (1, 2, 3)
    assert found == {
        1: [(1, "row"), (2, "contract")],
        2: [(2, "row"), (3, "offer")],
        3: [(3, "row"), (1, "contract")],
        7: [(2, "offer")],
        8: [(3, "contract")],
        99: [],
    }


def test_the_pool_is_read_with_what_leaves_and_who_is_banned(pool: Controller) -> None:
    leaving = pool.rows(State.VERIFIED)[0]
    with pool.sessions.write() as session:
        transitions.move(
            session, leaving, State.DROPPING, Reason.OPERATOR, actor="me", why="enough", at=pool.clock.now
        )
        bans.ban(session, "machine", 5, why="slow", at=NOW)
        failed = a_row(session, state=State.CREATED)
        late = replace(failed, state=State.DROPPING)
        transitions.move(
            session, failed, State.DROPPING, Reason.UNVERIFIED, actor="me", why="late", at=pool.clock.now
        )
        transitions.move(
            session, late, State.DESTROYED, Reason.PROVED_GONE, actor="me", why="gone", at=pool.clock.now
        )
    with pool.sessions.read() as session:
        fleet = a_fleet(target=2, bad_hosts=frozenset({4}))
        standing = queries.standing(
            session, fleet, overview.glance(session, pool.clock.now), timedelta(seconds=60)
        )
    assert [one.id for one in standing.leaving] == [leaving.id]
    assert [(one.kind, one.id) for one in standing.bans] == [("host", 4), ("machine", 5)]
    assert set(standing.quarantines.machines) == {failed.machine_id}, "the worker of the other had verified"
    assert standing.troubles == ()


def test_the_target_is_that_of_the_loop_and_settings_it_has_not_read_are_told_of(pool: Controller) -> None:
    with pool.sessions.read() as session:
        seen = overview.glance(session, pool.clock.now)
        told = queries.standing(session, a_fleet(target=9), seen, timedelta(seconds=60))
        as_read = queries.standing(session, a_fleet(target=2), seen, timedelta(seconds=60))
    assert (told.target, told.unread) == (2, 9)
    assert (as_read.target, as_read.unread) == (2, None)
    assert "number_instances = 9" in explained(told)[2].said
    assert not any("number_instances" in sentence.said for sentence in explained(as_read))


def test_a_loop_that_has_ended_has_no_target_of_its_own(pool: Controller) -> None:
    pool.clock.advance(3600)
    with pool.sessions.read() as session:
        seen = overview.glance(session, pool.clock.now)
        told = queries.standing(session, a_fleet(target=9), seen, timedelta(seconds=60))
    assert (told.target, told.unread) == (9, None)


# HTTP


def a_client(sessions: Sessions) -> FlaskClient:
    settings = some_settings()
    clock = FakeClock(now=NOW)
    return create_app(settings, sessions, clock=clock.wall, monotonic=clock.monotonic).test_client()


def test_a_story_is_told_over_http(pool: Controller) -> None:
    answer = a_client(pool.sessions).get("/instances/1/story")
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["id"], body["state"], body["failure"]) == (1, "destroyed", "died")
    assert {sentence["about"] for sentence in body["story"]} == {"choice", "life", "cost", "end", "autopsy"}
    assert body["log"][-1] == "panicked"
    assert MAC not in answer.text


@pytest.mark.parametrize(("which", "status"), [("99", 404), ("9" * 30, 404), ("x", 400), ("-1", 400)])
def test_a_story_of_nothing_is_a_problem(sessions: Sessions, which: str, status: int) -> None:
    answer = a_client(sessions).get(f"/instances/{which}/story")
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


# The command line

Asked = Callable[..., Result]


@pytest.fixture
def asked(sqlite_sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Run commands in the folder of a database with three instances, the second on the offer 1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "magister.toml").write_text(SETTINGS)
    with sqlite_sessions.write() as session:
        a_row(session, offer=an_offer(id=40))
        a_row(session, offer=an_offer(id=1), state=State.DROPPING)
        a_row(
            session,
            offer=an_offer(id=41),
            state=State.DESTROYED,
            learned=Learned(autopsy="bye", autopsy_at=NOW),
        )
    return lambda *words: CliRunner().invoke(main, words)


def test_why_tells_the_pool(asked: Asked) -> None:
    result = asked("why")
    assert result.exit_code == 0
    assert result.stdout.startswith("1 of 3 instances are verified; beside them 1 on the way out.\n")
    assert "The pool is not being kept: the loop has never run on this database." in result.stdout
    assert "Machine 66 is banned: it stands in bad_machines." in result.stdout
    assert json.loads(asked("why", "--json").stdout)["story"][0]["about"] == "pool"


def test_why_tells_an_instance_and_which_was_meant(asked: Asked) -> None:
    result = asked("why", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "#1, contract 9001, on offer 40: verified\n"
        "(1 is taken for the id of a row; that of an offer is #2's)\n"
        "\nWhy it was chosen\n"
    )
    assert "taken for" not in asked("why", "#1").stdout
    assert "  | bye\n" in asked("why", "9003").stdout
    assert json.loads(asked("why", "1", "--json").stdout)["meant"] == [
        {"id": 1, "by": "row"},
        {"id": 2, "by": "offer"},
    ]


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("77", "no instance of ours has 77 as its row, contract or offer"),
        ("#9001", "no instance of ours has 9001 as its row"),
        ("x", "'x' is no id: give the number of a row (as #7), of a contract or of an offer"),
        ("9" * 25, "is no id"),
    ],
)
def test_why_of_nothing_says_so_in_a_line(asked: Asked, which: str, said: str) -> None:
    result = asked("why", which)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_ban_holds_until_it_is_taken_back(asked: Asked, sqlite_sessions: Sessions) -> None:
    assert asked("ban", "machine", "7", "--why", "it is\nslow").stdout == "machine 7 is banned: it is slow\n"
    assert asked("ban", "host", "9", "--why", "dear").exit_code == 0
    with sqlite_sessions.read() as session:
        assert [(one.kind, one.id, one.why) for one in bans.read(session)] == [
            ("machine", 7, "it is slow"),
            ("host", 9, "dear"),
        ]
    first, second, third = asked("bans").stdout.splitlines()
    assert first == "machine 66: it stands in bad_machines"
    assert second.startswith("machine 7 since 20")
    assert second.endswith(" UTC: it is slow")
    assert [one["id"] for one in json.loads(asked("bans", "--json").stdout)] == [66, 7, 9]
    assert (asked("unban", "host", "9").stdout, third[:6]) == ("host 9 may be rented again\n", "host 9")


def test_an_unban_that_changes_nothing_says_why(asked: Asked) -> None:
    never = asked("unban", "host", "9")
    assert (never.exit_code, never.stdout) == (1, "host 9 was not banned\n")
    set_so = asked("unban", "machine", "66")
    assert set_so.exit_code == 1
    assert set_so.stdout == "machine 66: it stands in bad_machines; take it out there and reload\n"
    asked("ban", "machine", "66", "--why", "twice")
    assert "its ban is taken back, but it stands in bad_machines" in asked("unban", "machine", "66").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("ban", "machine", "7"),
        ("ban", "machine", "7", "--why", " "),
        ("ban", "planet", "7", "--why", "x"),
        ("ban", "host", "0", "--why", "x"),
        ("unban", "host", "x"),
    ],
)
def test_a_ban_that_cannot_be_meant_is_a_mistake_of_usage(asked: Asked, words: tuple[str, ...]) -> None:
    result = asked(*words)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_nothing_banned_is_said_too(
    tmp_path: Path, sqlite_sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "magister.toml").write_text(SETTINGS.replace("bad_machines = [66]", ""))
    assert CliRunner().invoke(main, ("bans",)).stdout == "nothing is banned\n"
