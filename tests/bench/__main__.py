"""Run the benchmark and print its table; it fails only if it could not measure."""

import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import click
from rich.console import Console

from magister import __version__
from tests.bench import costs, parts, usage
from tests.bench.figures import Figure, table

FAILURES = (AssertionError, LookupError, OSError, RuntimeError)
"""What keeps a part from measuring; a wait that took too long is an OSError."""

WIDTH = 110


@click.command()
@click.option(
    "--quick", is_flag=True, help="Measure with 10 instances, fewer samples and a shorter idle time."
)
@click.option(
    "--only",
    type=click.Choice(["costs", "start", *parts.PARTS]),
    help="Measure one part; the pool is filled for it.",
)
def main(quick: bool, only: str | None) -> None:
    """Measure speed, pace and idle cost against a simulated market at Vast's documented pace."""
    signal.signal(signal.SIGTERM, _end)
    size = parts.QUICK if quick else parts.WHOLE
    progress = Console(stderr=True)
    begun, before = datetime.now(UTC), usage.machine()
    try:
        with TemporaryDirectory(prefix="magister-bench-") as folder:
            figures = _measured(Path(folder), size, only, progress)
    except FAILURES as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        progress.print(f"not measured: {type(error).__name__}: {error}\n{notes}", markup=False)
        sys.exit(1)
    show = Console(width=None if sys.stdout.isatty() else WIDTH)
    title = f"magister {__version__}, {begun:%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}"
    show.print(table(figures, title))
    show.print(f"machine: {before} before, {usage.machine().rpartition('load ')[2]} after", markup=False)


def _measured(folder: Path, size: parts.Size, only: str | None, progress: Console) -> list[Figure]:
    figures: list[Figure] = []
    if only in {None, "costs"}:
        progress.print("costs")
        figures += costs.reporting(folder / "costs")
    if only in {None, "start"}:
        progress.print("start")
        figures += parts.starting(folder / "start", size)
    if only in {"costs", "start"}:
        return figures
    with parts.a_world(folder / "pool", size.instances) as world:
        for name, part in parts.PARTS.items():
            if only in {None, name} or name == "fill":
                progress.print(name)
                found = part(world, size)
                figures += found if only in {None, name} else []
    return figures


def _end(number: int, frame: FrameType | None) -> None:
    """Leave as Ctrl-C does, so that all that was started is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
