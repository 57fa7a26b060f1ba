"""Which offers fit, and which is tried first."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.instance import Held
from magister.domain.observed import Offer
from magister.domain.risk.quarantine import Quarantine, Quarantines
from magister.domain.risk.reputation import Rental, Reputation, reputation
from magister.domain.spec import Fleet
from magister.planner.ranking import as_of, candidates, unfit
from magister.settings import spec
from magister.settings.runtime import VastQuery
from magister.states import Failure, State
from tests.builders import NOW, a_fleet, a_view, ago, an_offer, held, some_settings


def ranked(
    *offers: Offer,
    rows: tuple[Held, ...] = (),
    recent: frozenset[int] = frozenset(),
    quarantines: Quarantines | None = None,
    reputation: Reputation | None = None,
    fleet: Fleet | None = None,
) -> list[Offer]:
    view = a_view(
        recent_offers=recent,
        quarantines=quarantines or Quarantines(),
        reputation=reputation or Reputation(),
    )
    return list(candidates(offers, held=rows, view=view, fleet=fleet or a_fleet()))


@pytest.mark.parametrize(
    ("offer", "fleet", "why"),
    [
        (an_offer(resource_type="storage"), a_fleet(), "not a gpu"),
        (an_offer(num_gpus=0), a_fleet(), "no GPU"),
        (an_offer(verification="deverified"), a_fleet(), "deverified"),
        (an_offer(verification=None), a_fleet(), "not verified"),
        (an_offer(rentable=False), a_fleet(), "not rentable"),
        (an_offer(machine_id=7), a_fleet(bad_machines=frozenset({7})), "bad_machines"),
        (an_offer(host_id=8), a_fleet(bad_hosts=frozenset({8})), "bad_hosts"),
        (an_offer(price=600_001), a_fleet(max_price=600_000), "cost_per_hour"),
        (an_offer(num_gpus=4), a_fleet(num_gpus=1), "4 GPUs"),
        (an_offer(gpu_name="RTX 3090"), a_fleet(gpu_names=frozenset({"RTX 4090"})), "RTX 3090"),
        (an_offer(gpu_ram=16_000.0), a_fleet(min_gpu_ram=24_000), "gpu_ram"),
        (an_offer(disk_space=10.0), a_fleet(min_disk_space=16), "disk_space"),
        (an_offer(reliability=0.9), a_fleet(min_reliability=0.95), "reliability"),
        (an_offer(cuda_max_good=12.1), a_fleet(min_cuda=12.8), "CUDA"),
        (an_offer(duration=3600.0), a_fleet(min_duration=7200), "too short"),
    ],
)
def test_what_vast_should_have_filtered_is_checked_again(offer: Offer, fleet: Fleet, why: str) -> None:
    assert why in (unfit(offer, fleet) or "")
    assert ranked(offer, fleet=fleet) == []


def test_an_offer_at_the_limits_fits() -> None:
    offer = an_offer(price=600_000, gpu_ram=24_000.0, disk_space=16.0, reliability=0.95)
    fleet = a_fleet(max_price=600_000, min_gpu_ram=24_000, min_disk_space=16, min_reliability=0.95)
    assert unfit(offer, fleet) is None


def test_the_cheapest_comes_first_and_each_machine_once() -> None:
    dear, cheap = an_offer(price=900), an_offer(price=100)
    same = an_offer(price=150, machine_id=cheap.machine_id)
    assert ranked(dear, same, cheap) == [cheap, dear]


def test_good_machines_and_hosts_come_before_cheaper_ones() -> None:
    cheap, good_host, good_machine = (an_offer(price=price) for price in (100, 800, 900))
    fleet = a_fleet(
        good_hosts=frozenset({good_host.host_id}), good_machines=frozenset({good_machine.machine_id})
    )
    assert ranked(cheap, good_machine, good_host, fleet=fleet) == [good_host, good_machine, cheap]


def test_a_machine_that_holds_one_of_ours_comes_after_the_empty_ones() -> None:
    taken, free = an_offer(price=100), an_offer(price=900)
    assert ranked(taken, free, rows=(held(machine_id=taken.machine_id),)) == [free, taken]


def test_a_machine_that_only_held_one_does_not() -> None:
    once, free = an_offer(price=100), an_offer(price=900)
    gone = held(State.DESTROYED, machine_id=once.machine_id)
    assert ranked(once, free, rows=(gone,)) == [once, free]


def test_machines_in_quarantine_come_last_the_one_that_is_out_first_before_the_others() -> None:
    long, short, crowded = an_offer(price=1), an_offer(price=2), an_offer(price=999)
    of_host = an_offer(price=3)
    quarantines = Quarantines(
        {
            long.machine_id: Quarantine(NOW + timedelta(hours=4), "it died twice"),
            short.machine_id: Quarantine(NOW + timedelta(hours=1), "it died"),
        },
        {of_host.host_id: Quarantine(NOW + timedelta(hours=2), "its machines are bad")},
    )
    rows = (held(machine_id=crowded.machine_id),)
    found = ranked(long, short, of_host, crowded, rows=rows, quarantines=quarantines)
    assert found == [crowded, short, of_host, long]


def worked(offer: Offer, *, hours: float, times: int = 10) -> list[Rental]:
    """Return rentals on an offer's machine whose workers verified in two minutes and worked for so long."""
    return [
        Rental(
            at=ago(hours=n),
            machine_id=offer.machine_id,
            host_id=offer.host_id,
            gpu_name=offer.gpu_name,
            boot=120,
            worked=hours * 3600,
            failure=Failure.DIED,
        )
        for n in range(times)
    ]


def failed(offer: Offer, *, times: int = 10) -> list[Rental]:
    """Return rentals on an offer's machine whose workers never verified."""
    return [
        replace(rental, boot=None, worked=0.0, failure=Failure.NEVER_VERIFIED)
        for rental in worked(offer, hours=0, times=times)
    ]


def test_the_cheapest_is_not_the_one_whose_boxes_never_work() -> None:
    cheap, dear = an_offer(price=300_000), an_offer(price=330_000)
    known = reputation([*failed(cheap), *worked(dear, hours=1)], NOW)
    assert ranked(cheap, dear, reputation=known) == [dear, cheap]
    assert ranked(cheap, dear, reputation=known, fleet=a_fleet(rank="price")) == [cheap, dear]


def test_the_cheapest_is_not_the_one_whose_boxes_soon_die() -> None:
    cheap, dear = an_offer(price=300_000), an_offer(price=400_000)
    known = reputation([*worked(cheap, hours=0.05), *worked(dear, hours=24)], NOW)
    assert ranked(cheap, dear, reputation=known) == [dear, cheap]


def test_a_bad_machine_that_is_cheap_enough_is_the_better_one() -> None:
    cheap, dear = an_offer(price=100_000), an_offer(price=900_000)
    known = reputation([*failed(cheap, times=2), *worked(dear, hours=12)], NOW)
    assert ranked(cheap, dear, reputation=known) == [cheap, dear]


def test_an_offer_that_ends_in_ten_minutes_is_not_taken_for_being_a_little_cheaper() -> None:
    ending, lasting = an_offer(price=300_000, duration=600.0), an_offer(price=330_000, duration=864_000.0)
    assert ranked(ending, lasting) == [lasting, ending]


def test_an_offer_that_ends_soon_is_taken_if_it_is_cheap_enough() -> None:
    ending, lasting = an_offer(price=100_000, duration=86_400.0), an_offer(price=300_000, duration=864_000.0)
    assert ranked(ending, lasting) == [ending, lasting]


def test_what_an_empty_place_costs_is_the_same_for_cheap_and_dear_offers() -> None:
    """A machine that mostly fails is not made good by its low price, for its place is empty meanwhile."""
    cheap, usual = an_offer(price=200_000), [an_offer(price=400_000) for _ in range(5)]
    known = reputation([*failed(cheap), *(life for offer in usual for life in worked(offer, hours=2))], NOW)
    assert ranked(cheap, *usual, reputation=known)[-1] == cheap


def test_by_vasts_score_the_highest_comes_first_and_one_without_comes_last() -> None:
    low, high, none = an_offer(score=1.0, price=1), an_offer(score=9.0, price=3), an_offer(price=2)
    assert ranked(low, high, none, fleet=a_fleet(rank="score")) == [high, low, none]


def test_a_host_that_has_its_share_comes_after_the_others() -> None:
    crowded, other = an_offer(price=100, host_id=7), an_offer(price=900, host_id=8)
    rows = (held(host_id=7), held(host_id=7))
    fleet = a_fleet(max_per_host=2, rank="price")
    assert ranked(crowded, other, rows=rows, fleet=fleet) == [other, crowded]
    assert ranked(crowded, other, rows=rows[:1], fleet=fleet) == [crowded, other]


def test_of_like_offers_the_one_on_the_emptier_host_comes_first() -> None:
    crowded, other = an_offer(price=100, host_id=7), an_offer(price=103, host_id=8)
    rows = (held(host_id=7), held(host_id=7))
    assert ranked(crowded, other, rows=rows, fleet=a_fleet(rank="price")) == [other, crowded]
    even = a_fleet(rank="price", spread=0.0)
    assert ranked(crowded, other, rows=rows, fleet=even) == [crowded, other]


def test_a_recent_offer_is_never_rented_again() -> None:
    offer = an_offer()
    assert ranked(offer, recent=frozenset({offer.id})) == []


QUERY: dict[str, tuple[object, Offer]] = {
    "allocated_storage": (900, an_offer(disk_space=800.0)),
    "gpu_name": (("RTX 4090",), an_offer(gpu_name="RTX 3090")),
    "reliability": (0.99, an_offer(reliability=0.98)),
    "min_cuda_version": (12.8, an_offer(cuda_max_good=12.4)),
    "gpu_ram": (24, an_offer(gpu_ram=16_000.0)),
    "disk_space": (900, an_offer(disk_space=800.0)),
    "duration": (192_679, an_offer(duration=3_600.0)),
    "cost_per_hour": (0.4, an_offer(price=400_001)),
    "num_gpus": (1, an_offer(num_gpus=2)),
    "geolocation": (("SE", "NO"), an_offer(geolocation="Frankfurt am Main, DE")),
}
"""For each filter a value, and an offer that only this filter keeps out."""

UNSAID: dict[str, dict[str, object]] = {
    "allocated_storage": {"disk_space": None},
    "reliability": {"reliability": None},
    "min_cuda_version": {"cuda_max_good": None},
    "gpu_ram": {"gpu_ram": None},
    "disk_space": {"disk_space": None},
    "duration": {"duration": None},
    "geolocation": {"geolocation": None},
}
"""What an offer leaves out that the filter is about; the other facts are in every offer."""


def asking(name: str, value: object) -> Fleet:
    return spec.fleet(some_settings(vast_query=VastQuery.model_validate({name: value})))


def test_the_table_has_every_filter_that_can_be_set() -> None:
    assert QUERY.keys() == VastQuery.model_fields.keys()


@pytest.mark.parametrize("name", QUERY)
def test_no_filter_is_left_to_vast(name: str) -> None:
    value, offer = QUERY[name]
    assert unfit(offer, spec.fleet(some_settings(vast_query=VastQuery()))) is None
    assert unfit(offer, asking(name, value)) is not None


@pytest.mark.parametrize("name", UNSAID)
def test_an_offer_that_does_not_say_what_is_asked_for_is_not_rented(name: str) -> None:
    assert unfit(an_offer(**UNSAID[name]), asking(name, QUERY[name][0])) is not None


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"external": True}, "external"),
        ({"is_bid": True}, "interruptible"),
        ({"rentable": None}, "not rentable"),
        ({"verification": "verified with vericode 0"}, "vericode 0"),
    ],
)
def test_what_is_always_asked_for_is_not_left_to_vast(facts: dict[str, object], why: str) -> None:
    assert why in str(unfit(an_offer(**facts), a_fleet()))


@pytest.mark.parametrize(
    ("left", "duration", "counts"),
    [(3600, 9999.0, 3600.0), (3600, 60.0, 60.0), (3600, None, 3600.0), (-5, 9999.0, 0.0), (None, 60.0, 60.0)],
)
def test_the_time_left_is_the_lesser_of_the_duration_and_the_end(
    left: int | None, duration: float | None, counts: float
) -> None:
    end = None if left is None else NOW + timedelta(seconds=left)
    assert as_of(an_offer(duration=duration, end_date=end), NOW).duration == counts
