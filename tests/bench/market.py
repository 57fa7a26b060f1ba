"""Run simulated weeks with and without what Magister remembers of machines, and print what both cost."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from statistics import mean

import click
import structlog
from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, table
from tests.bench.scenes import by_scene, play_all
from tests.bench.week import DAY, Measures, Scene, Week, totals

USUAL = Scene()
SEEDS = 10
WIDTH = 130
AVAILABLE = 0.99
USELESS = 0.05
SAVED = 0.15

Choices = tuple[dict[str, object], dict[str, object]]

MEMORY: Choices = ({"rank": "expected_cost"}, {})
"""Settings of placement and caution by which what is remembered counts: those that hold by default."""

NO_MEMORY: Choices = ({"rank": "score"}, {"quarantine_secs": 0})
"""Those by which an offer is chosen by Vast's score alone, whatever its machine did before."""


@click.command()
@click.option("--seeds", default=SEEDS, show_default=True, help="Times to play each, seeds 1 and on.")
@click.option("--days", default=7.0, show_default=True, help="Days in a week.")
@click.option("--scene-days", default=0.5, show_default=True, help="Days that each scene is played.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes to use at once.")
@click.option("--only", type=click.Choice(["weeks", "scenes"]), help="Play one part.")
@click.option("--bad-life", default=USUAL.bad_life, show_default=True, help="Life where they die soon, s.")
@click.option("--prices", default=USUAL.price_range, type=(float, float), show_default=True, help="USD/h.")
def main(
    seeds: int,
    days: float,
    scene_days: float,
    jobs: int,
    only: str | None,
    bad_life: float,
    prices: tuple[float, float],
) -> None:
    """Keep ten instances for a week in a market whose cheapest machines are bad, and for hours in others.

    Print what it cost. Exit with 1 if a figure of the weeks misses its aim.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    met = True
    with ProcessPoolExecutor(jobs, initializer=silence) as workers:
        if only != "scenes":
            scene = Scene(secs=days * DAY, bad_life=bad_life, price_range=prices)
            met = play_weeks(workers, console, seeds, scene)
        if only != "weeks":
            console.print(by_scene(play_all(workers, seeds, scene_days), seeds))
    if not met:
        sys.exit(1)


def play_weeks(workers: Executor, console: Console, seeds: int, scene: Scene) -> bool:
    """Play the weeks, print what they cost, and say whether each figure met its aim."""
    began = time.monotonic()
    numbers = range(1, seeds + 1)
    chosen = workers.map(with_memory, numbers, [scene] * seeds)
    blind = workers.map(without_memory, numbers, [scene] * seeds)
    pairs = list(zip(chosen, blind, strict=True))
    console.print(by_seed(pairs))
    console.print(table(figures(pairs), "in all"))
    console.print(f"{2 * seeds} weeks in {time.monotonic() - began:.0f} s")
    return all(figure.met in {True, None} for figure in figures(pairs))


def with_memory(seed: int, scene: Scene) -> Measures:
    """Run a week as Magister chooses by default."""
    placement, caution = MEMORY
    return Week(scene, seed, placement=dict(placement), caution=dict(caution)).run()


def without_memory(seed: int, scene: Scene) -> Measures:
    """Run the same week by Vast's score alone."""
    placement, caution = NO_MEMORY
    return Week(scene, seed, placement=dict(placement), caution=dict(caution)).run()


def silence() -> None:
    """Let the loop log nothing: it would be millions of lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def figures(pairs: Sequence[tuple[Measures, Measures]]) -> tuple[Figure, ...]:
    """Return the figures of all seeds beside their aims."""
    chosen, blind = totals(one for one, _ in pairs), totals(other for _, other in pairs)
    available = mean(one.availability for one, _ in pairs)
    saved = 1 - chosen.per_hour / blind.per_hour
    return (
        Figure(
            "target available after the first fill", _percent(available), "≥ 99 %", available >= AVAILABLE
        ),
        Figure("paid but useless", _percent(chosen.useless), "≤ 5 %", chosen.useless <= USELESS),
        Figure("USD per verified hour", f"{chosen.per_hour:.4f}"),
        Figure("the same by score without memory", f"{blind.per_hour:.4f}"),
        Figure("saved", _percent(saved), "≥ 15 %", saved >= SAVED),
        Figure("available by score without memory", _percent(mean(other.availability for _, other in pairs))),
    )


def by_seed(pairs: Iterable[tuple[Measures, Measures]]) -> Table:
    """Draw a line for each seed: as Magister chooses, then by score without memory."""
    drawn = Table("seed", title="as chosen | by Vast's score without memory", title_justify="left")
    for heading in ("available", "useless", "USD/h verified", "saved", "rentals", "failures"):
        drawn.add_column(heading, justify="right")
    for one, other in pairs:
        drawn.add_row(
            str(one.seed),
            f"{_percent(one.availability)} | {_percent(other.availability)}",
            f"{_percent(one.useless)} | {_percent(other.useless)}",
            f"{one.per_hour:.4f} | {other.per_hour:.4f}",
            _percent(1 - one.per_hour / other.per_hour),
            f"{one.rentals} | {other.rentals}",
            f"{one.failures} | {other.failures}",
        )
    return drawn


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
