"""Several hosts that keep one pool: they share a database, and the address at which it is called."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from magister.simulator.run import SimulatorServer
from magister.store.db.lease import Ground
from tests.acceptance import records
from tests.acceptance.host import TAIL, Host
from tests.acceptance.records import Tenure
from tests.acceptance.relay import Relay
from tests.acceptance.world import Pool, settings_for
from tests.waiting import PATIENCE, until

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Succession:
    """Say by what right a loop took the lease, and how long after the end of the last one's."""

    ground: Ground
    late: timedelta


class Hosts(Pool):
    """Run hosts against one market; leaving it ends all that was started.

    `front` stands where a load balancer would: a call goes to the first of its targets that is up.
    """

    def __init__(
        self,
        directory: Path,
        simulator: SimulatorServer,
        target: int,
        *,
        database: str | None = None,
        settings: Mapping[str, str],
    ) -> None:
        super().__init__(simulator, target, database or f"sqlite:///{directory}/magister.db")
        self.front = Relay([])
        self.hosts: list[Host] = []
        self._directory = directory
        address = f"http://127.0.0.1:{self.front.port}"
        told = settings_for(simulator, target, database=self.database, address=address)
        self._settings = told | dict(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        for host in self.hosts:
            host.kill()
        self.front.close()
        records.forget(self.database)

    def add(self, name: str, *command: str, **more: str) -> Host:
        """Set up a host that is to run a command, with a web side that workers and coordinator can reach."""
        directory = self._directory / name
        directory.mkdir()
        host = Host(directory, self._settings | more, command=command)
        self.hosts.append(host)
        self.front.targets.append(("127.0.0.1", host.port))
        return host

    def face(self, *hosts: Host) -> None:
        """Let calls go to these hosts only, as a load balancer does that found the others silent."""
        self.front.targets = [("127.0.0.1", host.port) for host in hosts]

    def restore(self) -> None:
        """Start what is down, let go on what stands still, and wait until the pool is at rest."""
        self.release()
        self.face(*self.hosts)
        for host in self.hosts:
            host.thaw()
            if not host.up:
                host.start()
        self.until(lambda: all(host.ready() for host in self.hosts), "all hosts at work")
        self.until(lambda: self.settled() and self.tenure().locked, "a pool at rest")
        self.count_anew()

    def tenure(self) -> Tenure:
        """Return who has the lease, and until when."""
        return records.tenure(self.database)

    def holder(self) -> Host:
        """Wait until the loop of a host has the lease, and return that host."""

        def found() -> Host | None:
            pid = self.tenure().pid
            return next((host for host in self.hosts if pid in host.running("worker")), None)

        holder = self.until(found, "a loop that has the lease")
        assert holder is not None
        return holder

    def sides(self) -> tuple[Host, Host]:
        """Return the host whose loop acts, and the other one that has a loop."""
        holder = self.holder()
        return holder, next(host for host in self.hosts if host is not holder and host.running("worker"))

    def succeeded(self, before: Tenure) -> Succession:
        """Wait for the next to have the lease and to say so, and return how it came to that."""
        after = self.until(lambda: self._since(before), "another loop that has the lease")
        assert after is not None
        lasts = timedelta(seconds=float(self._settings["LEASE_LEASE_SECS"]))
        return Succession(self._ground(after), after.expires_at - lasts - before.expires_at)

    def _ground(self, tenure: Tenure) -> Ground:
        said = re.compile(rf'"loop\.acting", "fence": {tenure.fence}, "why": "({"|".join(Ground)})"')

        def found() -> re.Match[str] | None:
            return next(filter(None, (said.search(host.log) for host in self.hosts)), None)

        word = self.until(found, "the word of a loop that acts")
        assert word is not None
        return Ground(word[1])

    def _since(self, before: Tenure) -> Tenure | None:
        now = self.tenure()
        return now if now.fence > before.fence else None

    def settled(self) -> bool:
        """Say whether the pool is at rest, and all hosts that were started are up."""
        return self.full() and all(host.alive for host in self.hosts)

    def until(self, look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
        """Wait until something is seen, and return it; else show the logs. Raises TimeoutError."""
        try:
            return until(look, what, patience=patience)
        except TimeoutError as error:
            for host in self.hosts:
                lines = host.log.splitlines()[-TAIL:]
                error.add_note("\n".join([f"the log of {host.directory.name}:", *lines]))
            raise
