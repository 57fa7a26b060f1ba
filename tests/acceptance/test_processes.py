"""The service as real processes, against a simulated market over HTTP."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import pytest

from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.simulator.runtime.faults import Fault
from tests.acceptance.host import ANSWER_WITHIN
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.acceptance

TARGET = 3
PLAN = MarketPlan(machines=20, dud_share=0.0, unverified_share=0.0, odd_share=0.0)


@dataclass
class Service:
    """Run Magister's commands in a directory, with settings that make it hurry."""

    directory: Path
    simulator: SimulatorServer
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        hurry = {
            f"PACE_{name}_SECS": "0.02" for name in ("CREATE", "DESTROY", "LIST", "SHOW", "SEARCH", "TICK")
        }
        return kept | hurry | {
            "THIS_MAGISTER_ADDR": "http://127.0.0.1",
            "HTTP_PORT": str(self.port),
            "WEB_BIND": "127.0.0.1",
            "HIEROPHANT_IP": "127.0.0.1",
            "HIEROPHANT_HTTP_PORT": "9",
            "VAST_API_URL": self.simulator.url,
            "VAST_API_KEY": "simulated-key",
            "TEMPLATE_HASH": KNOWN_TEMPLATE,
            "NUMBER_INSTANCES": str(TARGET),
            "TASK_POLLING_INTERVAL_SECS": "0.5",
            "PACE_RECHECK_SECS": "0.1",
            "PACE_SEARCH_CACHE_SECS": "1",
            "VAST_QUERY_COST_PER_HOUR": "5",
            "CONTEMPLANT_VMS": "sp1",
        } | more  # fmt: skip

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        with (self.directory / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "magister", *arguments],
                cwd=self.directory,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "magister", *arguments],
            cwd=self.directory,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def get(self, path: str) -> object:
        """Ask the web side; None = it does not answer, or not with 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()

    def full(self) -> bool:
        said = self.get("/instances")
        return isinstance(said, list) and [box["state"] for box in said] == ["verified"] * TARGET

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def callback(self) -> str:
        """Return the path of the callback URL that an instance was started with."""
        with self.simulator.simulation.lock:
            started_with = next(iter(self.simulator.simulation.market.live())).onstart or ""
        return f"/drop/{started_with.partition('/drop/')[2].partition(chr(34))[0]}"

    def boxes(self) -> tuple[int, ...]:
        """Return the contracts that exist at Vast."""
        with self.simulator.simulation.lock:
            return tuple(box.id for box in self.simulator.simulation.market.live())


def family(pid: int) -> dict[int, str]:
    """Return the descendants of a process with their command lines."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found: dict[int, str] = {}
    for child in (child for child, parent in parents.items() if parent == pid):
        try:
            found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        found |= family(child)
    return found


def named(pid: int, command: str) -> int | None:
    """Return the direct child of `serve` that runs a command."""
    return next((child for child, line in family(pid).items() if f"magister {command} " in line), None)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    options = SimulatorOptions(port=0, hierophant_port=0, speed=120.0, rate_scale=0.0, plan=PLAN)
    with SimulatorServer(options) as server:
        yield server


@pytest.fixture
def service(tmp_path: Path, simulator: SimulatorServer) -> Iterator[Service]:
    found = Service(tmp_path, simulator)
    yield found
    for process in found.started:
        for pid in (process.pid, *family(process.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_pool_outlives_the_service_and_a_restart_rents_nothing_new(
    service: Service, ending: signal.Signals
) -> None:
    process = service.start("serve")
    until(service.full, "a full pool")
    boxes, children = service.boxes(), family(process.pid)
    process.send_signal(ending)
    assert process.wait(PATIENCE) == 0
    assert len(boxes) == TARGET
    assert service.boxes() == boxes
    assert not [pid for pid in children if alive(pid)]
    listings = _asked(service, "list")
    service.start("serve")
    until(lambda: _asked(service, "list") > listings + 2, "some listings")
    until(service.full, "a full pool")
    assert service.boxes() == boxes
    assert _asked(service, "create") == TARGET
    database = r"database sqlite:///magister\.db"
    assert re.search(
        rf"listening on http://127\.0\.0\.1:{service.port}, target {TARGET}, {database}", service.log
    )


def test_a_worker_that_is_killed_is_started_again(service: Service) -> None:
    process = service.start("serve")
    until(service.full, "a full pool")
    killed = until(lambda: named(process.pid, "worker"), "a loop")
    os.kill(killed, signal.SIGKILL)
    until(lambda: named(process.pid, "worker") not in (None, killed), "another loop")
    until(lambda: service.log.count("loop.acting") == 2, "a loop that acts")
    assert service.full()
    assert "SIGKILL" in service.log


def test_calls_wait_while_the_web_side_is_started_again(service: Service) -> None:
    process = service.start("serve")
    until(lambda: service.get("/healthz"), "an answer")
    web = until(lambda: named(process.pid, "web"), "a web side")
    members = (web, *family(web))
    os.killpg(web, signal.SIGKILL)
    until(lambda: not any(map(alive, members)), "the end of the web side")
    connection = HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
    connection.request("GET", "/healthz")  # the socket is the supervisor's, so the call waits
    assert connection.getresponse().status == 200
    connection.close()
    assert named(process.pid, "web") != web


def test_a_call_under_way_comes_to_its_end(service: Service) -> None:
    process = service.start("serve")
    until(service.full, "a full pool")
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as caller:
        head = f"DELETE {service.callback()} HTTP/1.1\r\nHost: magister\r\n"
        caller.sendall(f"{head}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
        assert caller.recv(100).startswith(b"HTTP/1.1 100 Continue")  # so the call is under way
        process.send_signal(signal.SIGTERM)
        until(lambda: named(process.pid, "worker") is None, "the end of the loop")
        caller.sendall(b"why?")
        assert caller.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert process.wait(PATIENCE) == 0


def test_a_hangup_without_new_settings_means_nothing(service: Service) -> None:
    process = service.start("serve")
    until(service.full, "a full pool")
    children = family(process.pid)
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGHUP)
    beats = _asked(service, "list")
    until(lambda: _asked(service, "list") > beats + 2, "some listings")
    until(lambda: "reload.unchanged" in service.log, "a look at the settings")
    assert process.poll() is None
    assert family(process.pid) == children


def test_nothing_goes_on_when_the_supervisor_is_killed(service: Service) -> None:
    process = service.start("serve")
    until(service.full, "a full pool")
    children = family(process.pid)
    assert len(children) == 3
    process.kill()
    until(lambda: not any(map(alive, children)), "the end of all processes")
    assert len(service.boxes()) == TARGET


def test_a_call_that_hangs_does_not_hold_up_the_end(service: Service) -> None:
    process = service.start("serve")
    until(service.full, "a full pool")
    with service.simulator.simulation.lock:
        service.simulator.simulation.faults.set(Fault(name="hang", secs=3600))
    until(lambda: service.simulator.simulation.faults.active()[0]["struck"], "a call that hangs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_a_port_that_is_taken_is_told_in_a_line(service: Service) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", service.port))
        other.listen()
        done = service.run("serve")
    assert done.returncode == 2
    assert done.stderr == (
        f"magister: http_port = {service.port} is in use by another program (on 127.0.0.1): "
        "end that one, or set http_port to a free port\n"
    )


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("WEB_BIND", "nowhere.invalid", "web.bind = nowhere.invalid cannot be resolved"),
        ("WEB_BIND", "192.0.2.1", "web.bind = 192.0.2.1 is not an address of this machine"),
        (
            "DATABASE_URL",
            "sqlite:////nowhere/magister.db",
            "the database sqlite:////nowhere/magister.db cannot be used: it cannot be opened",
        ),
    ],
)
def test_what_keeps_it_from_starting_is_told_in_a_line(
    service: Service, setting: str, value: str, words: str
) -> None:
    done = service.run("serve", **{setting: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"magister: {words}")
    assert done.stderr.count("\n") == 1


def test_the_halves_run_apart(service: Service) -> None:
    assert service.run("migrate").returncode == 0
    halves = [service.start("web"), service.start("worker")]
    until(service.full, "a full pool")
    done = service.run("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"target {TARGET}: {TARGET} verified" in done.stdout
    assert "all is well" in done.stdout
    for half in halves:
        half.send_signal(signal.SIGTERM)
        assert half.wait(PATIENCE) == 0


def test_the_web_side_alone_asks_for_a_migration_first(service: Service) -> None:
    done = service.run("web")
    assert (done.returncode, done.stderr) == (
        2,
        "magister: there is no database magister.db: `magister serve` or `magister migrate` makes it\n",
    )


def test_another_server_can_run_the_web_side_and_signs_in_for_the_loop(service: Service) -> None:
    assert service.run("migrate").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{service.port}", "magister.wsgi:app"],
        cwd=service.directory,
        env=service.environment(GUNICORN_CMD_ARGS="--no-control-socket"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    service.started.append(process)
    until(lambda: service.get("/summary"), "an answer")
    until(lambda: _signed(service), "its sign that workers can be heard")
    process.terminate()
    assert process.wait(PATIENCE) == 0


def _signed(service: Service) -> bool:
    with closing(sqlite3.connect(service.directory / "magister.db")) as database:
        (heard_at,) = database.execute("SELECT heard_at FROM pool").fetchone()
    return heard_at is not None


def test_another_server_is_told_what_is_wrong_with_the_settings(service: Service) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{service.port}", "magister.wsgi:app"],
        cwd=service.directory,
        env=service.environment(NUMBER_INSTANCES="many", GUNICORN_CMD_ARGS="--no-control-socket"),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    assert 'magister: number_instances = "many"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_is_told_and_is_no_reason_to_end(service: Service) -> None:
    process = service.start("serve", VAST_API_KEY="another-key")
    until(lambda: "Vast does not accept the API key" in service.log, "the refusal of the key")
    done = service.run("check", VAST_API_KEY="another-key")
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  Vast: the key is not accepted" in done.stdout
    done = service.run("status")
    assert done.returncode == 1
    assert "Vast does not accept the API key" in done.stdout
    assert process.poll() is None


def test_all_that_is_needed_can_be_checked_beforehand(service: Service) -> None:
    done = service.run("check", THIS_MAGISTER_ADDR="http://magister.example")
    assert (done.returncode, done.stderr) == (0, "")
    findings = [line for line in done.stdout.splitlines() if line.startswith(("ok ", "warn", "FAIL"))]
    assert not [line for line in findings if line.startswith("FAIL")]
    assert f"ok    template {KNOWN_TEMPLATE} exists" in findings
    assert [line for line in findings if line.startswith("ok ") and f"for {TARGET} wanted" in line]
    assert not service.boxes()


def test_the_simulator_runs_as_a_command(service: Service) -> None:
    process = service.start("simulate", "--port", "0", "--hierophant-port", "0", "--state", "market.json")
    assert process.stdout is not None
    exports = [process.stdout.readline() for _ in range(2)]
    assert re.fullmatch(r"export VAST_API_URL=http://127\.0\.0\.1:\d+\n", exports[0])
    assert exports[1] == "export VAST_API_KEY=simulated-key\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert (service.directory / "market.json").exists()


def _asked(service: Service, route: str) -> int:
    """Count the requests the simulator was sent on a route."""
    with service.simulator.simulation.lock:
        return service.simulator.simulation.journal.routes[route]
