"""Run the simulation: one seed after another for as long as asked, or one seed again, with its log."""

import itertools
import os
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace

from tests.simulation.kinds import KINDS, drawn
from tests.simulation.run import Result, run, shrunk
from tests.simulation.script import Script
from tests.table import SEEDS
from tests.tally import tally

COMMAND = ".venv/bin/python -m tests.simulation"
LAST_LINES = 60
SHRINK_SECS = 120.0


def main() -> int:
    """Return 0 if no law was broken, else 1."""
    asked = _asked()
    if asked.seed is not None:
        return _again(asked)
    totals = Totals()
    ends = time.monotonic() + asked.minutes * 60
    broken = _search(asked, ends, totals)
    _say(totals.told())
    if broken is None:
        return 0
    _show(_shortest(broken) if asked.shrink else broken)
    return 1


@dataclass(slots=True)
class Totals:
    """Add up what was run."""

    seeds: int = 0
    deaths: int = 0
    checks: int = 0
    virtual_secs: float = 0.0
    slowest: float = 0.0
    dead: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """Count one run, and tally it for the table."""
        self.seeds += 1
        self.deaths += result.deaths
        self.checks += result.checks
        self.virtual_secs += result.virtual_secs
        self.slowest = max(self.slowest, result.healed_after)
        self.kinds[result.script.kind] += 1
        self.dead = max(self.dead, result.spread.get("dead", 0))
        tally(SEEDS, "", "sqlite", violations=bool(result.broken))
        for boundary, fault in sorted(result.cells):
            tally(boundary, fault, "sqlite")

    def told(self) -> str:
        """Say it in a line."""
        hours, took = self.virtual_secs / 3600, time.monotonic() - self.began
        return (
            f"{self.seeds} seeds, {hours:.0f} virtual hours and {self.deaths} deaths in {took:.0f} s:"
            f" {self.checks} checks of the laws; the slowest pool healed within {self.slowest:.0f} s,"
            f" a dead worker was paid for at most {self.dead} s; {_counted(self.kinds)}"
        )


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))


def _asked() -> Namespace:
    parser = ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed again and show what happens in it")
    parser.add_argument(
        "--kind", choices=KINDS, help="run seeds of this kind only; default: as they are drawn"
    )
    parser.add_argument("--only", help="of that seed, only the happenings with these numbers: 0,3,7")
    parser.add_argument("--minutes", type=float, default=20.0, help="for how long to search (default 20)")
    parser.add_argument("--seeds", type=int, help="search so many seeds from 0 on instead")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes to use at once")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="show the seed as it is")
    return parser.parse_args()


def _search(asked: Namespace, ends: float, totals: Totals) -> Result | None:
    """Run seeds until the time or the seeds are over; return the first run that broke a law."""
    seeds = _seeds(asked)
    running: set[Future[Result]] = set()
    with ProcessPoolExecutor(asked.jobs) as pool:
        while True:
            fresh = itertools.islice(seeds, 2 * asked.jobs - len(running))
            if asked.seeds is not None or time.monotonic() < ends:
                running |= {pool.submit(run, drawn(seed, asked.kind)) for seed in fresh}
            if not running:
                return None
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for result in (future.result() for future in done):
                totals.add(result)
                if result.broken:
                    pool.shutdown(cancel_futures=True)
                    return result


def _seeds(asked: Namespace) -> Iterator[int]:
    if asked.seeds is not None:
        return iter(range(asked.seeds))
    chance = random.SystemRandom()
    return (chance.randrange(2**31) for _ in itertools.count())


def _again(asked: Namespace) -> int:
    script = drawn(asked.seed, asked.kind)
    if asked.only is not None:
        numbers = [int(number) for number in asked.only.split(",") if number]
        script = replace(script, happenings=tuple(script.happenings[number] for number in numbers))
    result = run(script)
    _say("\n".join(result.lines))
    _say(f"trace {result.digest[:16]}, {result.checks} checks, {result.deaths} deaths")
    return 1 if result.broken else 0


def _shortest(broken: Result) -> Result:
    """Leave out what the run does not need to break the same law."""
    law = broken.broken.partition(":")[0]
    _say(f"seed {broken.script.seed} broke a law: {broken.broken}; shrinking it …")
    ends = time.monotonic() + SHRINK_SECS

    def fails(script: Script) -> bool:
        return time.monotonic() < ends and run(script).broken.partition(":")[0] == law

    return run(shrunk(broken.script, fails))


def _show(broken: Result) -> None:
    seed, kind, kept = broken.script.seed, broken.script.kind, broken.script.happenings
    whole = drawn(seed, kind).happenings
    numbers = ",".join(str(number) for number in _numbers(kept, whole))
    again = f"{COMMAND} --kind {kind} --seed {seed}"
    _say("\n".join(broken.lines[-LAST_LINES:]))
    _say(f"\na law was broken: {broken.broken}")
    _say(f"to see all of it again: {again}")
    if len(kept) < len(whole):
        _say(f"or what is needed of it: {again} --only {numbers}")


def _numbers(kept: tuple[object, ...], whole: tuple[object, ...]) -> Iterator[int]:
    """Give the numbers of those that were kept, in their order."""
    remaining = iter(enumerate(whole))
    for happening in kept:
        yield next(number for number, other in remaining if other is happening or other == happening)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
