"""A short market of the benchmark: it plays the same twice, and ends on good machines."""

from dataclasses import replace

import pytest

from tests.bench.market import MEMORY
from tests.bench.scenes import SCENES, WAYS, played_by
from tests.bench.week import Measures, Scene, Week, a_market

SHORT = Scene(target=3, machines=12, secs=2 * 3600.0, mean_life=2 * 3600.0)


def played(seed: int) -> Measures:
    placement, caution = MEMORY
    return Week(SHORT, seed, placement=dict(placement), caution=dict(caution)).run()


def test_the_cheapest_machines_are_the_bad_ones() -> None:
    machines = a_market(SHORT, 1).estate.machines.values()
    bad = [machine.gpu_price for machine in machines if machine.dud]
    good = [machine.gpu_price for machine in machines if not machine.dud]
    assert len(bad) == round(SHORT.bad_share * SHORT.machines)
    assert max(bad) <= min(good)


def test_a_short_market_plays_the_same_twice_and_ends_on_good_machines() -> None:
    measures = played(1)
    assert measures == played(1)
    assert measures.filled_after is not None
    assert measures.availability > 0.8
    assert measures.useless < 0.2
    assert 0 < measures.useful < measures.spent


def test_where_instances_live_for_minutes_the_pool_stays_on_the_cheap_machines() -> None:
    """Ends are nobody's fault there: one who knows that pays hardly less."""
    scene = replace(SHORT, bad_share=0.0, mean_life=40 * 60.0, secs=2 * 3600.0)
    learned = Week(scene, 1, placement={}, caution={}).run()
    cheapest = Week(scene, 1, placement={"rank": "price"}, caution={"quarantine_secs": 0}).run()
    assert learned.rentals > 5
    assert learned.per_hour < 1.06 * cheapest.per_hour


@pytest.mark.parametrize("name", ["10 bad machines, same ids", "an unsteady host"])
def test_a_scene_is_played_in_each_way(name: str) -> None:
    scene = replace(SCENES[name], target=2, machines=12, secs=1200.0)
    for way in WAYS:
        measures = played_by(scene, way, 1)
        assert measures.rentals >= 2
        assert measures.spent > 0
