"""Keep child processes running: start them, start them again when they die, end them in good order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from magister.signals import Inbox, inbox

WAITS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a child that died is started again; the last repeats."""

STEADY_AFTER = 60.0
"""Seconds after which a child is held to be well again, and the waits begin anew."""

END_WITHIN = 9.0
"""Seconds that children have to end before they are killed."""

UNUSABLE = 2
"""The exit code of a child that cannot run before the operator changes something."""

log = structlog.get_logger("magister.serve")


@dataclass(frozen=True, slots=True)
class Role:
    """Name a child and the arguments of `magister` that make it; `descriptors` are handed down open."""

    name: str
    arguments: tuple[str, ...]
    descriptors: tuple[int, ...] = ()


@dataclass(slots=True)
class Child:
    """Hold what is known of the process in one role; moments are monotonic seconds."""

    role: Role
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0  # when it is to be started, while there is no process
    deaths: int = 0  # in a row


@dataclass(slots=True)
class Supervisor:
    """Run children until asked to end; each leads a process group, so a terminal's Ctrl-C goes to none.

    `_leash` is the pipe whose reading end the children have: they end when this process is no more.
    """

    _inbox: Inbox
    _leash: tuple[int, int]
    _children: list[Child] = field(default_factory=list)

    def finish(self, role: Role) -> int | None:
        """Run a child to its end and return its exit code; None = this process was asked to end meanwhile."""
        child = Child(role)
        self._children = [child]
        self._start(child)
        while not self._inbox.ending:
            for _, code in self._reaped():
                return code
            self._inbox.wait(1.0)
        self._end()
        return None

    def keep(self, *roles: Role) -> int:
        """Run a child in each role until asked to end, and return the exit code for this process."""
        self._children = [Child(role) for role in roles]
        code = 0
        while not self._inbox.ending and code == 0:
            for child in self._children:
                if child.process is None and child.start_at <= time.monotonic():
                    self._start(child)
            self._inbox.wait(self._pause())
            code = self._mourn()
        self._end()
        return code

    def _start(self, child: Child) -> None:
        """Start a child without the directory at hand on its path, where files may bear a module's name."""
        command = (sys.executable, "-P", "-m", "magister", *child.role.arguments)
        child.process = subprocess.Popen(  # noqa: S603 - our own program
            (*command, "--parent-fd", str(self._leash[0])),
            stdin=subprocess.DEVNULL,
            pass_fds=(self._leash[0], *child.role.descriptors),
            process_group=0,
        )
        child.started_at = time.monotonic()
        log.debug("child.started", child=child.role.name, pid=child.process.pid)

    def _mourn(self) -> int:
        """Arrange for the next start of those that died; return the code of one that cannot run, else 0."""
        for child, code in self._reaped():
            if self._inbox.ending:
                continue
            if code == UNUSABLE:
                log.error("child.unusable", child=child.role.name, why="it said so above; the service ends")
                return code
            lived = time.monotonic() - child.started_at
            child.deaths = 1 if lived >= STEADY_AFTER else child.deaths + 1
            wait = WAITS[min(child.deaths, len(WAITS)) - 1]
            child.start_at = time.monotonic() + wait
            log.warning("child.died", child=child.role.name, how=_manner(code), starts_again_in_secs=wait)
        return 0

    def _reaped(self) -> Iterator[tuple[Child, int]]:
        """Yield our children that have ended with their codes, and let strays rest: this may be process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            for child in self._children:
                if child.process is not None and child.process.pid == pid:
                    child.process.returncode = code
                    child.process = None
                    yield child, code

    def _pause(self) -> float:
        """Return the seconds until a child is to be started, at most a minute."""
        waits = [child.start_at - time.monotonic() for child in self._children if child.process is None]
        return min([60.0, *waits])

    def _end(self) -> None:
        """Ask all children to end, and kill what does not, with all it started."""
        deadline = time.monotonic() + END_WITHIN
        for process in self._running():
            process.send_signal(signal.SIGTERM)
        while self._running() and time.monotonic() < deadline:
            self._inbox.wait(deadline - time.monotonic())
            list(self._reaped())
        for process in self._running():
            log.warning("child.killed", pid=process.pid, why=f"it did not end within {END_WITHIN:g} s")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [child.process for child in self._children if child.process is not None]


@contextmanager
def supervisor(parent: int | None) -> Iterator[Supervisor]:
    """Yield a supervisor; `parent` is the pipe to whoever started this process. For the main thread only."""
    leash = os.pipe()
    try:
        with inbox(parent) as box:
            yield Supervisor(box, leash)
    finally:
        for end in leash:
            os.close(end)


def _manner(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
