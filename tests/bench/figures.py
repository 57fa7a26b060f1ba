"""A measured figure beside its aim, and the table of all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """Hold one figure in words; `met` None = it has no aim."""

    what: str
    measured: str
    aim: str = ""
    met: bool | None = None


def below(what: str, value: float, aim: float, unit: str, digits: int = 2) -> Figure:
    """Hold a figure that is to be at most `aim`."""
    return Figure(what, f"{value:.{digits}f} {unit}", f"≤ {aim:g} {unit}", value <= aim)


def spread(what: str, values: Sequence[float], aim: float | None, digits: int = 2) -> Figure:
    """Hold the median and the worst of several samples in seconds; the worst is held to the aim."""
    worst = max(values)
    measured = f"{median(values):.{digits}f} s, worst {worst:.{digits}f} s of {len(values)}"
    if aim is None:
        return Figure(what, measured)
    return Figure(what, measured, f"≤ {aim:g} s", worst <= aim)


def table(figures: Iterable[Figure], title: str) -> Table:
    """Draw the figures."""
    words = {True: "met", False: "MISSED", None: ""}
    drawn = Table("figure", "measured", "aim", "", title=title, title_justify="left")
    for figure in figures:
        drawn.add_row(figure.what, figure.measured, figure.aim, words[figure.met])
    return drawn
