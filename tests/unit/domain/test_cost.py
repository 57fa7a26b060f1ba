"""What a box costs, from what was seen of it: exact, and too high rather than too low."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.domain import cost
from magister.domain.cost import Changes, Interval, Line
from magister.domain.instance import Held
from magister.domain.observed import Sighting
from magister.states import State
from tests.builders import NOW, a_sighting, ago, held

SEEN = ago(seconds=30)
DISK = Interval(Line.DISK, 20_000, ago(hours=1))
GPU = Interval(Line.GPU, 480_000, ago(minutes=59))


def box(status: str | None = "running", **facts: object) -> Sighting:
    return a_sighting(7, actual_status=status, price=500_000, disk_price=20_000, **facts)


def row(**facts: object) -> Held:
    return held(State.VERIFIED, last_seen_at=SEEN, **facts)


def noticed(status: str | None, *last: Interval, **facts: object) -> Changes:
    return cost.noticed(row(), box(status, **facts), NOW, {interval.line: interval for interval in last})


@pytest.mark.parametrize("status", ["running", "frozen"])
def test_gpu_time_begins_at_the_sighting_before_the_one_that_shows_it(status: str) -> None:
    assert noticed(status, DISK) == Changes(begun=(Interval(Line.GPU, 480_000, SEEN),))


def test_a_box_first_seen_running_is_taken_to_have_run_since_its_creation() -> None:
    new = held(State.CREATED, last_seen_at=None, created_at=ago(minutes=2))
    disk = Interval(Line.DISK, 20_000, ago(minutes=2))
    found = cost.noticed(new, box(), NOW, {Line.DISK: disk})
    assert found.begun == (Interval(Line.GPU, 480_000, ago(minutes=2)),)


@pytest.mark.parametrize("status", ["created", "loading", "exited", "stopped"])
def test_gpu_time_ends_at_the_sighting_that_shows_it_and_the_disk_goes_on(status: str) -> None:
    assert noticed(status, DISK, GPU) == Changes(ended={Line.GPU: NOW})


def test_nothing_costs_while_the_host_is_offline() -> None:
    assert noticed("offline", DISK, GPU) == Changes(ended={Line.GPU: NOW, Line.DISK: NOW})


@pytest.mark.parametrize("status", ["unknown", "rebooting", "connecting", "a-new-word", None])
def test_a_status_that_does_not_tell_changes_nothing(status: str | None) -> None:
    assert noticed(status, DISK, GPU) == Changes()
    assert noticed(status, DISK) == Changes()


def untold(**facts: object) -> Held:
    """Return a row of which the last sighting did not tell whether its GPUs cost."""
    return row(actual_status=None, created_at=ago(hours=1), **facts)


@pytest.mark.parametrize(("status", "ends_at"), [("running", None), ("exited", NOW), ("offline", NOW)])
def test_the_time_in_which_no_status_told_costs_once_one_tells(status: str, ends_at: datetime | None) -> None:
    found = cost.noticed(untold(), box(status), NOW, {Line.DISK: DISK})
    assert Interval(Line.GPU, 480_000, ago(hours=1), ends_at) in found.begun
    stopped = Interval(Line.GPU, 480_000, ago(hours=1), ago(minutes=20))
    found = cost.noticed(untold(), box(status), NOW, {Line.DISK: DISK, Line.GPU: stopped})
    assert Interval(Line.GPU, 480_000, ago(minutes=20), ends_at) in found.begun


def test_an_instance_that_is_still_being_made_has_cost_no_gpu_time() -> None:
    new = replace(untold(), state=State.CREATED, verified_at=None)
    assert cost.noticed(new, box("loading"), NOW, {Line.DISK: DISK}) == Changes()
    verified = cost.noticed(untold(), box("loading"), NOW, {Line.DISK: DISK})
    assert verified.begun == (Interval(Line.GPU, 480_000, ago(hours=1), NOW),), "its worker has run"


def test_the_time_in_which_no_status_told_costs_once_the_instance_is_gone() -> None:
    lacking = ago(seconds=20)
    found = cost.gone(untold(absent_since=lacking), NOW, {Line.DISK: DISK})
    assert found == Changes({Line.DISK: lacking}, (Interval(Line.GPU, 480_000, ago(hours=1), lacking),))


def test_a_host_that_is_back_costs_again_from_the_sighting_before() -> None:
    disk, gpu = (Interval(i.line, i.micros, i.begins_at, ago(minutes=5)) for i in (DISK, GPU))
    assert noticed("running", disk, gpu).begun == (
        Interval(Line.GPU, 480_000, SEEN),
        Interval(Line.DISK, 20_000, SEEN),
    )


def test_nothing_begins_before_what_came_before_it_has_ended() -> None:
    gpu = Interval(Line.GPU, 480_000, GPU.begins_at, ago(seconds=10))
    assert noticed("running", DISK, gpu).begun == (Interval(Line.GPU, 480_000, ago(seconds=10)),)


def test_a_changed_price_ends_one_interval_and_begins_the_next() -> None:
    found = cost.noticed(row(), a_sighting(7, price=600_000), NOW, {Line.GPU: GPU, Line.DISK: DISK})
    assert found == Changes({Line.GPU: NOW}, (Interval(Line.GPU, 580_000, NOW),))


def test_what_the_listing_does_not_say_is_taken_from_the_offer() -> None:
    found = cost.noticed(
        row(price=500_000, disk_price=20_000), a_sighting(7), NOW, {Line.GPU: GPU, Line.DISK: DISK}
    )
    assert found == Changes()


def test_a_disk_without_a_price_is_a_part_of_the_gpu_price() -> None:
    assert cost.priced(held(price=500_000, disk_price=None), a_sighting(7)) == {
        Line.GPU: 500_000,
        Line.DISK: 0,
    }


def test_a_late_answer_changes_nothing_that_a_later_one_showed() -> None:
    known = {Line.GPU: GPU, Line.DISK: DISK}
    assert cost.noticed(row(), box("offline"), ago(seconds=31), known) == Changes()


def test_a_listing_from_before_its_end_does_not_let_a_gone_box_cost_again() -> None:
    gone = held(State.DESTROYED, last_seen_at=ago(minutes=9), destroyed_at=ago(minutes=1))
    closed = {Line.DISK: Interval(Line.DISK, 20_000, ago(hours=1), ago(minutes=8))}
    assert cost.noticed(gone, box(), ago(minutes=2), closed) == Changes()


def test_a_box_that_reappears_goes_on_where_it_ended() -> None:
    gone = held(State.DESTROYED, last_seen_at=ago(minutes=9), destroyed_at=ago(minutes=1))
    closed = {
        Line.DISK: Interval(Line.DISK, 20_000, ago(hours=1), ago(minutes=8)),
        Line.GPU: Interval(Line.GPU, 480_000, ago(hours=1), ago(minutes=8)),
    }
    assert {i.begins_at for i in cost.noticed(gone, box(), NOW, closed).begun} == {ago(minutes=8)}


def test_a_box_that_was_rented_before_rates_were_kept_costs_from_its_creation() -> None:
    found = cost.noticed(row(), box(), NOW, {})
    assert {(i.line, i.begins_at) for i in found.begun} == {(line, ago(hours=1)) for line in Line}


def test_a_box_first_seen_offline_has_cost_its_disk_until_then() -> None:
    new = held(State.CREATED, last_seen_at=None, created_at=ago(minutes=2))
    found = cost.noticed(new, box("offline"), NOW, {})
    assert found.begun == (Interval(Line.DISK, 20_000, ago(minutes=2), NOW),)


def test_a_gone_box_cost_until_a_listing_first_lacked_it() -> None:
    lacking = ago(seconds=20)
    found = cost.gone(row(absent_since=lacking), NOW, {Line.GPU: GPU, Line.DISK: DISK})
    assert found == Changes({Line.GPU: lacking, Line.DISK: lacking})


def test_a_refused_rental_costs_nothing() -> None:
    assert cost.gone(held(State.REQUESTED), NOW, {}) == Changes()


def test_an_hour_costs_its_rate_to_the_micro_dollar() -> None:
    assert cost.cost([Interval(Line.GPU, 333_333, ago(hours=1), NOW)], NOW) == 333_333
    assert cost.cost([Interval(Line.GPU, 1, ago(seconds=3599), NOW)], NOW) == 0


def test_a_day_ends_at_midnight_in_utc() -> None:
    begins = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
    ends = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    days = cost.by_day([Interval(Line.GPU, 1_000_000, begins, ends)], ends)
    assert days == {date(2026, 11, 23): 1_000_000, date(2026, 11, 24): 2_000_000}


INTERVALS = st.builds(
    lambda line, micros, begin, secs: Interval(
        line, micros, NOW + timedelta(seconds=begin), NOW + timedelta(seconds=begin + secs)
    ),
    st.sampled_from(Line),
    st.integers(0, 50_000_000),
    st.integers(-400_000, 400_000),
    st.integers(0, 400_000),
)


@given(st.lists(INTERVALS, max_size=8))
def test_the_days_of_an_instance_add_up_to_its_cost(intervals: list[Interval]) -> None:
    exact = sum(i.micros * int(((i.ends_at or NOW) - i.begins_at).total_seconds()) for i in intervals)
    assert cost.cost(intervals, NOW) == exact // 3600


STATUSES = st.sampled_from(
    ["running", "frozen", "offline", "exited", "stopped", "loading", "unknown", "new-word", None]
)
STEPS = st.lists(
    st.tuples(st.integers(1, 5000), STATUSES, st.integers(0, 900_000), st.integers(0, 90_000)), max_size=12
)


@given(STEPS)
def test_intervals_of_a_line_never_overlap_and_a_running_box_always_costs(
    steps: list[tuple[int, str | None, int, int]],
) -> None:
    """Replay sightings; each interval begins after the last has ended, and one at most is open."""
    row = held(State.CREATED, last_seen_at=None, created_at=NOW)
    kept: dict[Line, list[Interval]] = {Line.GPU: [], Line.DISK: []}
    at = NOW
    for secs, status, gpu, disk in steps:
        at += timedelta(seconds=secs)
        seen = a_sighting(7, actual_status=status, price=gpu + disk, disk_price=disk)
        last = {line: found[-1] for line, found in kept.items() if found}
        changes = cost.noticed(row, seen, at, last)
        for line, ends_at in changes.ended.items():
            old = kept[line].pop()
            kept[line].append(Interval(line, old.micros, old.begins_at, ends_at))
        for interval in changes.begun:
            kept[interval.line].append(interval)
        row = held(State.CREATED, last_seen_at=at, created_at=NOW)
        if status in {"running", "frozen"}:
            assert all(found[-1].ends_at is None for found in kept.values())
    for found in kept.values():
        for one, two in pairwise(found):
            assert one.ends_at is not None
            assert one.begins_at <= one.ends_at <= two.begins_at
