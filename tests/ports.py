"""Ports on loopback for what a test starts: none is given twice, nor to another worker of pytest-xdist."""

import os
import random
import socket

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

PORTS = range(15_000 + _WORKER, 30_000, _WORKERS)
"""Below the ports that connections get by themselves, so that none is lost while nobody listens on it."""

_left = random.SystemRandom().sample(PORTS, len(PORTS))


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody else here is given."""
    while _left:
        port = _left.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
