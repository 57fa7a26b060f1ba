"""Pure: which machines and hosts are tried last, for how long, after how their boxes failed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from magister.domain.risk.launch_breaker import Caution
from magister.states import Failure

GROWTH = 4
"""By how much a quarantine is longer than the one before it for the same kind of failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Tell what one rental showed of its machine: a failure, or None = its worker verified.

    `verified` says whether the worker of an instance that failed had verified before.
    """

    at: datetime
    machine_id: int
    host_id: int | None
    failure: Failure | None
    verified: bool = False
    template_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Say until when a machine or a host is tried last, and why."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Quarantines:
    """Hold who is tried last, by machine id and by host id."""

    machines: Mapping[int, Quarantine] = field(default_factory=dict)
    hosts: Mapping[int, Quarantine] = field(default_factory=dict)

    def of(self, machine_id: int | None, host_id: int | None) -> Quarantine | None:
        """Return the longer quarantine of a machine and its host; None = neither is in one."""
        found = [self.machines.get(machine_id or 0), self.hosts.get(host_id or 0)]
        return max((one for one in found if one is not None), key=lambda one: one.until, default=None)


def quarantines(trials: Iterable[Trial], caution: Caution, now: datetime) -> Quarantines:
    """Return who is in quarantine at `now`; `trials` come oldest first.

    Only an instance that failed before its worker verified holds its machine. How long instances work once
    they have verified is for the reputation to weigh. Each kind of failure counts for itself. A worker that
    verifies ends the quarantine of its machine; a failure older than the longest quarantine counts no more.
    """
    failures: dict[int, dict[Failure, list[datetime]]] = {}
    host_of: dict[int, int] = {}
    for trial in trials:
        known = failures.setdefault(trial.machine_id, {})
        if trial.host_id is not None:
            host_of[trial.machine_id] = trial.host_id
        if trial.failure is None:
            known.clear()
        elif trial.at > now - caution.quarantine_cap and not trial.verified:
            known.setdefault(trial.failure, []).append(trial.at)
    machines = {
        machine: longest for machine, known in failures.items() if (longest := _longest(known, caution, now))
    }
    return Quarantines(machines, dict(_hosts(machines, host_of, caution)))


def _longest(known: Mapping[Failure, list[datetime]], caution: Caution, now: datetime) -> Quarantine | None:
    """Return the quarantine of one machine that ends last; None = all are over."""
    found = []
    for kind, moments in known.items():
        until = max(moments) + _lasting(len(moments), caution)
        times = "once" if len(moments) == 1 else f"{len(moments)} times"
        found.append(Quarantine(until, f"{kind.replace('_', ' ')} {times}"))
    return max((one for one in found if now < one.until), key=lambda one: one.until, default=None)


def _lasting(times: int, caution: Caution) -> timedelta:
    """Return how long the last of so many failures counts."""
    growth: int = GROWTH ** min(times - 1, 16)  # bounded, or it would outgrow what a timedelta holds
    return min(caution.quarantine * growth, caution.quarantine_cap)


def _hosts(
    machines: Mapping[int, Quarantine], host_of: Mapping[int, int], caution: Caution
) -> Iterator[tuple[int, Quarantine]]:
    """Hold a host by as many bad machines as it takes, until one of these is good again."""
    ends: dict[int, list[datetime]] = {}
    for machine, quarantine in machines.items():
        if machine in host_of:
            ends.setdefault(host_of[machine], []).append(quarantine.until)
    for host, untils in ends.items():
        if len(untils) >= caution.host_trip:
            until = sorted(untils, reverse=True)[caution.host_trip - 1]
            yield host, Quarantine(until, f"{len(untils)} of its machines are in quarantine")
