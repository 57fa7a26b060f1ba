"""Whether a pool is what is wanted: once all is mended, and while its caps and its market stand."""

from typing import TYPE_CHECKING

from magister.simulator.market.contracts import Worker
from magister.states import State
from tests.simulation.purse import Caps

if TYPE_CHECKING:
    from tests.simulation.world import World

HEALED_WITHIN = 3 * 3600.0
"""Virtual seconds within which the pool must be as wanted once the faults have stopped."""

DISK = 0.05
"""USD per hour: more than the disk of any instance costs."""


def converge(world: "World", *, stays: float) -> float:
    """Let the pool come to exactly what is wanted, and stay so; give the seconds it took.

    Raises Broken if it does not within the bound.
    """
    began, laws = world.time.now, world.laws
    while not _settled(world) and world.time.now - began < HEALED_WITHIN:
        world.run(20)
    took = world.time.now - began
    laws.hold("the pool heals when faults stop", _settled(world), _shown(world))
    world.run(stays)
    laws.hold("the pool stays healed", _settled(world), _shown(world))
    laws.close()
    return took


def stand(world: "World") -> None:
    """Let the pool keep for a while what its caps and its market leave it.

    Raises Broken if nothing works although something could.
    """
    began = world.time.now
    while not _works(world) and world.time.now - began < HEALED_WITHIN:
        world.run(60)
    law = "a pool works as far as its caps and its market allow"
    world.laws.hold(law, _works(world), _shown(world))


def _works(world: "World") -> bool:
    """Say whether any instance works, or its caps and its market may leave no room for one."""
    ours = world.laws.ours()
    return not _surely_roomy(world) or any(box.worker is Worker.VERIFIED for box in ours)


def _surely_roomy(world: "World") -> bool:
    """Say whether one that works is wanted, and there is room for it whatever offer is taken."""
    caps, estate = world.laws.purse.caps, world.market.estate
    machines = estate.machines.values()
    if not world.laws.bound or any(machine.dud or machine.offline for machine in machines):
        return False
    if caps.per_hour is None:
        return caps == Caps()
    dearest = max(machine.gpu_price * machine.gpus for machine in machines) * estate.price_factor + DISK
    return caps == Caps(per_hour=caps.per_hour) and caps.per_hour >= 2 * dearest


def _settled(world: "World") -> bool:
    """Say whether rows, instances and workers are exactly what is wanted."""
    market, laws = world.market, world.laws
    returning = any(kind == "resurrect" for _, _, kind, _, _ in market.agenda)
    laws.check()
    live, ours = [row for row in laws.rows if row.live], laws.ours()
    boxes = {box.id for box in ours}
    verified = all(row.state is State.VERIFIED for row in live)
    working = all(market.actual_status(box) == "running" and world.workers.working(box) for box in ours)
    same = boxes == {row.contract_id for row in live} and len(boxes) == world.settings.number_instances
    return verified and working and same and len(live) == len(boxes) and not (returning or world.time.pending)


def _shown(world: "World") -> str:
    rows = [f"{row.id}:{row.state}:{row.contract_id}" for row in world.laws.rows if row.live]
    return f"{world.settings.number_instances} wanted, rows {rows}, boxes {[b.id for b in world.laws.ours()]}"
