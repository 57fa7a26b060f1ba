"""The simulated market under a clock of its own."""

from dataclasses import replace

import pytest

from magister.simulator.market import traffic
from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Contract, Order, Worker
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market

PLAN = MarketPlan(
    machines=12,
    gpu_counts=(4,),
    dud_share=0.0,
    odd_share=0.0,
    unverified_share=0.0,
    storage_only=0,
    image_gb=0.0,
    traffic_gb_hourly=(0.0, 0.0),
)
ORDER = Order(
    label="mine",
    image="a/b",
    template=None,
    onstart="true",
    env=(),
    disk=16.0,
    runtype="ssh",
    args=(),
    bid=None,
    running=True,
    cancel_unavail=True,
)


def market(**changes: object) -> Market:
    return Market(replace(PLAN, **changes))  # type: ignore[arg-type] # names and types are its fields'


def whole_machine(market: Market) -> int:
    return next(offer for offer, _, chunk in market.estate.available() if len(chunk.gpus) == 4)


def running(market: Market) -> Contract:
    contract, _ = market.rent(whole_machine(market), ORDER)
    market.tick(market.now + market.plan.boot_secs[1])
    assert contract.status == "running"
    return contract


def overlapping(market: Market, machine_id: int) -> set[int]:
    return {offer for offer, machine, _ in market.estate.available() if machine.id == machine_id}


def test_a_machine_of_four_gpus_publishes_seven_overlapping_offers() -> None:
    place = market()
    assert len(place.estate.available()) == 12 * 7


def test_equal_plans_and_calls_give_equal_markets() -> None:
    one, other = market(mean_life_secs=300.0), market(mean_life_secs=300.0)
    for place in (one, other):
        for offer, _, _ in place.estate.available()[:60:7]:
            place.rent(offer, ORDER)
        place.tick(2000.0)
    assert one.contracts == other.contracts
    assert one.credit == other.credit


def test_renting_a_machine_whole_takes_its_parts_off_the_market() -> None:
    place = market()
    contract, started = place.rent(whole_machine(place), ORDER)
    assert started
    assert overlapping(place, contract.machine_id) == set()


def test_renting_a_part_leaves_the_other_parts() -> None:
    place = market()
    offer, machine, _ = next(entry for entry in place.estate.available() if len(entry[2].gpus) == 2)
    place.rent(offer, ORDER)
    assert len(overlapping(place, machine.id)) == 3


def test_a_rented_offer_comes_back_under_another_id() -> None:
    place = market()
    offer = whole_machine(place)
    contract, _ = place.rent(offer, ORDER)
    place.destroy(contract.id)
    back = overlapping(place, contract.machine_id)
    assert len(back) == 7
    assert offer not in back
    with pytest.raises(Refused, match="410"):
        place.rent(offer, ORDER)


def test_offer_ids_recur_when_the_plan_says_so() -> None:
    place = market(offer_ids_recur=True)
    offer = whole_machine(place)
    before = overlapping(place, place.estate.book.current()[0][1].machine_id)
    contract, _ = place.rent(offer, ORDER)
    place.destroy(contract.id)
    assert overlapping(place, contract.machine_id) == before


def test_an_offer_never_published_is_unknown() -> None:
    with pytest.raises(Refused, match="404 no_such_ask"):
        market().rent(7, ORDER)


def test_a_box_boots_by_way_of_null_created_and_loading() -> None:
    place = market(boot_secs=(100.0, 100.0))
    contract, _ = place.rent(whole_machine(place), ORDER)
    seen = []
    for moment in (5.0, 15.0, 50.0, 100.0):
        place.tick(moment)
        seen.append(place.actual_status(contract))
    assert seen == [None, "created", "loading", "running"]


@pytest.mark.parametrize(
    ("kind", "status", "worker"),
    [
        ("stuck_created", "created", Worker.ABSENT),
        ("stuck_loading", "loading", Worker.ABSENT),
        ("mute", "running", Worker.MUTE),
    ],
)
def test_a_dud_never_works(kind: str, status: str, worker: Worker) -> None:
    place = market(dud_share=1.0, dud_kinds=(kind,))
    contract, _ = place.rent(whole_machine(place), ORDER)
    place.tick(5000.0)
    assert (place.actual_status(contract), contract.worker) == (status, worker)
    assert ("OCI runtime create failed" in (contract.status_msg or "")) == (kind == "stuck_created")


def test_on_some_duds_workers_start_but_die_soon() -> None:
    place = market(dud_share=1.0, dud_kinds=("dies_soon",), dud_life_secs=60.0, boot_secs=(99.0, 99.0))
    contract, _ = place.rent(whole_machine(place), ORDER)
    place.tick(100.0)
    assert contract.worker is Worker.WAITING
    place.tick(2000.0)
    assert (contract.worker, place.actual_status(contract)) == (Worker.DEAD, "running")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("exit", "exited"), ("offline", "offline"), ("unknown", "unknown"), ("worker_dies", "running")],
)
def test_boxes_die_in_several_ways(kind: str, status: str) -> None:
    place = market(mean_life_secs=10.0, deaths=((kind, 1.0),), return_share=0.0)
    contract, _ = place.rent(whole_machine(place), ORDER)
    place.tick(2000.0)
    assert place.actual_status(contract) == status
    assert contract.live


def test_a_box_whose_host_expires_vanishes_from_the_account() -> None:
    place = market(mean_life_secs=10.0, deaths=(("vanish", 1.0),))
    contract, _ = place.rent(whole_machine(place), ORDER)
    place.tick(2000.0)
    assert contract.ended_by == "expiry"
    assert place.listed() == []


def test_a_host_that_was_offline_comes_back_and_nothing_was_billed_meanwhile() -> None:
    place = market()
    contract = running(place)
    place.host_away(contract.machine_id, 600.0)
    credit = place.credit
    place.tick(place.now + 599.0)
    assert (place.actual_status(contract), place.credit) == ("offline", credit)
    place.tick(place.now + 2.0)
    assert place.actual_status(contract) == "running"
    assert place.credit < credit


def test_an_hour_of_running_costs_the_price_of_an_hour() -> None:
    place = market()
    contract = running(place)
    credit = place.credit
    place.tick(place.now + 3600.0)
    assert credit - place.credit == pytest.approx(contract.gpu_price + contract.storage_hourly)


def test_a_booting_box_costs_its_disk_only() -> None:
    place = market(boot_secs=(3600.0, 3600.0))
    contract, _ = place.rent(whole_machine(place), ORDER)
    place.tick(1800.0)
    assert place.plan.credit - place.credit == pytest.approx(contract.storage_hourly / 2)


def test_a_box_pulls_its_image_once_and_moves_what_it_is_drawn_to_move() -> None:
    place = market(image_gb=6.0, traffic_gb_hourly=(1.0, 2.0), boot_secs=(600.0, 600.0))
    contract, _ = place.rent(whole_machine(place), ORDER)
    place.tick(160.0)  # it is `loading` for ten seconds
    assert traffic.moved(contract) == pytest.approx((1.0, 0.0))
    place.tick(600.0 + 3600.0)
    place.stop(contract.id)
    place.tick(9000.0)
    place.start(contract.id)
    place.tick(9600.0 + 1800.0)
    down, up = traffic.moved(contract)
    assert down == pytest.approx(6.0 + 1.5 * contract.down_hourly, rel=1e-3)
    assert up == pytest.approx(1.5 * contract.up_hourly, rel=1e-3)
    assert 1.0 <= contract.up_hourly <= 2.0
    paid = sum(entry[1] + entry[3] for entry in contract.bill.values())
    assert place.plan.credit - place.credit == pytest.approx(paid + down * 0.002 + up * 0.003)


def test_a_box_moves_nothing_while_its_host_is_offline() -> None:
    place = market(traffic_gb_hourly=(1.0, 2.0))
    contract = running(place)
    place.host_away(contract.machine_id)
    before = traffic.moved(contract)
    place.tick(place.now + 3600.0)
    assert traffic.moved(contract) == before


def test_without_credit_all_boxes_are_stopped_and_none_can_be_rented() -> None:
    place = market(credit=0.5)
    contract = running(place)
    place.tick(place.now + 3600.0)
    assert (contract.intended, place.actual_status(contract)) == ("stopped", "stopped")
    with pytest.raises(Refused, match="200 insufficient_credit"):
        place.rent(whole_machine(place), ORDER)


def test_prices_drift_but_a_running_box_keeps_its_own() -> None:
    place = market(price_drift=0.2)
    contract = running(place)
    price, offered = contract.gpu_price, [machine.gpu_price for machine in place.estate.machines.values()]
    place.tick(place.now + 7200.0)
    assert contract.gpu_price == price
    assert offered != [machine.gpu_price for machine in place.estate.machines.values()]


def test_listings_may_lag_behind_a_create_and_a_destroy() -> None:
    place = market()
    contract, _ = place.rent(whole_machine(place), ORDER, listed_after=30.0)
    assert (place.listed(), place.shown(contract.id)) == ([], None)
    place.tick(31.0)
    assert place.listed() == [contract]
    place.destroy(contract.id, lingers=30.0)
    assert (place.listed(), place.shown(contract.id)) == ([contract], None)
    place.tick(62.0)
    assert place.listed() == []


def test_a_destroyed_box_may_come_back() -> None:
    place = market()
    contract = running(place)
    place.destroy(contract.id, returns_after=60.0)
    assert place.listed() == []
    place.tick(place.now + 61.0)
    assert place.listed() == [contract]


def test_a_stopped_box_gives_its_gpus_away_and_may_not_get_them_back() -> None:
    place = market()
    contract = running(place)
    place.stop(contract.id)
    other, _ = place.rent(
        next(iter(overlapping(place, contract.machine_id))),
        ORDER,
    )
    assert other.machine_id == contract.machine_id
    assert not place.start(contract.id)
    place.destroy(other.id)
    assert place.start(contract.id)
    place.tick(place.now + 100.0)
    assert place.actual_status(contract) == "running"


def test_an_expired_contract_is_stopped_and_deleted_two_days_later() -> None:
    place = market(credit=1e6)
    contract = running(place)
    place.tick(contract.ends_at + 1)
    assert place.actual_status(contract) == "stopped"
    place.tick(contract.ends_at + 49 * 3600)
    assert contract.ended_by == "expiry"


def test_ticking_finely_or_coarsely_comes_to_the_same() -> None:
    fine, coarse = market(mean_life_secs=900.0), market(mean_life_secs=900.0)
    for place in (fine, coarse):
        for offer, _, _ in place.estate.available()[:70:7]:
            place.rent(offer, ORDER)
    for moment in range(1, 2001):
        fine.tick(float(moment))
    coarse.tick(2000.0)
    assert [box.status for box in fine.contracts.values()] == [
        box.status for box in coarse.contracts.values()
    ]
    assert fine.credit == pytest.approx(coarse.credit)


def test_a_plan_with_an_unknown_death_is_refused() -> None:
    with pytest.raises(ValueError, match="no boredom"):
        MarketPlan(deaths=(("boredom", 1.0),))
