"""A box's onstart, run by a real shell, so that quoting which breaks there breaks here.

The shell starts in an empty directory with nothing in its environment but what a box has, and a proxy that
leads nowhere, so that `curl` and its like reach loopback only. It sees no processes of other boxes: where the
text says `/proc/[0-9]*`, it is shown the worker of its own. Its `sleep` of whole seconds is as much shorter
as simulated time is faster, though never less than 50 ms. All that it starts ends with the box, even if the
simulator is killed; for that its `setsid` makes no session. It is no jail: an onstart is the operator's own
text and may do what any command of theirs may.
"""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ENTRYPOINT = "/usr/local/bin/contemplant-entrypoint.sh"
PROCESSES = "/proc/[0-9]*"
LONGEST_SECS = 10.0
NOWHERE = "http://127.0.0.1:1"
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
EXPORTED = (
    "MAGISTER_DROP_ENDPOINT",
    "HIEROPHANT_WS_ADDRESS",
    "CONTEMPLANT_NAME",
    "HTTP_PORT",
    "HEARTBEAT_INTERVAL_SECONDS",
    "MAX_PROOFS_STORED",
    "MOONGATE_LOG_PATH",
    "MOONGATE_ENDPOINT",
    "WATCHER_POLLING_INTERVAL_MS",
    "CONTEMPLANT_VMS",
    "CONTEMPLANT_SP1_BACKEND",
    "CONTEMPLANT_RISC0_BACKEND",
    "CONTEMPLANT_RISC0_GROTH16",
    "PROVER_TYPE",
)
SU = """#!/bin/sh
user=root
while [ $# -gt 0 ]; do
  case "$1" in
    -c) shift; command=$1 ;;
    -*) ;;
    *) user=$1 ;;
  esac
  shift
done
USER=$user LOGNAME=$user exec sh -c "$command"
"""
# The real entrypoint builds one command line from its values and hands it through two shells unescaped. The
# ssh keys do not travel that way, so they may hold what the others must not.
ENTRYPOINT_STUB = """#!/bin/sh
line=
for name in {names}; do
  eval "value=\\${{$name-}}"
  if [ -n "$value" ]; then line="$line export $name=\\"$value\\";"; fi
done
exec sh -c "sh -c '$line env -0 >{place}/report; exec {place}/stubs/contemplant'"
"""
# A script goes by its own name in /proc, and opening a pipe that nobody writes to lasts.
WORKER = """#!/bin/sh
ln -s /proc/$$ {place}/processes/$$
read -r _ <{place}/end
"""
SLEEP = """#!/bin/sh
case $1 in *[!0-9]* | "") exec {sleep} "$@" ;; esac
ms=$(($1 * 1000000 / {speed}))
[ $ms -ge 50 ] || ms=50
rest=$((1000 + ms % 1000))
exec {sleep} $((ms / 1000)).${{rest#1}}
"""
SETSID = """#!/bin/sh
exec "$@"
"""
# The first process of a box. Its input is a pipe that the simulator holds: when that closes, for whatever
# reason, the box ends with all its processes. An onstart that ends closes the report.
INIT = """("$@" </dev/null; : >"$0/report") &
read -r _
rm -rf "$0"
kill -9 0
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold what came of an onstart.

    The worker's environment (None if it never got that far) and what was printed.
    """

    environment: dict[str, str] | None
    output: str


class Box:
    """Run an onstart as a box does, until `end`, with a process named `contemplant` for the worker.

    `speed` is how much faster than life its time passes.
    """

    def __init__(self, onstart: str, contract_id: int, *, speed: float = 1.0) -> None:
        self._place = place = Path(tempfile.mkdtemp(prefix="box-"))
        for name in ("home", "stubs", "processes"):
            (place / name).mkdir()
        self.cut_off(cut=False)
        for name in ("report", "end"):
            os.mkfifo(place / name)
        self._furnish(speed)
        self._report = os.open(place / "report", os.O_RDONLY | os.O_NONBLOCK)
        text = onstart.replace(ENTRYPOINT, f"{place}/stubs/entrypoint")
        text = text.replace(PROCESSES, f"{place}/proc/[0-9]*")
        with (place / "output").open("wb") as output:
            self._init = subprocess.Popen(  # noqa: S603 - running the operator's onstart is the purpose
                ["/bin/sh", "-c", INIT, str(place), shutil.which("bash") or "/bin/sh", "-c", text],
                cwd=place / "home",
                env=self._environment(contract_id),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _furnish(self, speed: float) -> None:
        """Put in place what the text finds on its PATH."""
        place, speed = self._place, max(1, round(speed * 1000))
        stubs = {
            "contemplant": WORKER.format(place=place),
            "entrypoint": ENTRYPOINT_STUB.format(names=" ".join(EXPORTED), place=place),
            "setsid": SETSID,
            "sleep": SLEEP.format(sleep=shutil.which("sleep", path=PROGRAMS), speed=speed),
            "su": SU,
        }
        for name, text in stubs.items():
            path = place / "stubs" / name
            path.write_text(text)
            path.chmod(0o700)

    def _environment(self, contract_id: int) -> dict[str, str]:
        return {
            "PATH": f"{self._place}/stubs:{PROGRAMS}",
            "HOME": str(self._place / "home"),
            "CONTAINER_ID": str(contract_id),
            "VAST_CONTAINERLABEL": f"C.{contract_id}",
            "http_proxy": NOWHERE,
            "https_proxy": NOWHERE,
            "no_proxy": "localhost,127.0.0.1,::1",
        }

    def outcome(self) -> Outcome:
        """Wait until the worker starts, the onstart ends or ten seconds have passed; to be called once."""
        told, until = bytearray(), time.monotonic() + LONGEST_SECS
        poll = select.poll()
        poll.register(self._report, select.POLLIN)
        while poll.poll(max(0.0, until - time.monotonic()) * 1000):
            if not (part := os.read(self._report, 65_536)):
                break
            told += part
        os.close(self._report)
        printed = (self._place / "output").read_text(errors="replace")
        return Outcome(_variables(told.decode(errors="replace")), printed)

    def end_worker(self) -> None:
        """Kill the worker, if it has started; the box goes on."""
        for process in self._place.glob("processes/*"):
            with suppress(ProcessLookupError):
                pid = int(process.name)
                if os.getpgid(pid) == self._init.pid:
                    os.kill(pid, signal.SIGKILL)

    def cut_off(self, *, cut: bool) -> None:
        """Let the box have no network, or have it again: one that cannot see its worker calls nobody."""
        seen = self._place / "proc"
        if cut:
            seen.unlink(missing_ok=True)
        elif not seen.is_symlink():
            seen.symlink_to("processes")

    def hang_up(self) -> None:
        """Begin to end the box."""
        if self._init.stdin is not None:
            self._init.stdin.close()

    def end(self) -> None:
        """End the box with every process in it; may be repeated."""
        self.hang_up()
        self._init.wait()
        shutil.rmtree(self._place, ignore_errors=True)


def run_onstart(onstart: str, contract_id: int) -> Outcome:
    """Run an onstart as a box would until its worker starts, and end what is still running."""
    box = Box(onstart, contract_id)
    try:
        return box.outcome()
    finally:
        box.end()


def _variables(report: str) -> dict[str, str] | None:
    pairs = (entry.partition("=") for entry in report.split("\0") if entry)
    return {name: value for name, _, value in pairs} or None
