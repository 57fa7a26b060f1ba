"""What `magister check` finds, and what it says would cure it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from magister.cli.commands import check
from magister.cli.commands.check import Finding, Grade, findings
from magister.cli.main import main
from magister.errors import BadKey, NotSent, RateLimited
from magister.service import wiring
from magister.settings.model import load
from magister.states import State
from magister.store import pool
from magister.store.db import migrations
from magister.store.db.engine import open_database
from magister.vast import Vast
from tests.builders import a_row, an_offer, public_key
from tests.fakes import FakeVast

SETTINGS = {
    "THIS_MAGISTER_ADDR": "http://magister.example",
    "HIEROPHANT_IP": "8.8.8.8",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
    "NUMBER_INSTANCES": "2",
    "VAST_QUERY_COST_PER_HOUR": "0.6",
    "CONTEMPLANT_VMS": "sp1",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def vast() -> FakeVast:
    """Stock a market with offers on three machines for a target of two."""
    fake = FakeVast()
    fake.stock(an_offer() for _ in range(3))
    return fake


def found(vast: FakeVast, **settings: str) -> tuple[Finding, ...]:
    return tuple(findings(load(None, SETTINGS | settings), vast))


def about(word: str, vast: FakeVast, **settings: str) -> Finding:
    return next(finding for finding in found(vast, **settings) if word in finding.what)


def test_all_is_well(vast: FakeVast) -> None:
    assert {finding.grade for finding in found(vast)} == {Grade.OK}


def test_a_wrong_key_is_told_once_and_nothing_else_is_asked(vast: FakeVast) -> None:
    vast.before("account", BadKey())
    failed = [finding for finding in found(vast) if finding.grade is Grade.FAIL]
    assert [finding.cure for finding in failed] == ["set vast_api_key"]
    assert [call for call, _ in vast.calls] == ["account"]


def test_the_account_of_the_key_is_named(vast: FakeVast) -> None:
    assert about("accepts the key", vast).what.endswith(" accepts the key, which is of account 4242")
    vast.account_id = None
    assert about("accepts the key", vast).what.endswith(" accepts the key")


@pytest.mark.parametrize(("signed", "doubted"), [(False, True), (True, False)])
def test_instances_that_anybody_can_drop_are_doubted(vast: FakeVast, signed: bool, doubted: bool) -> None:
    sessions = open_database("sqlite:///magister.db", busy_timeout=5)
    migrations.migrate(sessions)
    with sessions.write() as session:
        a_row(session, callback_key="0f" * 24 if signed else None)
        a_row(session, state=State.DESTROYED)
    sessions.engine.dispose()
    said = [finding.what for finding in found(vast) if "callback key" in finding.what]
    sentence = "1 instance without a callback key: whoever reaches http_port can drop them"
    assert said == ([sentence] if doubted else [])


def test_a_key_of_another_account_than_the_boxes_is_told(vast: FakeVast) -> None:
    sessions = open_database("sqlite:///magister.db", busy_timeout=5)
    migrations.migrate(sessions)
    with sessions.write() as session:
        pool.note_account(session, 4242)
    vast.account_id = 777
    assert about("accepts the key", vast).grade is Grade.OK  # no box is lacking there
    with sessions.write() as session:
        a_row(session)
    sessions.engine.dispose()
    finding = about("vast_api_key", vast)
    assert finding.grade is Grade.FAIL
    assert finding.what == (
        "vast_api_key is a key of Vast account 777, and the 1 box of the pool is on account 4242"
    )


def test_an_outage_is_told(vast: FakeVast) -> None:
    vast.before("account", NotSent("Vast cannot be reached: refused"))
    finding = about("Vast: ", vast)
    assert (finding.grade, finding.what) == (Grade.FAIL, "Vast: Vast cannot be reached: refused")


def test_a_search_that_fails_leaves_the_rest_tested(vast: FakeVast) -> None:
    vast.before("search", RateLimited("Vast said 429"))
    assert about("offers", vast).grade is Grade.FAIL
    assert about("credit", vast).grade is Grade.OK


def test_no_offer_keeps_the_pool_from_running(vast: FakeVast) -> None:
    vast.offers.clear()
    assert about("offers", vast).grade is Grade.FAIL


def test_no_offer_is_no_failure_if_none_is_wanted(vast: FakeVast) -> None:
    vast.offers.clear()
    assert about("offers", vast, NUMBER_INSTANCES="0").grade is Grade.OK


def test_fewer_machines_than_wanted_are_doubted(vast: FakeVast) -> None:
    finding = about("offers", vast, NUMBER_INSTANCES="4")
    assert finding.grade is Grade.WARN
    assert finding.what == "3 offers on 3 machines may be rented, for 4 wanted"


def test_offers_that_we_turn_down_ourselves_are_counted_with_their_reasons(vast: FakeVast) -> None:
    vast.stock([an_offer(price=900_000), an_offer(verification="unverified")])
    said = about("offers", vast).what
    assert "2 more are unfit: " in said
    assert "it costs more than cost_per_hour (1)" in said
    assert "it is unverified, not verified (1)" in said


@pytest.mark.parametrize(
    ("credit", "grade"),
    [(None, Grade.WARN), (0, Grade.FAIL), (-1, Grade.FAIL), (1_000_000, Grade.WARN), (90_000_000, Grade.OK)],
)
def test_the_credit_is_set_against_the_rent(vast: FakeVast, credit: int | None, grade: Grade) -> None:
    vast.credit = credit
    assert about("credit", vast).grade is grade


@pytest.mark.parametrize(("known", "grade"), [(True, Grade.OK), (False, Grade.FAIL), (None, Grade.WARN)])
def test_the_template_is_looked_up(
    vast: FakeVast, known: bool | None, grade: Grade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vast, "template_exists", lambda template_hash: known)
    assert about("template", vast).grade is grade


@pytest.mark.parametrize(
    ("address", "grade"),
    [
        ("http://127.0.0.1", Grade.WARN),
        ("http://[::1]", Grade.WARN),
        ("http://0.0.0.0", Grade.WARN),
        ("http://192.168.1.7", Grade.WARN),
        ("http://localhost", Grade.WARN),
        ("http://tower", Grade.WARN),
        ("http://tower.local", Grade.WARN),
        ("http://203.0.113.300", Grade.WARN),
        ("https://magister.example", Grade.WARN),
        ("http://8.8.4.4", Grade.OK),
        ("http://[2606:4700::1111]", Grade.OK),
        ("http://magister.example", Grade.OK),
    ],
)
def test_an_address_that_boxes_cannot_reach_is_doubted(vast: FakeVast, address: str, grade: Grade) -> None:
    assert about("this_magister_addr", vast, THIS_MAGISTER_ADDR=address).grade is grade


def test_a_forwarded_port_is_mentioned(vast: FakeVast) -> None:
    finding = about("names port", vast, THIS_MAGISTER_ADDR="http://magister.example:80")
    assert finding.what == "this_magister_addr names port 80, but http_port is 8555"


def test_the_length_of_the_onstart_is_told(vast: FakeVast) -> None:
    assert about("onstart", vast).what.endswith(" of 4048 characters")


def test_an_onstart_that_is_too_long_fails(vast: FakeVast) -> None:
    assert about("onstart", vast, CONTEMPLANT_SSH_AUTHORIZED_KEYS=public_key(4000)).grade is Grade.FAIL


def test_a_database_that_does_not_exist_yet_is_left_so(vast: FakeVast) -> None:
    finding = about("database", vast)
    assert (finding.grade, "does not exist yet" in finding.what) == (Grade.OK, True)
    assert not Path("magister.db").exists()


def test_a_database_without_its_folder_fails(vast: FakeVast) -> None:
    finding = about("database", vast, DATABASE_URL="sqlite:////nowhere/at/all/magister.db")
    assert finding.what.endswith("there is no folder /nowhere/at/all")
    assert finding.grade is Grade.FAIL


def test_a_database_that_is_none_fails(vast: FakeVast) -> None:
    Path("magister.db").write_text("this is no database, and long enough to be taken for a header " * 9)
    assert about("database", vast).grade is Grade.FAIL


def test_what_is_doubtful_in_the_settings_is_repeated(vast: FakeVast) -> None:
    assert about("cost_per_hour is not set", vast, VAST_QUERY_COST_PER_HOUR="").grade is Grade.WARN


def _command(vast: FakeVast, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, str]:
    def client(settings: object, *, nap: Callable[[float], None]) -> Vast:
        return vast

    monkeypatch.setattr(wiring, "vast", client)
    result = CliRunner().invoke(main, ["check", *options], prog_name="magister", env=SETTINGS)
    return result.exit_code, result.stdout


def test_the_command_shows_where_each_setting_comes_from(
    vast: FakeVast, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = _command(vast, monkeypatch, "--all")
    assert code == 0
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line}
    assert lines["number_instances"][1:] == ["2", "environment", "NUMBER_INSTANCES"]
    assert lines["vast_api_key"][1:] == ["***", "environment", "VAST_API_KEY"]
    assert lines["http_port"][1:] == ["8555", "default"]
    assert "key-of-the-account" not in said


def test_the_command_shows_what_is_set_and_counts_the_rest(
    vast: FakeVast, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, said = _command(vast, monkeypatch)
    shown = said.partition("\n\n")[0].splitlines()
    assert "http_port" not in {line.split()[0] for line in shown}
    assert re.fullmatch(r"\d+ more are at their defaults: `magister check --all` shows them", shown[-1])
    assert not any(line.endswith("default") for line in shown)


def test_the_command_fails_when_the_pool_could_not_run(
    vast: FakeVast, monkeypatch: pytest.MonkeyPatch
) -> None:
    vast.offers.clear()
    code, said = _command(vast, monkeypatch)
    assert code == 1
    assert "\nFAIL  0 offers on 0 machines may be rented, for 2 wanted" in said
    assert "\n      -> raise vast_query.cost_per_hour or loosen [vast_query]\n" in said


def test_a_finding_without_a_cure_is_one_line() -> None:
    assert "\n" not in check.styled(Finding(Grade.OK, "fine"))


def test_beats_that_have_no_room_are_a_warning(vast: FakeVast) -> None:
    finding = about("no beats", vast, CONTEMPLANT_SSH_AUTHORIZED_KEYS=public_key(3_000))
    assert finding.grade is Grade.WARN
    assert about("onstart: ", vast, CONTEMPLANT_SSH_AUTHORIZED_KEYS=public_key(3_000)).grade is Grade.OK
    assert not [each for each in found(vast) if "beats" in each.what]
