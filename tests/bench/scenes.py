"""Play the same hours in several markets: chosen by expected cost, by price alone, and by foresight."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from statistics import mean

from rich.table import Table

from tests.bench.week import DAY, UNSTEADY_HOST, Measures, Scene, Week, a_market, totals

MINUTE, HOUR = 60.0, 3600.0

SCENES = {
    "5 bad machines, new ids": Scene(bad_share=5 / 60),
    "5 bad machines, same ids": Scene(bad_share=5 / 60, ids_recur=True),
    "10 bad machines, new ids": Scene(bad_share=10 / 60),
    "10 bad machines, same ids": Scene(bad_share=10 / 60, ids_recur=True),
    "lives of 40 min": Scene(bad_share=0.0, mean_life=40 * MINUTE),
    "lives of 2 h": Scene(bad_share=0.0, mean_life=2 * HOUR),
    "lives of 12 h": Scene(bad_share=0.0),
    "an unsteady host": Scene(bad_share=0.0, outage_every=3 * HOUR),
}
"""Markets; the bad machines and the unsteady host's are the cheapest."""


@dataclass(frozen=True, slots=True)
class Game:
    """Say in which market, by which way of choosing and with which seed so many days are played."""

    scene: str
    way: str
    seed: int
    days: float


WAYS = ("expected cost", "cheapest first", "foresight")
"""How offers are chosen: as Magister does by default; by price alone, forgetting what failed; knowing all."""


def play(game: Game) -> Measures:
    """Play one game."""
    scene = replace(SCENES[game.scene], secs=game.days * DAY)
    return played_by(scene, game.way, game.seed)


def played_by(scene: Scene, way: str, seed: int) -> Measures:
    """Play a scene in one of WAYS."""
    if way == "expected cost":
        return Week(scene, seed, placement={}, caution={}).run()
    wishes = known(scene, seed) if way == "foresight" else {}
    by_price: dict[str, object] = {"rank": "price", "spread": 0.0}
    return Week(scene, seed, placement=by_price, caution={"quarantine_secs": 0}, wishes=wishes).run()


def known(scene: Scene, seed: int) -> dict[str, object]:
    """Return the settings of one who knows which machines are bad, and which host is unsteady."""
    machines = a_market(scene, seed).estate.machines.values()
    bad = sorted(machine.id for machine in machines if machine.dud is not None)
    return {"bad_machines": bad, "bad_hosts": [] if scene.outage_every is None else [UNSTEADY_HOST]}


Played = Mapping[tuple[str, str], Sequence[Measures]]
"""What was measured, by scene and way, the seeds in their order."""


def play_all(pool: Executor, seeds: int, days: float) -> Played:
    """Play each scene in each way with each seed."""
    games = [Game(scene, way, seed, days) for scene in SCENES for way in WAYS for seed in range(1, seeds + 1)]
    found: dict[tuple[str, str], list[Measures]] = {}
    for game, measures in zip(games, pool.map(play, games), strict=True):
        found.setdefault((game.scene, game.way), []).append(measures)
    return found


def by_scene(found: Played, count: int) -> Table:
    """Draw a line for each scene: by expected cost, cheapest first, with foresight."""
    drawn = Table("market", title=f"{' | '.join(WAYS)}; {count} seeds each", title_justify="left")
    for heading in ("USD per verified hour", "available", "useless", "rentals"):
        drawn.add_column(heading, justify="right")
    for scene in SCENES:
        ways = [found[scene, way] for way in WAYS]
        sums = [totals(measures) for measures in ways]
        drawn.add_row(
            scene,
            _row(f"{one.per_hour:.3f}" for one in sums),
            _row(f"{100 * mean(one.availability for one in seeds):.1f} %" for seeds in ways),
            _row(f"{100 * one.useless:.1f} %" for one in sums),
            _row(str(one.rentals) for one in sums),
        )
    return drawn


def _row(cells: Iterable[str]) -> str:
    return " | ".join(cells)
