"""A stand-in for a rented box: what is on its PATH, its processes, and time that a test lets pass."""

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.waiting import PATIENCE, until

ENTRYPOINT = "/usr/local/bin/contemplant-entrypoint.sh"
BARE = ("sh", "bash", "dash", "grep", "env", "cat", "setsid", "timeout")
"""Programs that each box has, if this machine has them."""

# The loop tells that it sleeps, and sleeps until the test says that the time has passed.
SLEEP = '#!/bin/sh\nexec 3<{box}/wake\necho "$PPID $*" >{box}/asleep\nread -r _ <&3\n'
WORKER = "#!/bin/sh\nread -r _ <{box}/end\n"


def program(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Listener:
    """Stand in for Magister: note the path of each GET, and answer with `status`, or never if that is 0."""

    def __init__(self) -> None:
        self.status = 200
        self.calls: list[str] = []
        self.gone = threading.Semaphore(0)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.calls.append(self.path)
                if outer.status:
                    self.send_response(outer.status)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")
                elif select.select([self.connection], [], [], PATIENCE)[0]:
                    outer.gone.release()  # the caller has given up

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Box:
    """Run onstart texts in a directory; `proc` is what stands for /proc there."""

    place: Path
    proc: Path
    environment: dict[str, str]
    asleep: int
    awake: int
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    loops: set[int] = field(default_factory=set)
    _nap: str | None = None

    def run(
        self, text: str, shell: str = "bash", entrypoint: str = "exit 0", given: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a text as Vast may: by its first line if that names a program, else by `shell`."""
        stub = program(self.place / "entrypoint", f"#!/bin/bash\n{entrypoint}\n")
        text = text.replace(ENTRYPOINT, str(stub)).replace("/proc/", f"{self.proc}/")
        script = program(self.place / "onstart.sh", text)
        command = [str(script)] if text.startswith("#!") else [shell, str(script)]
        return subprocess.run(
            command, env=self.environment, input=given, capture_output=True, check=False, timeout=PATIENCE
        )

    def start_worker(self, name: str = "contemplant") -> subprocess.Popen[bytes]:
        """Start a process of a name that lives until it is killed."""
        file = program(self.place / name, WORKER.format(box=self.place))
        worker = subprocess.Popen([str(file)], env=self.environment)
        self.workers.append(worker)
        until(lambda: f"({name[:15]})" in Path(f"/proc/{worker.pid}/stat").read_text(), f"{name} runs")
        (self.proc / str(worker.pid)).symlink_to(f"/proc/{worker.pid}")
        return worker

    def end_worker(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()

    def sleeps(self) -> str:
        """Wait until the loop sleeps, and return for how long it means to."""
        if self._nap is None:
            assert select.select([self.asleep], [], [], PATIENCE)[0], "the loop does not sleep"
            told = b""
            while not told.endswith(b"\n"):
                told += os.read(self.asleep, 1)
            pid, _, self._nap = told.decode().strip().partition(" ")
            self.loops.add(int(pid))
        return self._nap

    def wake(self) -> None:
        """Let the interval in which the loop sleeps pass."""
        self.sleeps()
        self._nap = None
        os.write(self.awake, b"\n")

    def pass_intervals(self, count: int = 1) -> None:
        """Let intervals pass, and what follows each of them be done."""
        for _ in range(count):
            self.wake()
        self.sleeps()

    def ended(self) -> bool:
        """Say whether the loops that were seen have ended."""
        return not any(_lives(pid) for pid in self.loops)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "XZ"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def a_box(place: Path, *tools: str) -> Iterator[Box]:
    """Yield a box that has `tools` besides the bare ones; all that runs in it ends with it."""
    bin_, proc = place / "bin", place / "proc"
    bin_.mkdir()
    proc.mkdir()
    for name in (*BARE, *tools):
        _provide(bin_, name)
    program(bin_ / "su", '#!/bin/bash\n[ "$1 $2" = "contemplant -c" ] && exec bash -c "$3"\n')
    program(bin_ / "sleep", SLEEP.format(box=place))
    for name in ("asleep", "wake", "end"):
        os.mkfifo(place / name)
    asleep, awake, end = (os.open(place / name, os.O_RDWR) for name in ("asleep", "wake", "end"))
    box = Box(place, proc, {"PATH": str(bin_)}, asleep, awake)
    try:
        yield box
    finally:
        for worker in box.workers:
            worker.kill()
            worker.wait()
        if select.select([box.asleep], [], [], 0)[0]:
            box.sleeps()
        for pid in box.loops:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pipe in (asleep, awake, end):
            os.close(pipe)


def _provide(bin_: Path, name: str) -> None:
    if name == "busybox":
        program(bin_ / "wget", f'#!/bin/sh\nexec {shutil.which("busybox")} wget "$@"\n')
    elif name == "python3":
        program(bin_ / "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    elif found := shutil.which(name):
        (bin_ / name).symlink_to(found)
