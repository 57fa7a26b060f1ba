"""Which machines and hosts are tried last, and for how long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from magister.domain.risk.launch_breaker import Caution
from magister.domain.risk.quarantine import Quarantine, Quarantines, Trial, quarantines
from magister.states import Failure, Reason, State, failure
from tests.builders import NOW, ago

HOUR = timedelta(hours=1)
CAUTION = Caution()


def tried(kind: Failure | None, *, minutes: float, machine: int = 1, host: int | None = 7) -> Trial:
    """Return what a rental showed so many minutes ago; None = its worker verified."""
    return Trial(at=ago(minutes=minutes), machine_id=machine, host_id=host, failure=kind)


def of_one(*trials: Trial) -> Quarantine | None:
    """Return the quarantine of machine 1."""
    return quarantines(trials, CAUTION, NOW).machines.get(1)


def test_a_machine_that_never_failed_is_in_none() -> None:
    assert quarantines([tried(None, minutes=5)], CAUTION, NOW) == Quarantines()


@pytest.mark.parametrize(("times", "hours"), [(1, 1), (2, 4), (3, 16), (4, 64), (5, 168), (90, 168)])
def test_each_failure_of_a_kind_keeps_a_machine_four_times_as_long_up_to_a_week(
    times: int, hours: int
) -> None:
    found = of_one(*(tried(Failure.DIED, minutes=times - n) for n in range(times)))
    assert found is not None
    assert found.until == ago(minutes=1) + hours * HOUR


def test_different_kinds_of_failure_do_not_add_up() -> None:
    found = of_one(tried(Failure.NEVER_VERIFIED, minutes=2), tried(Failure.NEVER_BOOTED, minutes=1))
    assert found == Quarantine(ago(minutes=1) + HOUR, "never booted once")


def test_a_worker_that_verifies_disproves_that_the_machine_cannot_boot() -> None:
    failed = [tried(Failure.NEVER_BOOTED, minutes=3), tried(Failure.NEVER_VERIFIED, minutes=2)]
    assert of_one(*failed, tried(None, minutes=1)) is None


def test_failures_before_a_worker_verified_do_not_make_the_next_quarantine_longer() -> None:
    found = of_one(
        tried(Failure.NEVER_BOOTED, minutes=30),
        tried(None, minutes=20),
        tried(Failure.NEVER_BOOTED, minutes=10),
    )
    assert found == Quarantine(ago(minutes=10) + HOUR, "never booted once")


def test_a_quarantine_ends() -> None:
    assert of_one(tried(Failure.DIED, minutes=61)) is None


def test_a_failure_older_than_the_longest_quarantine_is_forgotten() -> None:
    old = tried(Failure.DIED, minutes=7 * 24 * 60 + 1)
    assert of_one(old, tried(Failure.DIED, minutes=1)) == Quarantine(ago(minutes=1) + HOUR, "died once")


def test_three_bad_machines_put_their_host_there_until_one_of_them_is_good_again() -> None:
    bad = [tried(Failure.DIED, minutes=n, machine=n) for n in (10, 20, 30)]
    assert quarantines(bad[:2], CAUTION, NOW).hosts == {}
    found = quarantines(bad, CAUTION, NOW)
    assert found.hosts == {7: Quarantine(ago(minutes=30) + HOUR, "3 of its machines are in quarantine")}
    assert found.of(99, 7) == found.hosts[7]
    assert found.of(10, 7) == found.machines[10]
    assert found.of(99, 8) is None
    assert found.of(None, None) is None


def test_machines_whose_host_is_not_known_blame_none() -> None:
    bad = [tried(Failure.DIED, minutes=n, machine=n, host=None) for n in (1, 2, 3)]
    assert quarantines(bad, CAUTION, NOW).hosts == {}


@pytest.mark.parametrize(
    ("old", "reason", "kind"),
    [
        (State.CREATED, Reason.EXITED, Failure.NEVER_BOOTED),
        (State.VERIFIED, Reason.EXITED, Failure.DIED),
        (State.VERIFIED, Reason.SILENT, Failure.SILENT),
        (State.CREATED, Reason.UNVERIFIED, Failure.NEVER_VERIFIED),
        (State.VERIFIED, Reason.COORDINATOR, Failure.GIVEN_UP),
        (State.VERIFIED, Reason.SURPLUS, None),
        (State.VERIFIED, Reason.VANISHED, None),
        (State.REQUESTED, Reason.OFFER_GONE, None),
    ],
)
def test_a_move_tells_in_which_way_a_box_failed(old: State, reason: Reason, kind: Failure | None) -> None:
    assert failure(old, reason) is kind


@pytest.mark.parametrize(("verified", "held"), [(False, True), (True, False)])
def test_an_instance_that_failed_after_its_worker_had_verified_holds_nobody(
    verified: bool, held: bool
) -> None:
    failed = replace(tried(Failure.DIED, minutes=5), verified=verified)
    assert (of_one(failed) is not None) is held
