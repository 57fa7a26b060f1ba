"""A database that other tools put back, pg_restore say: nobody but the operator can tell it of that."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from magister.cli.main import main
from magister.errors import Ambiguous
from magister.service import wiring
from magister.states import Reason, State
from magister.store import requests
from magister.store.db.engine import Sessions
from magister.store.db.lease import kernel_lock
from magister.store.db.models_accounting import Rate
from tests import postgres
from tests.builders import ADDRESS, a_fleet, a_row, an_offer
from tests.controller import Controller
from tests.unit.cli.test_main import SETTINGS

HOUR = timedelta(hours=1).total_seconds()


@pytest.fixture
def pool(sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    """A pool of four, beside settings by which the commands find its database and its clock."""
    monkeypatch.chdir(tmp_path)
    Path("magister.toml").write_text(SETTINGS.replace("http://magister.example", ADDRESS))
    if sessions.engine.dialect.name == "postgresql":
        monkeypatch.setenv("DATABASE_URL", sessions.engine.url.render_as_string(hide_password=False))
    pool = Controller(sessions, fleet=a_fleet(target=4))
    pool.vast.stock(an_offer() for _ in range(60))
    monkeypatch.setattr(wiring, "now", pool.clock.wall)
    return pool


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="magister")


def dumped(sessions: Sessions) -> Callable[[], None]:
    """Keep what the tables hold, and return what puts it back as it was."""
    tables = Rate.metadata.sorted_tables
    with sessions.read() as session:
        kept = {table: [dict(row) for row in session.execute(table.select()).mappings()] for table in tables}

    def put_back() -> None:
        with sessions.write() as session:
            for table in reversed(tables):
                session.execute(table.delete())
            for table in tables:
                if kept[table]:
                    session.execute(table.insert(), kept[table])

    return put_back


def told(*, code: int = 0) -> str:
    result = run("restore", "--by-hand")
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def beat(pool: Controller) -> set[str]:
    """Let each box say that its worker lives, and return what came of it."""
    return {_asked(pool, (box.onstart or "").rpartition("/")[2]) for box in pool.vast.boxes.values()}


def _asked(pool: Controller, callback: str) -> str:
    offer, _, key = callback.partition("?key=")
    with pool.sessions.write() as session:
        try:
            requests.verify(session, int(offer), key=key or None, now=pool.clock.now, beat=True)
        except Exception as error:
            return type(error).__name__
    return "done"


def test_boxes_whose_workers_called_after_the_dump_are_kept(pool: Controller) -> None:
    pool.step()
    put_back = dumped(pool.sessions)
    pool.verify_all()
    pool.run(HOUR, every=600)
    before = dict(pool.vast.boxes)
    assert len(before) == 4
    put_back()
    assert "4 workers may have called since: their boxes count as verified" in told()
    pool.restart()
    pool.run(600, every=20)
    assert pool.vast.boxes == before
    assert {pool.story(row.id)[-1] for row in pool.rows()} == {(State.VERIFIED, Reason.RESTORED)}


def test_an_intent_that_was_sent_after_the_dump_is_not_sent_again(pool: Controller) -> None:
    with pool.sessions.write() as session:
        a_row(session, state=State.REQUESTED, sent=False, offer=pool.vast.offers[0], at=pool.clock.now)
    put_back = dumped(pool.sessions)
    pool.run(60)
    pool.verify_all()
    before = dict(pool.vast.boxes)
    put_back()
    assert "1 intents may have been sent since" in told()
    pool.restart()
    for _ in range(10):
        pool.verify_all()
        pool.run(60, every=20)
    assert pool.vast.boxes == before
    assert len(set(pool.vast.live_labels())) == len(pool.vast.created) == 4


def test_the_calls_of_boxes_that_are_newer_than_the_dump_wait_for_the_first_listing(
    pool: Controller,
) -> None:
    pool.filled()
    put_back = dumped(pool.sessions)
    pool.clock.advance(HOUR)
    for row in pool.rows()[:2]:
        pool.drop(row)
    pool.run(60)
    pool.verify_all()
    pool.run(60)
    before = dict(pool.vast.boxes)
    put_back()
    told()
    assert beat(pool) == {"done", "TooEarly"}
    pool.restart()
    pool.step(5)
    assert beat(pool) == {"done"}
    pool.run(HOUR, every=20)
    assert pool.vast.boxes == before
    assert len(pool.rows(State.VERIFIED)) == 4


def test_what_is_said_twice_changes_nothing_more(pool: Controller) -> None:
    pool.step()
    put_back = dumped(pool.sessions)
    pool.clock.advance(HOUR)
    put_back()
    told()
    before = pool.rows()
    assert "may have" not in told()
    assert pool.rows() == before


def test_it_is_refused_while_a_loop_acts(pool: Controller) -> None:
    pool.filled()
    before = pool.rows()
    lock = kernel_lock(pool.sessions)
    assert lock.take()
    try:
        said = told(code=2)
    finally:
        lock.release()
    assert said.startswith("magister: a service keeps the pool on ")
    assert said.endswith(": stop it first\n")
    assert pool.rows() == before


@pytest.mark.parametrize("arguments", [(), ("backup.db", "--by-hand")])
def test_a_file_or_by_hand_is_wanted_and_not_both(pool: Controller, arguments: tuple[str, ...]) -> None:
    result = run("restore", *arguments)
    assert result.exit_code == 2
    assert "either FILE or --by-hand" in result.stderr


def test_without_a_database_nothing_was_put_back(pool: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///nothing.db")
    result = run("restore", "--by-hand")
    assert result.exit_code == 2
    assert "there is no database nothing.db" in result.stderr
    assert not Path("nothing.db").exists()


# nobody said so


def test_a_box_whose_time_ran_out_while_nobody_could_hear_has_it_anew(pool: Controller) -> None:
    pool.step()
    put_back = dumped(pool.sessions)
    pool.verify_all()
    pool.clock.advance(HOUR)
    before = dict(pool.vast.boxes)
    put_back()
    pool.restart()
    pool.run(60)
    assert len(pool.rows(State.CREATED)) == 4
    assert beat(pool) == {"done"}
    pool.run(600, every=20)
    assert pool.vast.boxes == before
    assert {row.reason for row in pool.rows()} == {Reason.BEAT}


def test_a_box_whose_create_was_not_answered_before_has_the_time_to_be_heard_too(pool: Controller) -> None:
    pool.vast.lag = 20
    pool.restart(target=1)
    pool.vast.after("create", Ambiguous("no answer"))
    pool.step()
    put_back = dumped(pool.sessions)
    pool.clock.advance(HOUR)
    before = dict(pool.vast.boxes)
    assert len(before) == 1
    put_back()
    pool.restart()
    pool.run(60)
    assert beat(pool) == {"done"}
    pool.run(600, every=20)
    assert pool.vast.boxes == before


def test_a_box_that_is_not_heard_then_either_goes(pool: Controller) -> None:
    pool.step()
    pool.clock.advance(HOUR)
    pool.restart()
    pool.run(170)
    assert len(pool.rows(State.CREATED)) == 4
    pool.step(15)
    assert {pool.story(number)[2] for number in (1, 2, 3, 4)} == {(State.DROPPING, Reason.UNVERIFIED)}


def test_a_loop_that_was_not_missed_gives_no_box_more_time(pool: Controller) -> None:
    pool.step()
    before = {row.verify_by for row in pool.rows()}
    pool.restart()
    pool.step(5)
    assert {row.verify_by for row in pool.rows()} == before


# pg_restore itself


@pytest.mark.parametrize("sessions", ["postgres"], indirect=True)
def test_a_dump_that_pg_restore_put_back_is_told_of_by_the_line_that_restore_prints(
    pool: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{postgres.binaries()}")
    if shutil.which("pg_restore") is None:
        pytest.skip("pg_dump and pg_restore are not installed")
    pool.step()
    subprocess.run(_shown("backup"), shell=True, check=True)
    pool.verify_all()
    pool.run(HOUR, every=600)
    before = dict(pool.vast.boxes)
    pool.lease.release(pool.clock.now)
    pool.sessions.engine.dispose()
    put_back, _, mark = _shown("restore").partition(" && magister ")
    subprocess.run(put_back, shell=True, check=True)
    assert len(pool.rows(State.CREATED)) == 4
    assert run(*mark.split()).exit_code == 0
    assert beat(pool) == {"done"}
    pool.restart()
    pool.run(600, every=20)
    assert pool.vast.boxes == before
    assert len(pool.rows(State.VERIFIED)) == 4


def _shown(command: str) -> str:
    result = run(command, "pool.dump")
    assert result.exit_code == 2
    return result.stderr.partition("by its own tools: ")[2].strip()
