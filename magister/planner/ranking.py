"""Pure: which offers fit what the operator wants, and in what order they are tried."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from statistics import median

from magister.domain.countries import code_in
from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.domain.risk.reputation import EMPTY_PLACE, cost_per_verified_hour
from magister.domain.spec import Fleet, View


def unfit(offer: Offer, fleet: Fleet) -> str | None:
    """Say why `offer` may not be rented, or None if it may; the server's own filters are not trusted."""
    place = code_in(offer.geolocation)
    checks = (
        (offer.resource_type not in {None, "gpu"}, f"it is {offer.resource_type}, not a gpu"),
        (offer.verification != "verified", f"it is {offer.verification}, not verified"),
        (offer.rentable is not True, "it is not rentable"),
        (offer.external is True, "it is external"),
        (offer.is_bid is True, "it is interruptible"),
        (offer.num_gpus < 1, "it has no GPU"),
        (offer.machine_id in fleet.bad_machines, f"machine {offer.machine_id} is in bad_machines"),
        (offer.host_id in fleet.bad_hosts, f"host {offer.host_id} is in bad_hosts"),
        (fleet.max_price is not None and offer.price > fleet.max_price, "it costs more than cost_per_hour"),
        (fleet.num_gpus is not None and offer.num_gpus != fleet.num_gpus, f"it has {offer.num_gpus} GPUs"),
        (bool(fleet.gpu_names) and offer.gpu_name not in fleet.gpu_names, f"it is a {offer.gpu_name}"),
        (bool(fleet.countries) and place not in fleet.countries, f"it is in {place or 'no known country'}"),
        (_below(offer.gpu_ram, fleet.min_gpu_ram), "it has too little gpu_ram"),
        (_below(offer.disk_space, fleet.min_disk_space), "it has too little disk_space"),
        (_below(offer.reliability, fleet.min_reliability), "its reliability is too low"),
        (_below(offer.cuda_max_good, fleet.min_cuda), "its CUDA version is too low"),
        (_below(offer.duration, fleet.min_duration), "it is offered for too short a time"),
    )
    return next((why for bad, why in checks if bad), None)


def as_of(offer: Offer, now: datetime) -> Offer:
    """Return `offer` with the time left of it at `now`, where its end comes before its duration is over."""
    if offer.end_date is None:
        return offer
    left = max((offer.end_date - now).total_seconds(), 0.0)
    return offer if offer.duration is not None and offer.duration <= left else replace(offer, duration=left)


def _below(value: float | None, floor: float | None) -> bool:
    """Compare with a floor; a value that Vast left out may be any, so it is below."""
    return floor is not None and (value is None or value < floor)


def fitting(offers: Iterable[Offer], view: View, fleet: Fleet) -> tuple[Offer, ...]:
    """Return the offers that may be rented, in the order in which they come."""
    return tuple(
        offer for offer in offers if offer.id not in view.recent_offers and unfit(offer, fleet) is None
    )


def candidates(
    offers: Iterable[Offer], *, held: Iterable[Held], view: View, fleet: Fleet
) -> tuple[Offer, ...]:
    """Return the offers that may be rented, best first, one for each machine.

    First machines that are in no quarantine, then those that hold fewer than `max_per_machine` of our
    instances and whose hosts hold fewer than `max_per_host`, then the good ones, then by `fleet.rank`; of
    those in quarantine, the one that is out first.
    """
    fit = fitting(offers, view, fleet)
    typical = typical_price(fit)
    rows = [row for row in held if row.live]
    on_machine = Counter(row.machine_id for row in rows)
    on_host = Counter(row.host_id for row in rows)

    def order(offer: Offer) -> tuple[object, ...]:
        quarantine = view.quarantines.of(offer.machine_id, offer.host_id)
        hosts = on_host[offer.host_id]
        return (
            quarantine.until.timestamp() if quarantine else 0.0,
            max(on_machine[offer.machine_id] - fleet.max_per_machine + 1, 0),
            0 if fleet.max_per_host is None else max(hosts - fleet.max_per_host + 1, 0),
            not liked(offer, fleet),
            worth(offer, view, fleet, hosts=hosts, typical=typical),
            offer.id,
        )

    best: dict[int, Offer] = {}
    for offer in sorted(fit, key=order):
        best.setdefault(offer.machine_id, offer)
    return tuple(best.values())


def liked(offer: Offer, fleet: Fleet) -> bool:
    """Say whether the operator wants it first."""
    return offer.machine_id in fleet.good_machines or offer.host_id in fleet.good_hosts


def typical_price(fit: Iterable[Offer]) -> float:
    """Return the median price of the offers that fit, in micro-dollars per hour; 0 = there are none."""
    return median([offer.price for offer in fit] or [0])


def worth(offer: Offer, view: View, fleet: Fleet, *, hosts: int, typical: float) -> float:
    """Return the number by which offers are compared, the least is taken.

    `hosts` of ours are on its host, and `typical` is the typical price of the market, by which an empty
    place is priced.
    """
    match fleet.rank:
        case "price":
            value = float(offer.price)
        case "score":
            return -(offer.score or 0.0)
        case _:
            expected = view.reputation.of(offer.machine_id, offer.host_id, offer.gpu_name, offer.price)
            value = cost_per_verified_hour(
                offer.price,
                expected,
                fleet.verify_within + fleet.provisioning_grace,
                empty=EMPTY_PLACE * typical,
                left=offer.duration,
            )
    return value * (1 + fleet.spread * hosts)
