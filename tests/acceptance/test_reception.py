"""The reception by itself, under gunicorn, with answers that are larger than the service ever gives."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from magister.web.server.worker import BACKLOG_BYTES
from tests.acceptance.host import PATIENT
from tests.acceptance.large import SIZE
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.acceptance

THREADS = 2


class Server:
    """Run gunicorn with the reception in front of one process of two threads."""

    def __init__(self, log: Path, **more: str) -> None:
        self.port = free_port()
        arguments = ["-k", "magister.reception.Reception", "--threads", str(THREADS), "--keep-alive", "0"]
        bound = ["-b", f"127.0.0.1:{self.port}", "--no-control-socket", "tests.acceptance.large:app"]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *arguments, *bound],
                cwd=Path(__file__).parents[2],
                env=os.environ | more,
                stdout=file,
                stderr=file,
            )

    def asked(self, path: str) -> socket.socket:
        """Send a request, with a small buffer for the answer."""
        with ExitStack() as stack:
            connection = stack.enter_context(closing(socket.socket()))
            connection.settimeout(PATIENCE)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", self.port))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
            stack.pop_all()  # it is the caller's to close
        return connection

    def answer(self, path: str) -> bytes:
        with closing(self.asked(path)) as connection:
            raw = bytearray()
            while chunk := connection.recv(1024 * 1024):
                raw += chunk
        return bytes(raw).partition(b"\r\n\r\n")[2]

    def answers(self) -> bool:
        try:
            return self.answer("/short") == b"x"
        except OSError:
            return False

    @property
    def place(self) -> Path:
        """Return where the kernel tells of the one process of the server."""
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return Path("/proc") / child

    def memory(self) -> int:
        """Return the bytes that it keeps in memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", (self.place / "status").read_text())
        return int(found[1]) * 1024 if found else 0

    def sockets(self) -> set[str]:
        """Return the sockets that it has open, by the names that the kernel gives them."""
        found: set[str] = set()
        for file in (self.place / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(str(file.readlink()))
        return {name for name in found if name.startswith("socket:")}


@contextmanager
def serving(log: Path, **more: str) -> Iterator[Server]:
    server = Server(log, **more)
    try:
        until(server.answers, "an answer")
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        assert "Traceback" not in log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give a server whose clients have as long as they have in life."""
    with serving(tmp_path / "log") as server:
        yield server


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Server]:
    """Give a server whose clients have an hour for everything."""
    with serving(tmp_path / "log", **PATIENT) as server:
        assert "clients have an hour" in (tmp_path / "log").read_text()
        yield server


def test_a_large_answer_arrives_whole(server: Server) -> None:
    assert len(server.answer("/")) == SIZE


def test_answers_that_nobody_takes_keep_no_thread_and_little_memory(patient: Server) -> None:
    before = patient.memory()
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(closing(patient.asked("/")))
        assert patient.answer("/short") == b"x"
        assert len(patient.answer("/")) == SIZE
        assert patient.memory() - before < BACKLOG_BYTES + (THREADS + 3) * 2 * SIZE


def test_who_does_not_take_the_answer_in_time_is_left(server: Server) -> None:
    before = server.sockets()
    with closing(server.asked("/")):
        opened = until(lambda: server.sockets() - before, "a connection")
        until(lambda: not opened & server.sockets(), "its end")
