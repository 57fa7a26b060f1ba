"""Run the laws under one seed after another, for as long as asked; a failing seed can be replayed."""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime

LAWS = "tests/properties/test_pool_laws.py"


def main() -> int:
    """Return 0 if no law was broken in the minutes given as the only argument, else 1."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    ends, runs = time.monotonic() + minutes * 60, 0
    while time.monotonic() < ends:
        seed = random.SystemRandom().randrange(2**31)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--timeout", "0"]
        command += [f"--hypothesis-seed={seed}", LAWS]
        done = subprocess.run(
            command,
            env={**os.environ, "HYPOTHESIS_PROFILE": "soak"},
            capture_output=True,
            text=True,
            check=False,
        )
        runs += 1
        if done.returncode != 0:
            say(done.stdout[-8000:])
            say(f"a law was broken; to see it again: HYPOTHESIS_PROFILE=soak {' '.join(command)}")
            return 1
        say(f"{datetime.now(UTC):%H:%M:%S} seed {seed}: no law broken in 200 lives ({runs} seeds so far)")
    return 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
