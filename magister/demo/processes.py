"""The processes of a demo: the simulator and the real service, each with a log of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from magister.demo import workspace
from magister.demo.workspace import Place
from magister.errors import MagisterError
from magister.service.exit import LEVEL_VARIABLE

KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", LEVEL_VARIABLE)
"""What the processes see of the environment: none of the operator's settings, and no proxy."""

START_WITHIN = 30.0
"""Seconds in which the simulator has to answer."""

END_WITHIN = 12.0
"""Seconds in which a process has to end; the service itself takes at most 10."""

TAIL = 15
"""Lines of a log that are shown when its process has died."""


class PartDied(MagisterError):
    """A process of the demo has ended by itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """Hold one process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def require(self) -> None:
        """Raise PartDied with the last lines of the log if the process has ended."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(errors="replace").splitlines()[-TAIL:]
            words = f"the {self.name} ended with code {code}; the last lines of {self.log}:"
            raise PartDied("\n".join((words, *(f"  {line}" for line in tail))))

    def end(self) -> None:
        """Ask it to end, wait for that, and kill it with all it started if need be."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(slots=True)
class Parts:
    """Start the parts of a demo; each is told by a pipe should this process be killed."""

    place: Place
    _leash: int
    running: list[Part] = field(default_factory=list)

    def start_simulator(self) -> None:
        """Start the simulated market, and wait until it answers. Raises PartDied."""
        ports, place = self.place.ports, workspace
        part = self._start(
            "simulator",
            *("simulate", "--port", str(ports.vast), "--hierophant-port", str(ports.hierophant)),
            *("--state", str(self.place.market), "--speed", str(place.SPEED), "--seed", str(place.SEED)),
            *("--machines", str(place.MACHINES), "--dud-share", str(place.DUD_SHARE), "--dud-kind", "mute"),
        )
        deadline = time.monotonic() + START_WITHIN
        while self.ask("GET", "/sim/state") is None and time.monotonic() < deadline:
            part.require()
            time.sleep(0.05)

    def start_service(self) -> None:
        """Start the service itself, as an operator would."""
        self._start("service", "serve", "--config", str(self.place.config))

    def require(self) -> None:
        """Raise PartDied unless all go on."""
        for part in self.running:
            part.require()

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        """Ask the simulator; None = it does not answer, or cannot do that now."""
        connection = HTTPConnection("127.0.0.1", self.place.ports.vast, timeout=5)
        try:
            connection.request(method, path, json.dumps(body) if body else None)
            answer = connection.getresponse()
            told: object = json.loads(answer.read()) if answer.status == 200 else None
        except (OSError, HTTPException, ValueError):
            return None
        else:
            return told
        finally:
            connection.close()

    def _start(self, name: str, *arguments: str) -> Part:
        log = self.place.log(name)
        with log.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 - our own program
                (sys.executable, "-P", "-m", "magister", *arguments, "--parent-fd", str(self._leash)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.place.directory,
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
                pass_fds=(self._leash,),
                process_group=0,  # a terminal's Ctrl-C is for the demo alone, which ends them in order
            )
        part = Part(name, process, log)
        self.running.append(part)
        return part


@contextmanager
def parts(place: Place) -> Iterator[Parts]:
    """Yield the parts of a demo, and end those that were started, the last one first."""
    reading, writing = os.pipe()
    found = Parts(place, reading)
    try:
        yield found
    finally:
        for part in reversed(found.running):
            part.end()
        os.close(reading)
        os.close(writing)
