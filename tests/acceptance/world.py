"""The installed service as real processes in a world of its own: a simulated market and a database."""

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from magister.database import open_database
from magister.facts import Held
from magister.models import Instance, Transition
from magister.rows import as_held
from magister.simulator.contracts import Contract, Worker
from magister.simulator.faults import Fault
from magister.simulator.incidents import befall
from magister.simulator.journal import Entry
from magister.simulator.plan import KNOWN_TEMPLATE
from magister.simulator.run import SimulatorServer
from magister.states import Reason, State

PATIENCE = 45.0
"""Seconds after which something that did not happen is not waited for any more."""

END_WITHIN = 15.0
"""Seconds within which SIGTERM ends the service: the ten that it promises, and what a busy machine adds."""

TAIL = 40
"""Lines of the log that are shown when something did not happen."""

LOOK_SECS = 0.02
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START")
PORTS = range(15_000, 30_000)
"""Below the ports that connections get by themselves, so that none is lost while the service is down."""

T = TypeVar("T")


def until(look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Look again and again until something is seen, and return it; raises TimeoutError."""
    deadline, pause = time.monotonic() + patience, threading.Event()
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:g} s: {what}")
        pause.wait(LOOK_SECS)
    return seen


def free_port() -> int:
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


@dataclass(frozen=True, slots=True)
class Story:
    """Hold a row and its whole history."""

    row: Held
    steps: tuple[Transition, ...]


@dataclass
class World:
    """Run `magister serve` in a directory against a market; leaving it ends all that was started.

    `settings` are further environment variables; `DATABASE_URL` may be among them.
    """

    directory: Path
    simulator: SimulatorServer
    target: int
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _token: str = field(default_factory=lambda: secrets.token_hex(16))
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self.kill()

    @property
    def database(self) -> str:
        return self.settings.get("DATABASE_URL", f"sqlite:///{self.directory}/magister.db")

    def environment(self) -> dict[str, str]:
        """Return the environment of the service, of which nothing is inherited that could be a setting."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | {
            "HOME": str(self.directory),
            "WORLD": self._token,
            "THIS_MAGISTER_ADDR": "http://127.0.0.1",
            "HTTP_PORT": str(self.port),
            "WEB_BIND": "127.0.0.1",
            "HIEROPHANT_IP": "127.0.0.1",
            "HIEROPHANT_HTTP_PORT": "9",
            "VAST_API_URL": self.simulator.url,
            "VAST_API_KEY": "simulated-key",
            "VAST_QUERY_COST_PER_HOUR": "5",
            "TEMPLATE_HASH": KNOWN_TEMPLATE,
            "NUMBER_INSTANCES": str(self.target),
            "CONTEMPLANT_VMS": "sp1",
            "DATABASE_URL": self.database,
        } | dict(self.settings)  # fmt: skip

    # the service

    def start(self) -> None:
        """Start the service; the last one must have ended."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "magister", "serve"],
                cwd=self.directory,
                env=self.environment(),
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
            code = process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process = process  # it is killed on leaving
            raise
        assert not self.members(), "some processes outlived the service"
        return code

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

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of magister with the settings of the service."""
        return subprocess.run(
            [sys.executable, "-m", "magister", *arguments],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    @property
    def log(self) -> str:
        """Return what the service has written to its log."""
        return (self.directory / "log").read_text()

    def kill(self) -> None:
        """Kill every process of the service at once; the supervisor first, so that it cannot mourn."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        while members := self.members():
            for pid in members:
                _kill(pid)
        process.wait()

    def kill_loop(self) -> None:
        """Kill the process of the loop alone; the supervisor is to start another."""
        loops = self.until(lambda: self.running("worker"), "a process of the loop")
        for pid in loops:
            _kill(pid)

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

    def answers(self, path: str = "/healthz") -> bool:
        """Say whether the web side answers with 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def until(self, look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
        """Wait until something is seen while the service runs, and return it; else show the service's log.

        Raises TimeoutError.
        """

        def look_on() -> T:
            code = None if self._process is None else self._process.poll()
            if code is not None:
                raise TimeoutError(f"the service ended with {code} before {what}")
            return look()

        try:
            return until(look_on, what, patience=patience)
        except TimeoutError as error:
            lines = (self.directory / "log").read_text().splitlines()
            error.add_note("\n".join(lines[-TAIL:]))
            raise

    # the market

    def boxes(self) -> list[Contract]:
        """Return every contract there ever was."""
        with self.simulator.simulation.lock:
            self.simulator.simulation.advance()
            return list(self.simulator.simulation.market.contracts.values())

    def live(self) -> set[int]:
        """Return the contracts that exist."""
        return {box.id for box in self.boxes() if box.live}

    def verified(self) -> set[int]:
        """Return the contracts that exist and whose workers were told that they are welcome."""
        return {box.id for box in self.boxes() if box.live and box.worker is Worker.VERIFIED}

    def most_live(self) -> int:
        """Return how many boxes existed at one time at most."""
        return self.simulator.simulation.market.most_live

    def doubled_labels(self) -> list[str | None]:
        """Return the labels that more than one contract was ever made under."""
        return [label for label, times in Counter(box.label for box in self.boxes()).items() if times > 1]

    def dropped(self) -> set[int]:
        """Return the contracts whose drop, sent by the coordinator, was answered with 200."""
        with self.simulator.simulation.lock:
            told = list(self.simulator.simulation.drops)
        return {
            drop["instance"] for drop in told if drop["status"] == 200 and isinstance(drop["instance"], int)
        }

    def asked(self, route: str | None = None) -> int:
        """Count the calls to the market, or those on one route."""
        with self.simulator.simulation.lock:
            routes = self.simulator.simulation.journal.routes
            return sum(routes.values()) if route is None else routes[route]

    def entries(self, route: str) -> list[Entry]:
        """Return the calls on a route, oldest first."""
        with self.simulator.simulation.lock:
            return [entry for entry in self.simulator.simulation.journal.entries if entry.route == route]

    def happen(self, kind: str, contract: int | None = None) -> int:
        """Let an incident befall a contract, or a verified one, and return which."""
        details = {} if contract is None else {"instance": contract}
        with self.simulator.simulation.lock:
            struck = befall(self.simulator.simulation, kind, details)["instance"]
        assert isinstance(struck, int)
        return struck

    def hold(self, route: str, when: str) -> None:
        """Keep the next call on a route waiting, before its effect or after it."""
        with self.simulator.simulation.lock:
            fault = Fault(name="hold", route=route, when=when, count=1)
            self.simulator.simulation.faults.set(fault, self.simulator.simulation.advance())

    def held(self) -> list[dict[str, object]]:
        """Return the calls that are kept waiting."""
        return self.simulator.simulation.pen.held()

    def release(self, *, cut: bool = True) -> None:
        """Let go what is held, and hold nothing more: cut off, or to its effect and its answer."""
        with self.simulator.simulation.lock:
            self.simulator.simulation.faults.clear()
        self.simulator.simulation.pen.release(cut=cut)

    # the database

    def stories(self) -> list[Story]:
        """Return every row with its history."""
        with _reading(self.database) as session:
            history: dict[int, list[Transition]] = {}
            for step in session.scalars(select(Transition).order_by(Transition.id)):
                history.setdefault(step.instance_id, []).append(step)
            rows = session.scalars(select(Instance).order_by(Instance.id))
            return [Story(as_held(row), tuple(history.get(row.id, ()))) for row in rows]

    def reasons(self, contract: int) -> list[Reason]:
        """Return why the row that knows a contract moved, its birth first; none = no row knows it yet."""
        return [
            step.reason
            for story in self.stories()
            if story.row.contract_id == contract
            for step in story.steps
        ]

    def settled(self) -> bool:
        """Say whether the service is up and at rest: as many verified as wanted, and nothing else live."""
        live = self.live()
        if len(live) != self.target or not self.answers():
            return False
        rows = [story.row for story in self.stories() if story.row.live]
        return live == {row.contract_id for row in rows if row.state is State.VERIFIED} and len(rows) == len(
            live
        )


@contextmanager
def _reading(url: str) -> Iterator[Session]:
    sessions = open_database(url, busy_timeout=5)
    try:
        with sessions.read() as session:
            yield session
    finally:
        sessions.engine.dispose()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
