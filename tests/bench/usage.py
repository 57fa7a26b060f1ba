"""What processes cost the machine, as the kernel counts it."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
KB = 1024
MB = 1_000_000


def cpu_secs(pids: Iterable[int]) -> float:
    """Sum the processor time that processes and their ended children used, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return ticks / TICKS


def memory_mb(pids: Iterable[int], kind: str) -> float:
    """Sum the memory of processes in MB: `Pss` shares pages out among all that map them, `Rss` does not."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                total += int(line.split()[1]) * KB
    return total / MB


def machine() -> str:
    """Describe the machine: processor, cores that may be used, and how busy it is."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{models[0] if models else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores, load {load}"
    )
