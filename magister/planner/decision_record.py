"""Pure: a decision to rent as data: to be kept with the instance, explained, and made again."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from pydantic import TypeAdapter

from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.domain.risk.quarantine import Quarantines
from magister.domain.spec import Fleet, View
from magister.planner.ranking import candidates, fitting, liked, typical_price, unfit, worth

T = TypeVar("T")

SHOWN = 30
"""Candidates that are kept with a decision, the best first; of offers that do not fit, as many."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold all that a plan was made from."""

    fleet: Fleet
    held: tuple[Held, ...]
    view: View
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Show one offer as it was considered; money in micro-dollars per hour, times in seconds.

    `worth` is the number that offers were compared by, the least first. `rejection` None = it fits.
    """

    offer_id: int
    machine_id: int
    host_id: int
    gpu_name: str
    price: int
    verify: float  # expected probability that its worker verifies
    boot: float
    life: float
    worth: float
    liked: bool
    quarantine: str | None
    rejection: str | None
    left: float | None = None  # for how long it is still offered; None = not known


_DECISION = TypeAdapter(Decision)
_CANDIDATES = TypeAdapter(tuple[Candidate, ...])


def considered(decision: Decision) -> tuple[Candidate, ...]:
    """Return the offers that were considered: the best first, and after them those that do not fit."""
    fleet, held, view = decision.fleet, decision.held, decision.view
    best = candidates(view.offers, held=held, view=view, fleet=fleet)
    taken = {offer.id for offer in best}
    rest = [(offer, _rejection(offer, fleet, view)) for offer in view.offers if offer.id not in taken]
    typical = typical_price(fitting(view.offers, view, fleet))
    shown = [_candidate(offer, decision, typical) for offer in best[:SHOWN]]
    return (*shown, *(_candidate(offer, decision, typical, why) for offer, why in rest[:SHOWN]))


def _rejection(offer: Offer, fleet: Fleet, view: View) -> str:
    if offer.id in view.recent_offers:
        return "it is rented, or was a short time ago"
    return unfit(offer, fleet) or f"another offer of machine {offer.machine_id} is better"


def _candidate(offer: Offer, decision: Decision, typical: float, rejection: str | None = None) -> Candidate:
    view, fleet = decision.view, decision.fleet
    hosts = Counter(row.host_id for row in decision.held if row.live)
    expected = view.reputation.of(offer.machine_id, offer.host_id, offer.gpu_name, offer.price)
    quarantine = view.quarantines.of(offer.machine_id, offer.host_id)
    return Candidate(
        offer_id=offer.id,
        machine_id=offer.machine_id,
        host_id=offer.host_id,
        gpu_name=offer.gpu_name,
        price=offer.price,
        verify=round(expected.verify, 4),
        boot=round(expected.boot, 1),
        life=round(expected.life, 1),
        worth=round(worth(offer, view, fleet, hosts=hosts[offer.host_id], typical=typical), 1),
        liked=liked(offer, fleet),
        quarantine=None if quarantine is None else quarantine.why,
        rejection=rejection,
        left=None if offer.duration is None else round(offer.duration, 1),
    )


def written(decision: Decision) -> str:
    """Return a decision as JSON, without what only describes: the planner makes the same plan of it."""
    view = decision.view
    offers = tuple(replace(offer, details="{}") for offer in view.offers)
    machines = {row.machine_id for row in decision.held} | {offer.machine_id for offer in offers}
    hosts = {row.host_id for row in decision.held} | {offer.host_id for offer in offers}
    # of thousands of machines that were ever rented, only these have a say
    reputation = replace(
        view.reputation,
        machines=_only(machines, view.reputation.machines),
        hosts=_only(hosts, view.reputation.hosts),
        classes_on=_only(hosts, view.reputation.classes_on),
    )
    quarantines = Quarantines(
        _only(machines, view.quarantines.machines), _only(hosts, view.quarantines.hosts)
    )
    # what is not ours was taken in before anything was rented, and its onstart is nobody's business
    plain = replace(view, offers=offers, reputation=reputation, quarantines=quarantines, strangers=())
    held = tuple(replace(row, callback_key=None) for row in decision.held)  # no secret is kept here
    return _DECISION.dump_json(replace(decision, held=held, view=plain)).decode()


def _only(ids: Collection[int | None], known: Mapping[int, T]) -> dict[int, T]:
    return {number: value for number, value in known.items() if number in ids}


def read(text: str) -> Decision:
    """Return the decision that `written` wrote; raises ValueError for anything else."""
    return _DECISION.validate_json(text)


def listed(found: tuple[Candidate, ...]) -> str:
    """Return candidates as JSON."""
    return _CANDIDATES.dump_json(found).decode()


def read_candidates(text: str) -> tuple[Candidate, ...]:
    """Return the candidates that `listed` wrote; raises ValueError for anything else."""
    return _CANDIDATES.validate_json(text)
