"""What happens in a run, drawn from one integer before it begins, so that parts of it can be left out."""

import random
from dataclasses import dataclass, field, replace

from magister.simulator.market.config import KNOWN_TEMPLATE
from tests.simulation.purse import Caps

PAUSES = (0.5, 2.0, 5.0, 15.0, 40.0, 100.0, 240.0)
"""Seconds that may pass after a happening."""

PAUSE_WEIGHTS = (2, 3, 5, 6, 6, 3, 1)

FURTHEST = 60
"""How many boundaries a process may pass before it dies at one."""

TEMPLATES = (KNOWN_TEMPLATE, "0" * 31 + "1")
"""Hashes of the templates of the account, of which one is in force."""

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
    "other settings, bans": {"machine_banned": 1, "template_changed": 1, "settings_changed": 1},
    "a market of nothing, odd values": {"market_empty": 1, "odd_values": 2, "look_lies": 1},
    "a call that does not arrive, a dead web side": {
        "coordinator_drop_lost": 2,
        "heartbeats_lost": 2,
        "web_away": 1,
    },
    "a clock jumping": {"clock_jump": 2},
    "a database in trouble, the web side dying": {"database_trouble": 3, "web_death": 1},
}
"""What may happen, and how often in proportion, by the words of the table in README."""

HAPPENINGS = {what: weight for family in FAMILIES.values() for what, weight in family.items()}

UNAWARE = {
    "status_unknown": 2,
    "listing_empty": 2,
    "worker_dies_unheard": 2,
    "other_account": 1,
    "database_lost": 1,
    "backup_taken": 3,
    "backup_put_back": 2,
}
"""What else may happen where there is no budget."""

MONEY = {"caps_lowered": 2, "host_raises_price": 3}
"""What else may happen where there is a budget."""

FAMILY_OF = {what: words for words, family in FAMILIES.items() for what in family}
FAMILY_OF |= dict.fromkeys(MONEY, "an outage, no credit, other prices")


BOUNDARIES_OF_A_CREATE = (
    "after the commit of Renter.intend",
    "after the commit of Renter._claim",
    "before the create",
    "during the create",
    "after the create",
)
"""Where it would matter most that a process stands still: what it wants to rent may be another's by then."""

FROZEN = (2.0, 15.0, 25.0, 45.0, 120.0, 400.0)
"""Seconds that a process may stand still: less than its lease, about as long, and for long."""

MIDNIGHT = 43_200.0
MONTH_END = 6 * 86_400.0 + MIDNIGHT
"""Seconds after EPOCH of the first midnight, and of the one that begins December."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Hold where the process stands still and for how long, and what becomes of the one that goes on.

    `at` is a number of boundaries or the name of one. `deaths` are of the other process, and `ends` is how it
    does: "stays" = it stands still in its turn.
    """

    at: int | str
    secs: float
    ends: str = "stays"
    deaths: tuple[int, ...] = ()


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
    freeze: Freeze | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Hold what boxes move and how it comes to be known: the image and what comes and goes per hour, in GB.

    Listings count it every `count_secs`, 0 = at once, and on the `uncounted` share of hosts never. The bill
    of the day before is read every `bill_secs`; None = only at the start.
    """

    image_gb: float = 6.0
    hourly: tuple[float, float] = (0.05, 0.5)
    reserve_gb: float = 0.0
    count_secs: float = 0.0
    uncounted: float = 0.0
    bill_secs: float | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """Hold the market that a pool is rented from.

    `duds` are the kinds of machines on which nothing works, and `dud_life` the mean seconds until a worker
    dies on one that `dies_soon`. `recurring` = a rented offer comes back under its old id.
    """

    machines: int = 60
    dud_share: float = 0.1
    duds: tuple[str, ...] = ("stuck_created", "stuck_loading", "mute")
    dud_life: float = 600.0
    recurring: bool = False
    unverified_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Script:
    """Hold all that a run is made of; it `begins` so many seconds after EPOCH.

    `stands` = caps and market stay as they are at its end: the laws must hold under them. `tick` is the
    loop's, in seconds. `meddling` is how often in a hundred plans a worker calls before its moves are made,
    and `overlapping` = calls to Vast are under way at the same time.
    """

    seed: int
    target: int
    surge: int
    poll: int
    deaths_of_boxes: float
    beats: int = 60
    roster: int = 0
    caps: Caps = field(default_factory=Caps)
    traffic: Traffic = field(default_factory=Traffic)
    ground: Ground = field(default_factory=Ground)
    begins: float = 0.0
    happenings: tuple[Happening, ...] = field(default=())
    kind: str = "faults"
    stands: bool = False
    tick: int = 10
    meddling: int = 0
    overlapping: bool = False


NEED = {
    "nothing": 2,
    "host_raises_price": 4,
    "caps_lowered": 1,
    "coordinator_drop": 3,
    "create_reset": 1,
    "create_arrives_late": 2,
    "create_throttled": 1,
    "destroy_fails": 1,
    "restart": 1,
}
"""What happens to a pool that can hardly be afforded."""


def poor(seed: int, ends: float | None) -> Script:
    """Draw a script of two loops that come to their cap: of the time that `ends`, None = of all time."""
    rng = random.Random(f"poor {seed}")
    usd, begins = rng.uniform(0.6, 0.7), 0.0 if ends is None else ends - rng.choice((100.0, 300.0))
    caps = {None: Caps(total=usd), MIDNIGHT: Caps(per_day=usd), MONTH_END: Caps(per_month=usd)}[ends]
    dearer = [replace(happening(rng, "host_raises_price", PAUSES), which=n, share=0.75) for n in (0, 1)]
    others = [
        replace(happening(rng, what, PAUSES), pause=rng.choice((240.0, 500.0, 800.0)))
        for what in rng.choices(list(NEED), list(NEED.values()), k=6)
    ]
    happenings = tuple(replace(it, freeze=freeze(rng)) for it in (*dearer, *others))
    script = Script(
        seed=seed, target=2, surge=0, poll=30, deaths_of_boxes=0.0, caps=caps, begins=begins,
        happenings=happenings,
    )  # fmt: skip
    return with_traffic(script, random.Random(f"traffic {seed}"))


def faulty(seed: int) -> Script:
    """Draw a short script in which much goes wrong at once, and at whose end all is mended."""
    need = random.Random(f"need {seed}")
    if need.random() < 0.1:
        return poor(seed, need.choice((None, MIDNIGHT, MONTH_END)))
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
            happening(rng, what, pauses) for what in rng.choices(names, weights, k=rng.randint(8, 24))
        ),
    )
    script = _with_a_budget(script, random.Random(f"budget {seed}"), pauses)
    script = with_traffic(script, random.Random(f"traffic {seed}"))
    return _with_two_loops(script, random.Random(f"two loops {seed}"))


def _with_a_budget(script: Script, rng: random.Random, pauses: tuple[float, ...]) -> Script:
    """Give every second script caps that matter within its time, and what may happen to them."""
    if rng.random() < 0.5:
        return script
    caps = Caps(
        per_hour=rng.choice((None, rng.uniform(0.15, 1.2))),
        per_day=rng.choice((None, rng.uniform(0.3, 2.0))),
        total=rng.choice((None, rng.uniform(0.3, 2.0))),
    )
    month = random.Random(f"month {script.seed}")  # apart, so that what else is drawn stays what it was
    caps = replace(caps, per_month=month.choice((None, month.uniform(0.3, 2.0))))
    happenings = list(script.happenings)
    for what in rng.choices(list(MONEY), list(MONEY.values()), k=rng.randint(1, 4)):
        happenings.insert(rng.randint(0, len(happenings)), happening(rng, what, pauses))
    return replace(script, caps=caps, happenings=tuple(happenings))


def with_traffic(script: Script, rng: random.Random) -> Script:
    """Let what instances move matter in two of three scripts with a budget, in some beyond the reserve."""
    if script.caps == Caps() or rng.random() < 1 / 3:
        return script
    traffic = Traffic(
        image_gb=rng.uniform(1.0, 30.0),
        hourly=(0.0, rng.choice((2.0, 10.0, 60.0))),
        reserve_gb=rng.choice((0.0, rng.uniform(5.0, 30.0), rng.uniform(30.0, 70.0))),
        count_secs=rng.choice((0.0, 60.0, 600.0)),
        uncounted=rng.choice((0.0, 0.3, 1.0)),
        bill_secs=rng.choice((None, 300.0)),
    )
    return replace(script, traffic=traffic)


def _with_two_loops(script: Script, rng: random.Random) -> Script:
    """Let every second script with a budget have two loops, begin near the end of a day or a month.

    No clock jumps in it: what is spent in a day cannot be judged by a wrong one.
    """
    if script.caps == Caps() or rng.random() < 0.5:
        return script
    ends = rng.choice((None, MIDNIGHT, MONTH_END, MONTH_END))
    happenings = tuple(
        replace(it, freeze=freeze(rng) if rng.random() < 0.5 else None)
        for it in script.happenings
        if it.what != "clock_jump"
    )
    begins = 0.0 if ends is None else ends - rng.choice((120.0, 600.0, 1800.0))
    overlapping = rng.random() < 0.5
    return replace(script, begins=begins, happenings=happenings, overlapping=overlapping)


def freeze(rng: random.Random) -> Freeze:
    """Draw where a process stands still, and what becomes of the other one."""
    return Freeze(
        at=rng.choice((rng.choice(BOUNDARIES_OF_A_CREATE), rng.randrange(FURTHEST))),
        secs=rng.choice(FROZEN),
        ends=rng.choice(("stays", "stays", "killed", "stopped")),
        deaths=rng.choice(((), (), (rng.randrange(FURTHEST),))),
    )


def happening(rng: random.Random, what: str, pauses: tuple[float, ...]) -> Happening:
    """Draw how something happens, the pause after it, and whether the process dies meanwhile."""
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
