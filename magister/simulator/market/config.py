"""The parameters of a simulated market."""

from dataclasses import dataclass

KNOWN_TEMPLATE = "4e17788f74f075dd9aab7d0d4427968f"
"""Hash of the template a market knows unless told otherwise (the one Vast's documentation shows)."""


DUDS = ("stuck_created", "stuck_loading", "mute", "dies_soon")
DEATHS = ("exit", "offline", "unknown", "vanish", "console_delete", "worker_dies")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPlan:
    """Say what a market is made of and how it behaves.

    Times are seconds of simulated time, money is US dollars. A share is a probability from 0 to 1. Two
    markets with equal plans and equal calls behave alike.
    """

    seed: int = 1
    machines: int = 60
    """Machines with GPUs; a machine of n GPUs publishes up to 2n - 1 overlapping offers."""
    gpu_counts: tuple[int, ...] = (1, 2, 4)
    gpu_names: tuple[str, ...] = ("RTX 4090", "RTX 3090", "RTX 5090", "L40S")
    """Models on offer, from `hardware.CATALOGUE`; half of the machines have the first."""
    storage_only: int = 2
    """Offers without any GPU that a careless filter takes for a bargain."""
    dud_share: float = 0.1
    """Machines on which nothing rented ever works, or not for long."""
    dud_kinds: tuple[str, ...] = ("stuck_created", "stuck_loading", "mute")
    dud_life_secs: float = 600.0
    """Mean time from `running` to the worker's death on a machine that `dies_soon`."""
    unverified_share: float = 0.1
    odd_share: float = 0.3
    """Machines whose offers lack fields or carry them in odd types."""
    boot_secs: tuple[float, float] = (20.0, 90.0)
    """From the create to `running`."""
    worker_secs: tuple[float, float] = (1.0, 5.0)
    """From `running` to the start of the Contemplant."""
    mean_life_secs: float = 0.0
    """Mean time from `running` to a death; 0 means that boxes do not die by themselves."""
    deaths: tuple[tuple[str, float], ...] = (
        ("exit", 3.0),
        ("offline", 3.0),
        ("unknown", 1.0),
        ("vanish", 1.0),
        ("worker_dies", 2.0),
    )
    """Kinds of death and their weights."""
    return_share: float = 0.5
    """Hosts that come back after going offline."""
    away_secs: tuple[float, float] = (60.0, 900.0)
    price_range: tuple[float, float] = (0.20, 0.60)
    """Dollars per GPU and hour, before the model's own factor."""
    price_drift: float = 0.0
    """Relative standard deviation of an offer's price per hour; a running box keeps its price."""
    storage_price_range: tuple[float, float] = (0.05, 0.25)
    """Dollars per GB and month."""
    image_gb: float = 6.0
    """What a box downloads at its first boot."""
    traffic_gb_hourly: tuple[float, float] = (0.05, 0.5)
    """What a running box downloads per hour, and as much again that it uploads, both drawn for each."""
    traffic_count_secs: float = 0.0
    """How often listings bring their count of a box's traffic up to date; 0 = at each look."""
    uncounted_share: float = 0.0
    """Hosts of whose boxes no listing ever counts the traffic."""
    charges_lag_secs: float = 0.0
    """How long after its end a day of charges is shown; 0 = also while it lasts."""
    credit: float = 100.0
    offer_ids_recur: bool = False
    """Whether a rented offer comes back under its old id; Vast says each id makes one instance only."""
    new_id_share: float = 0.5
    """Overlapping offers that come back under a new id although nobody rented them."""
    insufficient_credit_status: int = 200
    """200 has been seen (with `success` false), 400 is implied by the documents."""
    templates: tuple[str, ...] = (KNOWN_TEMPLATE,)
    """Hashes of the account's templates; empty means that every hash is known."""
    log_delay_secs: float = 1.0
    """How long the text of a requested log is not there yet."""

    def __post_init__(self) -> None:
        strange = {kind for kind, _ in self.deaths}.difference(DEATHS) | set(self.dud_kinds).difference(DUDS)
        if strange:
            raise ValueError(f"a market knows no {min(strange)}; there are {', '.join(DUDS + DEATHS)}")
