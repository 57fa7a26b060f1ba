"""A simulation that is saved and found again."""

from pathlib import Path

import pytest

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Order, Worker
from magister.simulator.market.market import Market
from magister.simulator.runtime.simulation import Simulation
from magister.simulator.runtime.state_file import load, save

PLAN = MarketPlan(machines=20, mean_life_secs=5000.0, credit=1e6)
ORDER = Order(
    label="mine",
    image="a/b",
    template=None,
    onstart="true",
    env=(("A", "b"),),
    disk=16.0,
    runtype="ssh",
    args=(),
    bid=None,
    running=True,
    cancel_unavail=True,
)


def busy() -> Simulation:
    market = Market(PLAN)
    for offer, _, _ in market.estate.available()[::9]:
        if market.estate.open(offer, market.estate.book.find(offer) or pytest.fail("no chunk")):
            market.rent(offer, ORDER)
    market.tick(300.0)
    sim = Simulation(market=market, clock=lambda: market.now)
    for box in market.live():
        if box.worker is Worker.WAITING:
            box.worker, box.worker_due = Worker.VERIFIED, None
            sim.hierophant.connect(box.id, "192.0.2.1:9", {"CONTEMPLANT_VMS": "sp1,risc0"}, 300.0)
    return sim


def test_a_restored_market_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    sim = busy()
    path = tmp_path / "deep" / "state.json"
    save(sim, path)
    restored = load(path, PLAN)
    assert restored is not None
    market, hierophant = restored
    for moment in (400.0, 4000.0):
        sim.market.tick(moment)
        market.tick(moment)
    assert market.contracts == sim.market.contracts
    assert market.credit == sim.market.credit
    assert market.estate.available() == sim.market.estate.available()
    assert hierophant.lists(0.0) == sim.hierophant.lists(0.0)
    assert list(path.parent.iterdir()) == [path]


def test_verified_workers_are_not_started_again(tmp_path: Path) -> None:
    sim = busy()
    sim.market.live()[0].worker = Worker.STARTING
    save(sim, tmp_path / "state.json")
    restored = load(tmp_path / "state.json", PLAN)
    assert restored is not None
    again = Simulation(market=restored[0], clock=lambda: 300.0)
    assert [box.id for box in again.due_workers()] == [sim.market.live()[0].id]


def test_without_a_file_there_is_nothing_to_restore(tmp_path: Path) -> None:
    assert load(tmp_path / "state.json", PLAN) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 0}'])
def test_another_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"state\.json is no state"):
        load(path, PLAN)
