"""Let a script happen to a world, and find the shortest part of it that still breaks a law."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from magister.simulator.market.config import MarketPlan
from tests.simulation import death, health
from tests.simulation.database import in_memory
from tests.simulation.happenings import Happenings
from tests.simulation.laws import Broken
from tests.simulation.purse import Caps
from tests.simulation.script import FAMILY_OF, TEMPLATES, Script
from tests.simulation.virtual import virtual
from tests.simulation.waste import spread
from tests.simulation.world import World

CHARGES_LAG = 600.0
"""Seconds after its end at which the charges of a day are shown."""


@dataclass(frozen=True, slots=True)
class Result:
    """Hold what came of a run: what it broke ("" = nothing), its log, and its measures."""

    script: Script
    broken: str
    lines: tuple[str, ...]
    digest: str
    checks: int
    deaths: int
    freezes: int
    virtual_secs: float
    healed_after: float
    cells: frozenset[tuple[str, str]] = frozenset()
    spread: Mapping[str, int] = field(default_factory=dict)


def run(script: Script, *, sworn: frozenset[str] | None = None) -> Result:
    """Let a script happen; the same script gives the same result, byte for byte.

    `sworn` are the only laws that count; None = all of them.
    """
    moving = script.traffic
    ground = script.ground
    plan = MarketPlan(
        seed=script.seed,
        machines=ground.machines,
        unverified_share=ground.unverified_share,
        dud_share=ground.dud_share,
        dud_kinds=ground.duds,
        dud_life_secs=ground.dud_life,
        offer_ids_recur=ground.recurring,
        templates=TEMPLATES,
        boot_secs=(5.0, 60.0),
        mean_life_secs=script.deaths_of_boxes,
        image_gb=moving.image_gb,
        traffic_gb_hourly=moving.hourly,
        traffic_count_secs=moving.count_secs,
        uncounted_share=moving.uncounted,
        charges_lag_secs=CHARGES_LAG,
    )
    billing = {"poll_secs": moving.bill_secs, "reread_days": 1} if moving.bill_secs else {}
    sessions = in_memory()
    world = World(
        sessions,
        seed=script.seed,
        target=script.target,
        surge=script.surge,
        poll=script.poll,
        plan=plan,
        beats=script.beats,
        roster=script.roster,
        begins=script.begins,
        reserve_gb=moving.reserve_gb,
        billing=billing,
        tick=script.tick,
        meddling=script.meddling,
        overlapping=script.overlapping,
    )
    world.laws.sworn = sworn
    broken, healed = "", 0.0
    cells: set[tuple[str, str]] = set()
    with virtual(world, script.seed):
        try:
            _let_happen(world, script, cells)
            if script.stands:
                world.ease()
                health.stand(world)
            world.calm()
            healed = world.converge()
        except Broken as law:
            broken = str(law)
            world.journal.note(f"BROKEN: {broken}")
        except Exception as error:
            broken = f"the run itself fails: {error!r}"
            world.journal.note(traceback.format_exc())
    sessions.engine.dispose()
    return Result(
        script=script,
        broken=broken,
        lines=tuple(world.journal.lines),
        digest=world.journal.digest,
        checks=sum(world.laws.checks.values()),
        deaths=world.died,
        freezes=world.froze,
        virtual_secs=world.time.monotonic() - script.begins,
        healed_after=healed,
        cells=frozenset(cells),
        spread=spread(world.laws.waste),
    )


def _let_happen(world: World, script: Script, cells: set[tuple[str, str]]) -> None:
    """Let it happen, and note under which boundaries the process died while what was going on."""
    happenings = Happenings(world)
    if script.caps != Caps():
        world.afford(script.caps)
    world.run(60)
    for happening in script.happenings:
        happenings.happen(happening)
        world.die_after(happening.deaths, down=happening.down, web_too=happening.web_too)
        if happening.freeze is not None:
            world.freeze(happening.freeze)
        world.run(happening.pause)
        places = {death.kind(name) for name in world.deaths} or {death.NOWHERE}
        cells |= {(place, FAMILY_OF.get(happening.what, "nothing")) for place in places}
        world.deaths.clear()


def shrunk(script: Script, fails: Callable[[Script], bool], *, tries: int = 60) -> Script:
    """Leave out what happens as long as the script still fails, halves first, then one by one."""
    size = max(len(script.happenings) // 2, 1)
    while tries > 0:
        start = 0
        while start < len(script.happenings) and tries > 0:
            kept = script.happenings[:start] + script.happenings[start + size :]
            tries -= 1
            shorter = replace(script, happenings=kept)
            if fails(shorter):
                script = shorter
            else:
                start += size
        if size == 1:
            break
        size = max(size // 2, 1)
    return script
