"""Let real processes die at random moments under one seed after another, for as long as asked."""

import os
import random
import subprocess
import sys
import time

from tests.acceptance.test_crashes import SEED_VARIABLE

DEATHS = "tests/acceptance/test_crashes.py"


def main() -> int:
    """Return 0 if nothing was lost or doubled in the minutes given as the only argument, else 1."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    ends, runs = time.monotonic() + minutes * 60, 0
    while time.monotonic() < ends:
        seed = random.SystemRandom().randrange(2**31)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", DEATHS]
        environment = {**os.environ, SEED_VARIABLE: str(seed)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        runs += 1
        if done.returncode != 0:
            say(done.stdout[-8000:])
            say(f"something was lost or doubled; to see it again: {SEED_VARIABLE}={seed} {' '.join(command)}")
            return 1
        say(
            f"seed {seed}: nothing lost or doubled in the deaths of a fill and of drops ({runs} seeds so far)"
        )
    return 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
