"""One host: the installed program as real processes in a directory of its own."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from tests.ports import free_port
from tests.waiting import PATIENCE, until

ANSWER_WITHIN = 30.0
"""Seconds after which a call counts as not answered: more than the service takes to say that it cannot."""

TAIL = 40
"""Lines of the log that are shown when something did not happen."""

PATIENT = {"PYTHONPATH": str(Path(__file__).with_name("patient"))}
"""Settings under which the web side gives its clients an hour for everything."""

KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START")

T = TypeVar("T")


@dataclass
class Host:
    """Run one command of magister, by default the whole service, under the settings given as variables."""

    directory: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    command: tuple[str, ...] = ("serve",)
    _token: str = field(default_factory=lambda: secrets.token_hex(16))
    _process: subprocess.Popen[bytes] | None = None
    _earlier: int = 0  # characters of the log that an earlier run wrote

    def environment(self) -> dict[str, str]:
        """Return the environment of the service, of which nothing is inherited that could be a setting."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        own = {
            "HOME": str(self.directory),
            "WORLD": self._token,
            "HTTP_PORT": str(self.port),
            "WEB_BIND": "127.0.0.1",
        }
        return kept | own | dict(self.settings)

    @property
    def up(self) -> bool:
        """Say whether the service was started and not ended since."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Say whether what was started has not ended by itself."""
        return self._process is None or self._process.poll() is None

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which is to be a good one unless `check` is False."""
        return subprocess.run(
            [sys.executable, "-m", "magister", *command],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            check=check,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start(self, **more: str) -> None:
        """Start the service, with further settings for this run; the last one must have ended."""
        self._earlier = len(self.log)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "magister", *self.command],
                cwd=self.directory,
                env=self.environment() | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def terminate(self) -> int:
        """End the service by SIGTERM, as it is to be ended, and return its exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process = process  # it is killed on leaving
            raise
        assert not self.members(), "some processes outlived the service"
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that was started."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the service to end by itself, and return its exit code."""
        process, self._process = self._process, None
        assert process is not None
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process = process  # it is killed on leaving
            raise
        assert not self.members(), "some processes outlived the service"
        return code

    def kill(self) -> None:
        """Kill every process of the service at once; the supervisor first, so that it cannot mourn."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        while members := self.members():
            _signal(members, signal.SIGKILL)
        process.wait()

    def kill_loop(self) -> None:
        """Kill the process of the loop alone; the supervisor is to start another."""
        _signal(self.until(lambda: self.running("worker"), "a process of the loop"), signal.SIGKILL)

    def freeze(self, command: str | None = None) -> None:
        """Stop every process of the service, or those that run a command, wherever they are in their work."""
        chosen = list(self.members()) if command is None else self.running(command)
        _signal(chosen, signal.SIGSTOP)
        until(lambda: all(_stopped(pid) for pid in chosen), "a process that stands still")

    def thaw(self) -> None:
        """Let every process of the service go on."""
        _signal(self.members(), signal.SIGCONT)

    def members(self) -> dict[int, str]:
        """Return the processes of the service with their command lines, whoever their parents are by now."""
        mark = f"WORLD={self._token}".encode()
        found: dict[int, str] = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):  # a zombie has none
                    found[int(place.name)] = (place / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
        return found

    def running(self, command: str) -> list[int]:
        """Return the processes that run a command of magister."""
        return [pid for pid, line in self.members().items() if f"magister {command}" in line]

    def answers(self, path: str = "/healthz", *, method: str = "GET") -> bool:
        """Say whether the web side answers with 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN)
        try:
            connection.request(method, path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def log(self) -> str:
        """Return all that the service has said."""
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        """Return the lines of the log that have these fields, without one that is still being written."""
        said = [json.loads(line) for line in self.log.splitlines() if line.endswith("}")]
        return [line for line in said if wanted.items() <= line.items()]

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status of /readyz, and what it says."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def conditions(self) -> list[str]:
        """Return the kinds of condition that /readyz names."""
        return [condition["kind"] for condition in self.readiness()[1]["conditions"]]

    def ready(self) -> bool:
        """Say whether all that was started is at work: the web side answers, the loop acts or stands by."""
        said, web, loop = self.log[self._earlier :], self.command[0] != "worker", self.command[0] != "web"
        began = "loop.acting" in said or "loop.standing_by" in said
        return self.alive and (began or not loop) and (not web or self.answers())

    def until(self, look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
        """Wait until something is seen while the service runs, and return it; else show the service's log.

        Raises TimeoutError.
        """

        def look_on() -> T:
            if not self.alive:
                raise TimeoutError(f"the service ended before {what}")
            return look()

        try:
            return until(look_on, what, patience=patience)
        except TimeoutError as error:
            error.add_note("\n".join(self.log.splitlines()[-TAIL:]))
            raise


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"
    except OSError:
        return True
