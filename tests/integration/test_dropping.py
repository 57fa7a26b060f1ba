"""One instance dropped by a person, beside the database."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from magister.cli.commands import drop as dropping
from magister.cli.commands.drop import Which
from magister.cli.main import main
from magister.errors import BadUsage
from magister.states import Reason, State
from magister.store.db.engine import Sessions, open_database
from magister.store.db.migrations import migrate
from magister.store.db.models import Transition
from tests.builders import a_row, an_offer, state_of

SETTINGS = """
this_magister_addr = "http://magister.example"
hierophant_ip = "hierophant.example"
hierophant_http_port = 9010
vast_api_key = "key-of-the-account"
template_hash = "819fdf2e42fc8ceb32f295465b5bb21e"
number_instances = 0
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    monkeypatch.chdir(tmp_path)
    Path("magister.toml").write_text(SETTINGS)
    sessions = open_database("sqlite:///magister.db", busy_timeout=5)
    migrate(sessions)
    return sessions


def drop(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["drop", *arguments], prog_name="magister")


@pytest.mark.parametrize("which", ["{row}", "#{row}", "offer:77", "contract:4711"])
def test_an_instance_is_named_by_its_row_its_offer_or_its_contract(here: Sessions, which: str) -> None:
    with here.write() as session:
        a_row(session, state=State.DESTROYED, offer=an_offer(id=77))
        row = a_row(session, offer=an_offer(id=77), contract_id=4711, callback_key="0f" * 24)
    done = drop(which.format(row=row.id), "--reason", "too slow\nby far")
    assert (done.exit_code, done.stdout) == (
        0,
        f"instance #{row.id} on offer 77 is dropping: the loop destroys it now\n",
    )
    assert state_of(here, row) is State.DROPPING
    with here.read() as session:
        last = session.scalars(select(Transition).order_by(Transition.id.desc())).first()
        assert last is not None
        assert (last.reason, last.actor, last.detail) == (Reason.OPERATOR, "operator", "too slow by far")
    again = drop(str(row.id))
    assert (again.exit_code, "dropping already" in again.stdout) == (0, True)


@pytest.mark.parametrize("which", ["7", "#7", "offer:7", "contract:7"])
def test_one_that_is_not_there_is_told_in_a_line(here: Sessions, which: str) -> None:
    done = drop(which)
    assert done.exit_code == 2
    assert done.stderr.startswith("magister: no ")
    assert "`magister status` lists them" in done.stderr


@pytest.mark.parametrize(
    "text", ["", "x", "#", "0", "-1", "7x", "host:7", "9" * 19, "9" * 30, "offer:", "\u0667"]
)
def test_what_names_no_instance_is_refused(text: str) -> None:
    with pytest.raises(BadUsage, match="names no instance"):
        dropping.read(text)


def test_a_number_is_that_of_a_row() -> None:
    assert dropping.read("7") == dropping.read("#7") == Which("row", 7)
