"""Keep child processes running: start them, start them again when they die, end them in good order.

When the settings change, others take their places. A seamless one comes first, and its predecessor ends once
it is at work; of the others there are never two.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import structlog

from magister.service.signals import Inbox, inbox, readable

WAITS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a child that died is started again; the last repeats."""

STEADY_AFTER = 60.0
"""Seconds after which a child is held to be well again, and the waits begin anew."""

END_WITHIN = 9.0
"""Seconds that children have to end before they are killed."""

ANSWERS, WRITES = b"a", b"w"
"""What a seamless child says when it answers, and when the database takes what it writes besides."""

UNUSABLE = 2
"""The exit code of a child that cannot run before the operator changes something."""

log = structlog.get_logger("magister.serve")


@dataclass(frozen=True, slots=True)
class Role:
    """Name a child, the arguments of `magister` that make it, and what it reads on stdin.

    `descriptors` are handed down open. A `seamless` one is started beside its predecessor, and says ANSWERS
    to --ready-fd, and WRITES when it is wholly at work.
    """

    name: str
    arguments: tuple[str, ...]
    told: bytes = field(repr=False)  # the secrets among the settings
    descriptors: tuple[int, ...] = ()
    seamless: bool = False


@dataclass(slots=True, eq=False)
class Child:
    """Hold what is known of the process in one role; moments are monotonic seconds."""

    role: Role
    process: subprocess.Popen[bytes] | None = None
    ready: int | None = None  # a pipe that says when it is at work; None = nothing is waited for
    answers: bool = False  # what it took in may be in its memory only
    started_at: float = 0.0
    start_at: float = 0.0  # when it is to be started, while there is no process
    kill_at: float | None = None  # None = it was not asked to end
    deaths: int = 0  # in a row


@dataclass(slots=True)
class Supervisor:
    """Run children until asked to end; each leads a process group, so a terminal's Ctrl-C goes to none.

    `_leash` is the pipe whose reading end the children have: they end when this process is no more.
    """

    _inbox: Inbox
    _leash: tuple[int, int]
    _children: list[Child] = field(default_factory=list)
    _former: list[Child] = field(default_factory=list)  # whose places others take
    _replacing: bool = False

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

    def keep(self, roles: Sequence[Role], reread: Callable[[], Sequence[Role] | None]) -> int:
        """Run a child in each role until asked to end, and return the exit code for this process.

        On SIGHUP `reread` says which roles take the places of those of the same names; None = none.
        """
        self._children = [Child(role) for role in roles]
        code = 0
        while not self._inbox.ending and code == 0:
            if self._inbox.took_hangup() and (others := reread()) is not None:
                self._replace(others)
            self._start_due()
            self._tell_replaced()
            self._inbox.wait(self._pause(), *self._awaited())
            self._hear()
            code = self._mourn()
            self._kill_overdue()
        self._end()
        return code

    def _replace(self, roles: Sequence[Role]) -> None:
        """Let a child in each role take the place of the one before."""
        for old in self._children:
            if old.process is None:
                continue
            self._former.append(old)
            if not old.role.seamless or (old.ready is not None and not old.answers):  # it would not be missed
                self._dismiss(old)
        self._children = [Child(role) for role in roles]
        self._replacing = True

    def _dismiss(self, child: Child) -> None:
        """Ask a child to end, once."""
        if child.kill_at is None and child.process is not None:
            child.kill_at = time.monotonic() + END_WITHIN
            os.kill(child.process.pid, signal.SIGTERM)
            log.debug("child.asked_to_end", child=child.role.name, pid=child.process.pid)

    def _start_due(self) -> None:
        for child in self._vacant():
            if child.start_at <= time.monotonic():
                self._start(child)

    def _vacant(self) -> list[Child]:
        """Return the children without a process for which there is room."""
        taken = {old.role.name for old in self._former}
        return [
            child
            for child in self._children
            if child.process is None and (child.role.seamless or child.role.name not in taken)
        ]

    def _start(self, child: Child) -> None:
        """Start a child without the directory at hand on its path, where files may bear a module's name."""
        role, ready = child.role, os.pipe() if child.role.seamless else None
        command = [sys.executable, "-P", "-m", "magister", *role.arguments]
        passed = {"--parent-fd": self._leash[0]} | ({} if ready is None else {"--ready-fd": ready[1]})
        for option, descriptor in passed.items():
            command += [option, str(descriptor)]
        child.process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            pass_fds=(*passed.values(), *role.descriptors),
            process_group=0,
        )
        if ready is not None:
            child.ready, child.answers = ready[0], False
            os.close(ready[1])
        if (stdin := child.process.stdin) is not None:
            with suppress(BrokenPipeError), stdin:  # one that died already is mourned soon
                stdin.write(role.told)
        child.started_at = time.monotonic()
        log.debug("child.started", child=role.name, pid=child.process.pid)

    def _awaited(self) -> list[int]:
        return [child.ready for child in self._children if child.ready is not None]

    def _hear(self) -> None:
        """Let those go whose successors are at work."""
        for child in self._children:
            if child.ready is None or not readable(child.ready):
                continue
            said = os.read(child.ready, 1)  # nothing, if it died
            child.answers = said != b""
            if said == ANSWERS:
                continue
            _close_ready(child)
            if said == WRITES:
                log.debug("child.at_work", child=child.role.name)
                self._dismiss_former(child.role)

    def _dismiss_former(self, role: Role) -> None:
        for old in self._former:
            if old.role.name == role.name:
                self._dismiss(old)

    def _tell_replaced(self) -> None:
        placed = not self._former and all(child.process is not None for child in self._children)
        if self._replacing and placed:
            self._replacing = False
            log.info("reload.done", why="all that runs has the new settings")

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
        """Yield our children that have ended with their codes, and let strays rest: this may be process 1.

        Those whose places are taken rest likewise.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            for child in (*self._children, *self._former):
                if child.process is not None and child.process.pid == pid:
                    child.process.returncode = code
                    child.process = None
                    _close_ready(child)
                    if child in self._former:
                        log.debug("child.ended", child=child.role.name, pid=pid)
                        self._former.remove(child)
                    else:
                        yield child, code

    def _pause(self) -> float:
        """Return the seconds until a child is to be started or killed, at most a minute."""
        moments = [child.start_at for child in self._vacant()]
        moments += [old.kill_at for old in self._former if old.kill_at is not None]
        return min([60.0, *(moment - time.monotonic() for moment in moments)])

    def _kill_overdue(self) -> None:
        """Kill those that were to make room and did not."""
        for old in self._former:
            if old.process is not None and old.kill_at is not None and old.kill_at <= time.monotonic():
                old.kill_at = time.monotonic() + END_WITHIN
                _kill(old.process)

    def _end(self) -> None:
        """Ask all children to end, and kill what does not, with all it started."""
        deadline = time.monotonic() + END_WITHIN
        for process in self._running():
            os.kill(process.pid, signal.SIGTERM)  # `send_signal` would reap, and nobody would be told
        while self._running() and time.monotonic() < deadline:
            self._inbox.wait(deadline - time.monotonic())
            list(self._reaped())
        for process in self._running():
            _kill(process)
            process.wait()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [child.process for child in (*self._children, *self._former) if child.process is not None]


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


def _kill(process: subprocess.Popen[bytes]) -> None:
    log.warning("child.killed", pid=process.pid, why=f"it did not end within {END_WITHIN:g} s")
    os.killpg(process.pid, signal.SIGKILL)


def _close_ready(child: Child) -> None:
    if child.ready is not None:
        os.close(child.ready)
        child.ready = None


def _manner(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
