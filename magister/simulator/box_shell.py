"""A box's onstart, run by a real shell, so that quoting which breaks there breaks here.

The shell starts in an empty directory with nothing in its environment but what a box has. It is no jail: an
onstart is the operator's own text and may do what any command of theirs may.
"""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ENTRYPOINT = "/usr/local/bin/contemplant-entrypoint.sh"
LONGEST_SECS = 10.0
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
exec sh -c "sh -c '$line env -0 > {report}'"
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold what came of an onstart.

    The worker's environment (None if it never got that far) and what was printed.
    """

    environment: dict[str, str] | None
    output: str


def run_onstart(onstart: str, contract_id: int) -> Outcome:
    """Run an onstart as a box would; gives up after ten seconds and ends what is still running."""
    with tempfile.TemporaryDirectory(prefix="box-") as name:
        place = Path(name)
        home, stubs, report = place / "home", place / "stubs", place / "report"
        home.mkdir()
        stubs.mkdir()
        _stub(stubs / "su", SU)
        _stub(stubs / "entrypoint", ENTRYPOINT_STUB.format(names=" ".join(EXPORTED), report=report))
        environment = {
            "PATH": f"{stubs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "CONTAINER_ID": str(contract_id),
            "VAST_CONTAINERLABEL": f"C.{contract_id}",
        }
        output = _run(onstart.replace(ENTRYPOINT, str(stubs / "entrypoint")), home, environment)
        return Outcome(_read(report), output)


def _stub(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _run(text: str, place: Path, environment: dict[str, str]) -> str:
    process = subprocess.Popen(  # noqa: S603 - running the operator's onstart is the purpose
        [shutil.which("bash") or "/bin/sh", "-c", text],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            printed, _ = process.communicate(timeout=LONGEST_SECS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
    return printed


def _read(report: Path) -> dict[str, str] | None:
    try:
        text = report.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None
    pairs = (entry.partition("=") for entry in text.split("\0") if entry)
    return {name: value for name, _, value in pairs}
