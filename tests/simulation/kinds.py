"""The kinds of runs, and how each is drawn from one integer."""

import random
from collections.abc import Callable
from dataclasses import replace

from magister.simulator.market.config import DUDS
from tests.simulation.purse import Caps
from tests.simulation.script import (
    HAPPENINGS,
    MIDNIGHT,
    MONEY,
    MONTH_END,
    PAUSES,
    UNAWARE,
    Ground,
    Happening,
    Script,
    faulty,
    happening,
    with_traffic,
)

HOUR = 3600.0
CHEAP = 0.3
"""About what an instance costs, in USD per hour: caps and needs are drawn in multiples of it."""


def lived(seed: int) -> Script:
    """Draw a life of one to twelve hours, most of them short, under caps and in a market that stand."""
    rng = random.Random(f"life {seed}")
    hours, target = 1 + 11 * rng.random() ** 4, rng.choice((1, 2, 3, 4, 5, 6))
    caps = _standing_caps(rng, target, hours)
    names = HAPPENINGS | (MONEY if caps != Caps() else UNAWARE)
    if caps != Caps():
        del names["clock_jump"]  # what is spent in a day cannot be judged by a wrong clock
    count = 1 + int(hours * rng.choice((1, 2, 4)))
    ends = rng.choice((None, None, MIDNIGHT, MONTH_END))
    script = Script(
        seed=seed,
        kind="life",
        target=target,
        surge=rng.choice((0, 0, 1)),
        poll=rng.choice((30, 60)),
        tick=30,
        deaths_of_boxes=rng.choice((0.0, 1800.0, 2 * HOUR, 6 * HOUR)),
        beats=rng.choice((0, 60, 120)),
        roster=rng.choice((0, 0, 120)),
        caps=caps,
        ground=_ground(rng, target),
        begins=0.0 if ends is None else ends - rng.uniform(600.0, hours * HOUR),
        happenings=_spread(rng, names, count, hours * HOUR),
        stands=True,
        meddling=rng.choice((0, 20)),
        overlapping=rng.random() < 0.5,
    )
    return with_traffic(script, rng)


def forgotten(seed: int) -> Script:
    """Draw a coordinator that restarts, so that all workers exit at once, under caps that stand."""
    rng = random.Random(f"coordinator {seed}")
    target = rng.choice((2, 4, 5, 6))
    hourly = target * CHEAP
    caps = rng.choice(
        (Caps(), Caps(per_hour=hourly * rng.uniform(0.5, 1.2)), Caps(total=hourly * rng.uniform(1.5, 3.0)))
    )
    restart = happening(rng, "coordinator_restart", PAUSES)
    others = {"nothing": 6, "coordinator_drop": 1, "restart": 1, "box_fails": 1, "price_change": 1}
    before = _spread(rng, others, 2, rng.uniform(600.0, 2400.0))
    after = _spread(rng, others, 4, rng.uniform(HOUR, 2 * HOUR))
    return Script(
        seed=seed,
        kind="coordinator",
        target=target,
        surge=0,
        poll=30,
        tick=30,
        deaths_of_boxes=0.0,
        beats=60,
        roster=rng.choice((0, 60)),
        caps=caps,
        ground=_ground(rng, target),
        happenings=(*before, replace(restart, pause=1.0), *after),
        stands=True,
        meddling=rng.choice((0, 30)),
    )


def large(seed: int) -> Script:
    """Draw a pool of up to 60, whose listings have several pages."""
    rng = random.Random(f"large {seed}")
    target = rng.choice((26, 30, 45, 51, 60))
    return Script(
        seed=seed,
        kind="large",
        target=target,
        surge=rng.choice((0, 0, 2)),
        poll=60,
        tick=30,
        deaths_of_boxes=rng.choice((0.0, 6 * HOUR)),
        beats=rng.choice((0, 600)),
        ground=Ground(machines=150, dud_share=rng.choice((0.0, 0.1))),
        happenings=_spread(rng, HAPPENINGS, rng.randint(3, 8), rng.uniform(600.0, 2400.0)),
        overlapping=True,
    )


def broken(seed: int) -> Script:
    """Draw a template that fails on every machine, or whose workers die soon after they have verified."""
    rng = random.Random(f"template {seed}")
    kind = rng.choice((*DUDS, "dies_soon"))
    target = rng.choice((1, 2, 4, 8))
    names = {"nothing": 6, "restart": 2, "coordinator_restart": 1, "listing_fails": 1, "web_death": 1}
    return Script(
        seed=seed,
        kind="template",
        target=target,
        surge=rng.choice((0, 1)),
        poll=30,
        tick=30,
        deaths_of_boxes=0.0,
        beats=rng.choice((0, 60)),
        ground=Ground(dud_share=1.0, duds=(kind,), dud_life=rng.choice((20.0, 60.0))),
        happenings=_spread(rng, names, 6, rng.uniform(1.5 * HOUR, 4 * HOUR)),
        stands=True,
    )


def unaware(seed: int) -> Script:
    """Draw what makes Magister blind: a database lost or put back, another account, words nobody knows."""
    rng = random.Random(f"disaster {seed}")
    target = rng.choice((1, 2, 4))
    names = UNAWARE | {"nothing": 2, "box_fails": 1, "coordinator_drop": 1, "create_reset": 1, "restart": 1}
    names |= {"odd_values": 2, "listing_fails": 1, "heartbeats_lost": 1, "coordinator_drop_lost": 1}
    return Script(
        seed=seed,
        kind="disaster",
        target=target,
        surge=rng.choice((0, 0, 1)),
        poll=30,
        deaths_of_boxes=rng.choice((0.0, 0.0, 1800.0)),
        beats=60,
        roster=rng.choice((0, 0, 60)),
        ground=_ground(rng, target),
        happenings=_spread(rng, names, rng.randint(6, 14), rng.uniform(1200.0, 3000.0)),
        meddling=rng.choice((0, 30)),
        overlapping=rng.random() < 0.5,
    )


def contested(seed: int) -> Script:
    """Draw two services on one account, with the same settings and a database each."""
    rng = random.Random(f"rival {seed}")
    target = rng.choice((1, 2, 3))
    names = {"nothing": 4, "console_delete": 1, "coordinator_drop": 2, "listing_fails": 1, "restart": 1}
    begin = replace(happening(rng, "rival_begins", PAUSES), pause=1.0, deaths=())
    end = replace(happening(rng, "rival_ends", PAUSES), pause=300.0)
    return Script(
        seed=seed,
        kind="rival",
        target=target,
        surge=0,
        poll=30,
        deaths_of_boxes=0.0,
        beats=60,
        happenings=(
            *_spread(rng, names, rng.randint(0, 2), rng.uniform(1.0, 900.0)),
            begin,
            *_spread(rng, names, rng.randint(2, 5), rng.uniform(600.0, 2700.0)),
            end,
        ),
    )


KINDS: dict[str, tuple[int, Callable[[int], Script]]] = {
    "faults": (10, faulty),
    "life": (5, lived),
    "coordinator": (4, forgotten),
    "large": (1, large),
    "template": (2, broken),
    "disaster": (4, unaware),
    "rival": (2, contested),
}
"""The kinds of runs, with how often each is drawn in proportion."""


def drawn(seed: int, kind: str | None = None) -> Script:
    """Draw a script, of a kind that is drawn as well if none is given."""
    if kind is None:
        weights = [weight for weight, _ in KINDS.values()]
        (kind,) = random.Random(f"kind {seed}").choices(list(KINDS), weights)
    return KINDS[kind][1](seed)


RICH = 60
TAKEN = 5
"""So many machines at most are taken by others on the account from the beginning."""


def _ground(rng: random.Random, target: int) -> Ground:
    """Draw a market: rich, or with hardly more machines than are wanted."""
    thin = rng.random() < 0.4
    return Ground(
        machines=target + TAKEN + rng.randint(1, 4) if thin else RICH,
        dud_share=rng.choice((0.0, 0.1)) if thin else 0.1,
        unverified_share=0.0 if thin else 0.1,
    )


def _standing_caps(rng: random.Random, target: int, hours: float) -> Caps:
    """Draw caps that are reached within the life of a pool, in some of the scripts none."""
    hourly = target * CHEAP
    whole = hourly * hours
    return rng.choice(
        (
            Caps(),
            Caps(per_hour=hourly * rng.uniform(0.5, 1.5)),
            Caps(per_day=whole * rng.uniform(0.3, 0.9)),
            Caps(per_month=whole * rng.uniform(0.3, 0.9)),
            Caps(total=whole * rng.uniform(0.3, 0.9)),
            Caps(per_hour=hourly * rng.uniform(0.5, 1.5), per_day=whole * rng.uniform(0.3, 0.9)),
        )
    )


def _spread(rng: random.Random, names: dict[str, int], count: int, secs: float) -> tuple[Happening, ...]:
    """Draw `count` happenings, spread over so many seconds."""
    shares = [rng.expovariate(1.0) for _ in range(count)]
    return tuple(
        replace(happening(rng, what, PAUSES), pause=max(1.0, secs * share / sum(shares)))
        for what, share in zip(rng.choices(list(names), list(names.values()), k=count), shares, strict=True)
    )
