"""The service under a starter that prepared little for it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from magister.simulator.run import SimulatorOptions, SimulatorServer
from tests.acceptance.host import ANSWER_WITHIN
from tests.acceptance.test_processes import PLAN, Service, family
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.acceptance

MEANT_FOR_OTHERS = {
    "WEB_CONCURRENCY": "auto",
    "FORWARDED_ALLOW_IPS": "10.0.0.0/33",
    "GUNICORN_PID": "1",
    "SCRIPT_NAME": "/pool",
    "SENDFILE": "maybe",
    "FLASK_DEBUG": "1",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    options = SimulatorOptions(port=0, hierophant_port=0, speed=120.0, rate_scale=0.0, plan=PLAN)
    with SimulatorServer(options) as simulator:
        found = Service(tmp_path, simulator)
        yield found
        for process in found.started:
            for pid in (process.pid, *family(process.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait(PATIENCE)


def start(
    service: Service, more: dict[str, str], *, redirections: str = "", stderr: int = subprocess.DEVNULL
) -> None:
    """Start the service behind a shell's redirections."""
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$0" -m magister serve {redirections}', sys.executable],
        cwd=service.directory,
        env=service.environment() | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )
    service.started.append(process)


def dropped(service: Service) -> int:
    """Let the coordinator give up on one worker, and return the status of the answer."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=ANSWER_WITHIN)
    try:
        connection.request("DELETE", service.callback())
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_pool_is_kept_with_all_streams_closed_and_variables_meant_for_others(service: Service) -> None:
    start(service, MEANT_FOR_OTHERS, redirections="<&- >&- 2>&-")
    until(service.full, "the pool is full")
    assert service.run("status").returncode == 0
    service.started[0].send_signal(signal.SIGTERM)
    assert service.started[0].wait(PATIENCE) == 0


def test_a_log_that_nobody_reads_stops_neither_the_pool_nor_its_end(service: Service) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)  # so the very first line would wait
    start(service, {"MAGISTER_LOG": "debug"}, stderr=write)
    os.close(write)
    until(service.full, "the pool is full")
    before = set(service.boxes())
    assert dropped(service) == 200
    until(lambda: service.full() and set(service.boxes()) != before, "the dropped one is replaced")
    service.started[0].send_signal(signal.SIGTERM)
    assert service.started[0].wait(PATIENCE) == 0
    os.close(read)
