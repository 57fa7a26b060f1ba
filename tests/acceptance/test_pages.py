"""The commands on the pages do what the pages say: each is run as it stands, beside a simulated market."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from magister.simulator.run import SimulatorOptions, SimulatorServer
from tests.acceptance.test_processes import PLAN, Service
from tests.pages import MARKS, PAGES, RELEASE_MARKS, Block, blocks
from tests.shipping.checkout import copied
from tests.waiting import until

pytestmark = pytest.mark.acceptance

LONGEST = 600.0
"""Seconds that a block may take."""

RUN = [
    block
    for page in PAGES
    for block in blocks(page, "sh")
    if block.mark in MARKS - RELEASE_MARKS and block.runnable.strip()
]

STARTS = re.compile(r"\b(magister (simulate|serve|worker|web)|make serve)\b")
"""What goes on until it is ended, in a terminal of its own."""

CALLS = re.compile(r"\bmagister\b|\blocalhost\b")
"""What a block says that may find the service running."""

SIMULATE = "magister simulate --port 0 --hierophant-port 0 --rate-scale 0 --dud-share 0 --boot-secs 0.1 0.2"

PRELUDE = """
set -emuo pipefail
trap 'for job in $(jobs -p); do kill -- -$job || true; done 2>/dev/null; wait' EXIT
make() {  # really, what takes no time
    local looked_at=()
    case "${1:-}" in "" | help | init | serve) ;; *) looked_at=(--dry-run) ;; esac
    command make "${looked_at[@]}" "VENV=$VENV" "--old-file=$VENV/.installed" "$@"
}
editor() {  # fill in what the operator would
    test -f "$1" -a -f "$2"
    for name in $ANSWERS; do sed -i "s|^$name=.*|$name=${!name}|" "$1"; unset "$name"; done
}
started() {  # wait until what was started last has something to show
    local full='"target": ([0-9]+),.*"verified": \\1,'
    for _ in $(seq 600); do
        grep -q NUMBER_INSTANCES= "$1" && return
        if curl -sf "localhost:$HTTP_PORT/readyz" >/dev/null; then
            curl -sf "localhost:$HTTP_PORT/summary" | grep -qE "$full" && return
        fi
        kill -0 $! || break
        sleep 0.2
    done
    cat "$1"
    return 1
}
"""


class Sandbox(Service):
    """Run blocks in a copy of the checkout; the commands find its places where the pages name others."""

    def shell(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block, and end what it started."""
        lines = [
            f"{{ {line}\n}} >.shown{number} 2>&1 &\nstarted .shown{number}" if STARTS.search(line) else line
            for number, line in enumerate(self.adapted(block.runnable).splitlines())
        ]
        own = self.environment()
        own["VAST_TEMPLATE_HASH"] = own.pop("TEMPLATE_HASH")
        own |= {"PATH": f"{sys.prefix}/bin:{own['PATH']}", "VENV": sys.prefix}
        answers = sorted(own.keys() & self.asked())
        own["ANSWERS"] = " ".join(answers)
        if (self.directory / ".env").exists():  # they were given already
            own = {name: value for name, value in own.items() if name not in answers}
        done = subprocess.run(
            ["bash", "-c", "\n".join((PRELUDE, *lines))],
            cwd=self.directory,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        if not self.running:
            until(lambda: not self.listening(), "what the block started ends")
        return done

    def asked(self) -> set[str]:
        """Return the variables that .env.example asks for."""
        example = (self.directory / ".env.example").read_text()
        return set(re.findall(r"^([A-Z_0-9]+)=", example, re.MULTILINE))

    def adapted(self, commands: str) -> str:
        """Put the sandbox's own places where the pages name those of an operator."""
        for theirs, ours in {
            "localhost:8555": f"localhost:{self.port}",
            "/var/lib/magister": str(self.directory),
            "magister simulate": SIMULATE,
            "--seeds 3": "--seeds 1",
            ".venv/bin/": f"{sys.prefix}/bin/",
        }.items():
            commands = commands.replace(theirs, ours)
        return commands

    @property
    def running(self) -> bool:
        """Say whether the service runs that the blocks find running."""
        return bool(self.started)

    def run_service(self, *, wanted: bool) -> None:
        """Have the service run and its pool full, or have it ended."""
        if wanted and not self.running:
            self.start("serve")
            until(self.full, f"the pool fills: {self.log[-3000:]}")
        if not wanted:
            self.end()

    def end(self) -> None:
        """End the service, if it runs."""
        while self.started:
            process = self.started.pop()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LONGEST)

    def listening(self) -> bool:
        """Say whether somebody answers on the service's port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    options = SimulatorOptions(port=0, hierophant_port=0, rate_scale=0, speed=100, plan=PLAN)
    with SimulatorServer(options) as server:
        yield server


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", sorted({block.page for block in RUN}), ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, simulator: SimulatorServer
) -> None:
    sandbox = Sandbox(copied(tmp_path / "settled"), simulator)
    fresh = Sandbox(copied(tmp_path / "fresh"), simulator)
    try:
        for block in (block for block in RUN if block.page == page):
            if block.mark == "stopped" or (block.mark != "fresh" and CALLS.search(block.runnable)):
                sandbox.run_service(wanted=block.mark != "stopped")
            done = (fresh if block.mark == "fresh" else sandbox).shell(block)
            assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}"
    finally:
        sandbox.end()


def test_a_page_with_a_command_that_fails_is_found_out(tmp_path: Path, simulator: SimulatorServer) -> None:
    block = Block(PAGES[0], 1, "sh", "fresh", "true\nmagister check --config nowhere.toml\ntrue\n")
    done = Sandbox(copied(tmp_path), simulator).shell(block)
    assert done.returncode == 2
    assert "nowhere.toml" in done.stdout
