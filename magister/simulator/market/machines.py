"""The machines of a market: what is in them and what is odd about them."""

import random
from dataclasses import dataclass, field

from magister.simulator.market.config import MarketPlan

HOURS_PER_MONTH = 730.0
FIRST_MACHINE = 10_001
FIRST_HOST = 3_001
STORAGE_ONLY_SHARE_OF_PRICE = 0.02
MACHINES_PER_HOST = 3


@dataclass(frozen=True, slots=True)
class Gpu:
    """Describe a GPU model; memory in MB, speed of one GPU, `dearness` relative to the first model."""

    name: str
    ram: int
    compute_cap: int
    tflops: float
    dlperf: float
    bandwidth: float
    dearness: float


CATALOGUE = {
    gpu.name: gpu
    for gpu in (
        Gpu("RTX 4090", 24564, 890, 81.8, 98.0, 1008.0, 1.0),
        Gpu("RTX 3090", 24576, 860, 35.1, 52.0, 936.0, 0.55),
        Gpu("RTX 5090", 32607, 1200, 104.8, 190.0, 1792.0, 1.5),
        Gpu("L40S", 46068, 890, 91.6, 92.0, 864.0, 1.7),
        Gpu("A100 SXM4", 81920, 800, 19.5, 105.0, 2039.0, 2.6),
        Gpu("H100 SXM", 81559, 900, 66.9, 290.0, 3352.0, 5.5),
    )
}

PLACES = (
    "California, US",
    "Texas, US",
    "Quebec, CA",
    "Sweden, SE",
    "Poland, PL",
    "Taiwan, TW",
    "Frankfurt am Main, DE",
    ", US",
)
QUIRKS = (
    "no_cpu_cores",
    "no_place",
    "no_cpu_names",
    "external_null",
    "external_int",
    "end_date_text",
    "numbers_as_text",
    "nan",
)


@dataclass(slots=True, kw_only=True)
class Machine:
    """Hold one machine.

    `taken` maps the index of a GPU to the contract that has it; prices are dollars per GPU-hour and GB-month.
    """

    id: int
    host_id: int
    gpu_name: str
    gpus: int
    gpu_price: float
    storage_price: float
    place: str
    reliability: float
    verified: bool
    datacenter: bool
    cuda: float
    driver: str
    disk: float
    inet: float
    cores: int
    ram: int
    lifetime: float
    address: str
    dud: str | None = None
    quirks: list[str] = field(default_factory=list)
    offline: bool = False
    taken: dict[int, int] = field(default_factory=dict)

    @property
    def gpu(self) -> Gpu:
        """Give the model of its GPUs."""
        return CATALOGUE[self.gpu_name]

    def free(self, gpus: tuple[int, ...]) -> bool:
        """Say whether these GPUs can be rented now."""
        return not self.offline and not any(index in self.taken for index in gpus)


def build_machines(plan: MarketPlan, rng: random.Random) -> list[Machine]:
    """Draw the machines of a market; the last `storage_only` of them have no GPU."""
    machines = [_machine(number, plan, rng) for number in range(plan.machines)]
    for machine in rng.sample(machines, round(plan.dud_share * len(machines))):
        machine.dud = rng.choice(plan.dud_kinds)
    for machine in rng.sample(machines, round(plan.odd_share * len(machines))):
        machine.quirks = rng.sample(QUIRKS, 2)
    storage = [_machine(plan.machines + number, plan, rng) for number in range(plan.storage_only)]
    for machine in storage:
        machine.gpus = 0
        machine.verified = True
        machine.gpu_price *= STORAGE_ONLY_SHARE_OF_PRICE
    return machines + storage


def _machine(number: int, plan: MarketPlan, rng: random.Random) -> Machine:
    name = plan.gpu_names[0] if rng.random() < 0.5 else rng.choice(plan.gpu_names)
    dearness = CATALOGUE[name].dearness / CATALOGUE[plan.gpu_names[0]].dearness
    gpus = rng.choice(plan.gpu_counts)
    return Machine(
        id=FIRST_MACHINE + number,
        host_id=FIRST_HOST + number // MACHINES_PER_HOST,
        gpu_name=name,
        gpus=gpus,
        gpu_price=round(rng.uniform(*plan.price_range) * dearness, 4),
        storage_price=round(rng.uniform(*plan.storage_price_range), 3),
        place=rng.choice(PLACES),
        reliability=round(rng.uniform(0.94, 0.9995), 7),
        verified=rng.random() >= plan.unverified_share,
        datacenter=rng.random() < 0.3,
        cuda=rng.choice((12.2, 12.4, 12.8, 13.0)),
        driver=rng.choice(("535.86.05", "550.127.05", "570.86.15", "580.95.05")),
        disk=round(rng.uniform(200, 2000), 1),
        inet=round(rng.uniform(200, 5000), 1),
        cores=rng.choice((16, 32, 64)),
        ram=rng.choice((64_000, 128_000, 256_000)),
        lifetime=rng.uniform(30, 360) * 86_400,
        address=f"192.0.2.{number % 250 + 1}",
    )
