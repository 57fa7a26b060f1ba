"""The demo as an operator meets it: in a pipe, in a terminal, begun again, interrupted, killed."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from magister.demo.scenario import CHAPTERS, Stage, story
from magister.reports.overview import Event, Overview
from magister.states import LIVE, Reason, State
from tests.acceptance.test_processes import alive, family
from tests.builders import NOW
from tests.waiting import PATIENCE, until

STORY = 600.0
"""Seconds that the story may take here: many times what it takes where nothing else runs."""

COMMAND = [sys.executable, "-m", "magister", "demo"]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")

FORKING = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
"""Other tests may have left threads behind; the fork is followed by an exec at once."""

MISLEADING = {"VAST_API_KEY": "a-real-key", "NUMBER_INSTANCES": "40", "DATABASE_URL": "postgresql://real/one"}
"""What an operator may have exported; nothing of it may reach the demo."""


@dataclass(frozen=True)
class Told:
    directory: Path
    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | MISLEADING | more


def once(directory: Path, *arguments: str, **more: str) -> Told:
    """Run the demo in a pipe until the story is told."""
    done = subprocess.run(
        [*COMMAND, "--once", "--dir", "here", "--timeout", f"{STORY:g}", *arguments],
        cwd=directory,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=STORY + PATIENCE,
    )
    return Told(directory, done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Terminal:
    """Hold a demo in a terminal of its own, our end of that, and what it has shown so far."""

    pid: int
    end: int
    shown: bytearray = field(default_factory=bytearray)

    def shows(self, words: str) -> bool:
        self._drain()
        return words.encode() in self.shown

    def ended(self) -> bool:
        self._drain()
        return not alive(self.pid)

    def _drain(self) -> None:
        """Read what there is; nothing is left to read once the program has ended."""
        with suppress(OSError):
            self.shown.extend(os.read(self.end, 1 << 16))


@contextmanager
def in_a_terminal(directory: Path, kind: str) -> Iterator[Terminal]:
    """Run a demo in a terminal, and kill it on leaving if it has not ended."""
    pid, end = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execve(sys.executable, COMMAND, environment(TERM=kind))
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.set_blocking(end, False)
    try:
        yield Terminal(pid, end)
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(end)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Have the story told once, with a real operator's settings lying about."""
    directory = tmp_path_factory.mktemp("demo")
    (directory / "magister.toml").write_text("this is not TOML")
    (directory / ".env").write_text("NUMBER_INSTANCES=40\n")
    return once(directory, FORCE_COLOR="1")


@pytest.mark.acceptance
def test_the_story_is_told_in_a_pipe(told: Told) -> None:
    assert (told.code, told.err) == (0, "")
    assert not CONTROL.search(told.out)
    told_of = {
        reason: len(re.findall(rf"^\d\d:\d\d:\d\d  #\d+ .*  {reason}: .+$", told.out, re.MULTILINE))
        for reason in (Reason.UNVERIFIED, Reason.COORDINATOR, Reason.EXITED, Reason.VANISHED)
    }
    duds = told_of.pop(Reason.UNVERIFIED)  # on a slow machine a worker may be late that is none
    assert duds >= 1
    assert set(told_of.values()) == {1}
    assert told.out.count("new -> requested") == 8 + duds
    assert told.out.splitlines()[-2].startswith("target 5: 5 verified; ")


@pytest.mark.acceptance
def test_the_story_goes_on_where_it_ended(told: Told) -> None:
    again = once(told.directory)
    assert (again.code, again.err) == (0, "")
    assert "-- resumed: 5 boxes known, 0 rented\n" in again.out
    assert "->" not in again.out


@pytest.mark.acceptance
def test_a_story_that_takes_too_long_says_what_is_missing(tmp_path: Path) -> None:
    cut = once(tmp_path, "--timeout", "0.1")
    assert cut.code == 1
    assert cut.err == "magister: the time is up; still missing: the service has not seen the market\n"


@pytest.mark.acceptance
@FORKING
def test_ctrl_c_in_a_terminal_ends_everything(tmp_path: Path) -> None:
    with in_a_terminal(tmp_path, "xterm") as demo:
        until(lambda: demo.shows("requested -> created"), "a box")
        children = family(demo.pid)
        os.write(demo.end, b"\x03")
        until(demo.ended, "the end")
        assert os.waitstatus_to_exitcode(os.waitpid(demo.pid, 0)[1]) == 0
    assert sum(" -m magister " in line for line in children.values()) == 5
    until(lambda: not any(map(alive, children)), "the end of all processes")


@pytest.mark.acceptance
@FORKING
def test_a_plain_terminal_gets_lines(tmp_path: Path) -> None:
    with in_a_terminal(tmp_path, "dumb") as demo:
        until(lambda: demo.shows("requested -> created"), "a box")
        os.kill(demo.pid, signal.SIGTERM)
        until(demo.ended, "the end")
        assert os.waitstatus_to_exitcode(os.waitpid(demo.pid, 0)[1]) == 0
        assert b"\x1b" not in demo.shown


def whole(pid: int) -> bool:
    """Say whether all five processes of a demo run, and a worker in a box."""
    lines = family(pid).values()
    return sum(" -m magister " in line for line in lines) == 5 and any(
        "/contemplant" in line for line in lines
    )


@pytest.mark.acceptance
def test_nothing_goes_on_when_the_demo_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: whole(process.pid), "all processes, and a worker")
        children = family(process.pid)
    finally:
        process.kill()
        process.wait()
    until(lambda: not any(map(alive, children)), "the end of all processes")


@pytest.mark.acceptance
def test_a_service_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def serving() -> int | None:
        lines = family(process.pid).items()
        return next((child for child, line in lines if "magister serve" in line), None)

    try:
        service = until(serving, "the service")
        until((tmp_path / ".demo" / "magister.db").exists, "a database")
        os.kill(service, signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    lines = said.splitlines()
    assert lines[0].startswith("magister: the service ended with code -9; the last lines of ")
    assert all(line.startswith("magister:   ") for line in lines[1:])


def _overview(**states: int) -> Overview:
    counts = {state: states.get(state, 0) for state in State if state in LIVE}
    return Overview(
        at=NOW,
        target=5,
        states=counts,
        cost=0,
        credit=None,
        heartbeat_age_secs=0.0,
        listing_age_secs=0.0,
        conditions=(),
        events=(),
        instances=(),
    )


def _moves(to: State, *reasons: Reason) -> tuple[Event, ...]:
    return tuple(
        Event(
            at=NOW,
            instance=number,
            offer_id=1,
            instance_id=None,
            machine_id=None,
            gpu=None,
            from_state=State.CREATED,
            to_state=to,
            reason=reason,
            actor="loop",
            detail="",
        )
        for number, reason in enumerate(reasons)
    )


FULL = _moves(State.VERIFIED, *[Reason.CALLED] * 5)
ENDS = tuple(chapter.sign for chapter in CHAPTERS if chapter.sign is not None)


def test_the_story_begins_with_a_pool_that_fills() -> None:
    now = story(_overview(created=2, verified=3), FULL[:3])
    assert now.stages == (Stage.NOW, *[Stage.AHEAD] * 4)
    assert len(now.missing) == 5


def test_a_dud_met_while_the_pool_fills_counts() -> None:
    now = story(_overview(verified=5), FULL + _moves(State.DROPPING, Reason.UNVERIFIED))
    assert now.stages == (Stage.DONE, Stage.DONE, Stage.NOW, Stage.AHEAD, Stage.AHEAD)
    assert now.current is not None
    assert now.current.incident == "coordinator_drop"


def test_what_happened_is_not_done_before_it_is_made_good() -> None:
    now = story(_overview(verified=4, created=1), FULL + _moves(State.DROPPING, *ENDS))
    assert not now.complete
    assert now.missing == (CHAPTERS[-1].title,)


def test_the_story_is_complete_when_all_is_made_good() -> None:
    now = story(_overview(verified=5), FULL + _moves(State.DROPPING, *ENDS))
    assert now.complete
    assert (now.current, now.missing) == (None, ())
