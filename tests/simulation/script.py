"""What happens in a run, drawn from one integer before it begins, so that parts of it can be left out."""

import random
from dataclasses import dataclass, field, replace

from tests.simulation.purse import Caps

PAUSES = (0.5, 2.0, 5.0, 15.0, 40.0, 100.0, 240.0)
"""Seconds that may pass after a happening."""

PAUSE_WEIGHTS = (2, 3, 5, 6, 6, 3, 1)

FURTHEST = 60
"""How many boundaries a process may pass before it dies at one."""

CREATE_CODES = (500, 502, 503, 504, 408, 409, 425)
LATENESS = (1.0, 20.0, 120.0, 400.0, 900.0)
JUMPS = (-3600.0, -600.0, -60.0, -6.0, 6.0, 60.0, 600.0, 3600.0, 86_400.0)

FAMILIES: dict[str, dict[str, int]] = {
    "nothing": {"nothing": 6},
    "a create answered ambiguously": {
        "create_reset": 3,
        "create_status": 3,
        "create_unreadable": 3,
        "create_hangs": 2,
        "create_arrives_late": 2,
        "create_without_contract": 2,
    },
    "a create refused or not carried out": {
        "create_unreachable": 1,
        "create_refused": 2,
        "create_throttled": 2,
        "create_throttled_then_refused": 1,
    },
    "a box stopped or listed late": {"create_stopped": 2, "create_lags": 2},
    "a listing wrong or failing": {"listing_wrong": 5, "listing_fails": 2},
    "a read failing, a bad key": {"reads_fail": 2, "key_unknown": 1},
    "a destroy refused, failing or undone": {
        "destroy_refused": 2,
        "destroy_fails": 2,
        "destroy_lags": 2,
        "destroyed_comes_back": 2,
    },
    "a box or its host dying": {"box_fails": 5, "host_offline": 2, "console_delete": 3},
    "an outage, no credit, other prices": {"outage": 1, "no_credit": 1, "price_change": 1},
    "a drop, a coordinator restarting": {
        "coordinator_drop": 6,
        "coordinator_restart": 1,
        "coordinator_away": 1,
    },
    "another target, a restart": {"target_change": 3, "restart": 2},
    "a clock jumping": {"clock_jump": 2},
    "a database in trouble, the web side dying": {"database_trouble": 3, "web_death": 1},
}
"""What may happen, and how often in proportion, by the words of the table in README."""

HAPPENINGS = {what: weight for family in FAMILIES.values() for what, weight in family.items()}

MONEY = {"caps_lowered": 2, "host_raises_price": 3}
"""What else may happen where there is a budget."""

FAMILY_OF = {what: words for words, family in FAMILIES.items() for what in family}
FAMILY_OF |= dict.fromkeys(MONEY, "an outage, no credit, other prices")


@dataclass(frozen=True, slots=True)
class Happening:
    """Hold one thing that happens, three numbers to choose by, the pause after it, and the deaths meanwhile.

    The process dies at the boundary after each of `deaths` in turn: the second strikes the one that was
    started after the first. `down` is for how many seconds nothing runs after a death.
    """

    what: str
    which: int
    share: float
    secs: float
    pause: float
    deaths: tuple[int, ...] = ()
    down: float = 1.0
    web_too: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """Hold all that a run is made of."""

    seed: int
    target: int
    surge: int
    poll: int
    deaths_of_boxes: float
    beats: int = 60
    roster: int = 0
    caps: Caps = field(default_factory=Caps)
    happenings: tuple[Happening, ...] = field(default=())


def drawn(seed: int) -> Script:
    """Draw a script."""
    rng = random.Random(seed)
    names, weights = list(HAPPENINGS), list(HAPPENINGS.values())
    pauses = rng.choice((PAUSES, PAUSES, PAUSES[:4]))  # some are hectic
    script = Script(
        seed=seed,
        target=rng.randint(1, 4),
        surge=rng.choice((0, 0, 0, 1)),
        poll=rng.choice((10, 30, 30)),
        deaths_of_boxes=rng.choice((0.0, 0.0, 1800.0)),
        beats=rng.choice((0, 60)),
        roster=rng.choice((0, 0, 60)),
        happenings=tuple(
            _happening(rng, what, pauses) for what in rng.choices(names, weights, k=rng.randint(8, 24))
        ),
    )
    return _with_a_budget(script, random.Random(f"budget {seed}"), pauses)


def _with_a_budget(script: Script, rng: random.Random, pauses: tuple[float, ...]) -> Script:
    """Give every second script caps that matter within its time, and what may happen to them."""
    if rng.random() < 0.5:
        return script
    caps = Caps(
        per_hour=rng.choice((None, rng.uniform(0.15, 1.2))),
        per_day=rng.choice((None, rng.uniform(0.3, 2.0))),
        total=rng.choice((None, rng.uniform(0.3, 2.0))),
    )
    happenings = list(script.happenings)
    for what in rng.choices(list(MONEY), list(MONEY.values()), k=rng.randint(1, 4)):
        happenings.insert(rng.randint(0, len(happenings)), _happening(rng, what, pauses))
    return replace(script, caps=caps, happenings=tuple(happenings))


def _happening(rng: random.Random, what: str, pauses: tuple[float, ...]) -> Happening:
    deaths: tuple[int, ...] = ()
    if rng.random() < 0.4:
        deaths = (rng.randrange(FURTHEST), *(rng.randrange(12) for _ in range(rng.choice((0, 0, 1, 2)))))
    return Happening(
        what=what,
        which=rng.randrange(1 << 16),
        share=rng.random(),
        secs=rng.choice(LATENESS),
        pause=rng.choices(pauses, PAUSE_WEIGHTS[: len(pauses)])[0],
        deaths=deaths,
        down=rng.choice((0.1, 1.0, 5.0, 20.0, 90.0)),
        web_too=rng.random() < 0.5,
    )
