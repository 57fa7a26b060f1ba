"""A short market of the benchmark: it plays the same twice, and ends on good machines."""

from tests.bench.market import MEMORY
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
