"""What makes an instance suspicious, and what does not."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from magister.domain.instance import Held
from magister.domain.risk.quarantine import Quarantine, Quarantines
from magister.reports.warnings import doubts
from magister.states import State
from tests.builders import NOW, a_fleet, ago, held

FLEET = a_fleet(beat_timeout=timedelta(seconds=300))


def doubted(row: Held, quarantines: Quarantines | None = None) -> tuple[str, ...]:
    return doubts(row, FLEET, quarantines or Quarantines(), NOW, heard_from=ago(hours=1))


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.VERIFIED])
def test_nothing_speaks_against_an_instance_that_does_what_it_should(state: State) -> None:
    on_time = {"verify_by": NOW + timedelta(minutes=1)} if state is State.CREATED else {}
    assert doubted(held(state, beaten_at=ago(seconds=60), **on_time)) == ()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            held(State.REQUESTED, unanswered=1, doubted_at=ago(seconds=5)),
            "Vast was asked for it and did not answer clearly: listings decide whether it exists",
        ),
        (
            held(State.CREATED, verify_by=ago(seconds=30)),
            "its worker has been overdue for 30 s",
        ),
        (held(State.CREATED, verify_by=None, absences=1), "the last listing lacks it"),
        (held(absences=1), "the last listing lacks it"),
        (
            held(sick_since=ago(minutes=4), actual_status="offline"),
            "Vast has called it offline and not running for 4 min",
        ),
        (
            held(sick_since=ago(seconds=9), actual_status=None),
            "Vast has called it nothing and not running for 9 s",
        ),
        (held(beaten_at=ago(minutes=3)), "its worker has not been heard for 3 min"),
        (held(off_roster_since=ago(minutes=2)), "Hierophant has not listed its worker for 2 min"),
        (held(declared_dead_at=ago(minutes=2)), "Hierophant declared its worker dead"),
        (
            held(State.DROPPING, moved_at=ago(minutes=6), destroys=1),
            "on its way out for 6 min, Vast was asked 1 time, and it may still cost",
        ),
        (
            held(State.DROPPING, moved_at=ago(minutes=6)),
            "on its way out for 6 min, Vast is not asked yet, and it may still cost",
        ),
        (held(State.DESTROYED), "it was proved gone, and a listing shows it again"),
    ],
)
def test_what_speaks_against_an_instance_is_said(row: Held, said: str) -> None:
    assert doubted(row) == (said,)


def test_a_machine_in_quarantine_makes_its_instance_doubtful() -> None:
    kept = Quarantines(machines={7: Quarantine(NOW + timedelta(hours=1), "died twice")})
    assert doubted(held(machine_id=7), kept) == ("its machine or host is in quarantine: died twice",)
    assert doubted(held(machine_id=8), kept) == ()


def test_what_a_listing_said_before_its_worker_called_speaks_against_nobody() -> None:
    before = held(
        sick_since=ago(minutes=1),
        actual_status="loading",
        verified_at=ago(seconds=9),
        last_seen_at=ago(seconds=10),
    )
    assert doubted(before) == ()
    assert doubted(replace(before, last_seen_at=ago(seconds=8))) != ()


@pytest.mark.parametrize("heard_from", [None, ago(minutes=2)])
def test_silence_that_nobody_could_hear_speaks_against_nobody(heard_from: datetime | None) -> None:
    silent = held(beaten_at=ago(minutes=4))
    assert doubts(silent, FLEET, Quarantines(), NOW, heard_from=heard_from) == ()
    assert doubted(silent) != ()


def test_a_box_is_as_silent_as_the_beat_that_it_was_born_with_allows() -> None:
    assert doubted(held(beaten_at=ago(minutes=4), beat_secs=300)) == ()
    assert doubted(held(beaten_at=ago(minutes=8), beat_secs=300)) != ()


def test_a_box_that_only_just_goes_is_not_doubtful() -> None:
    assert doubted(held(State.DROPPING, moved_at=ago(minutes=4))) == ()


def test_the_gravest_is_said_first() -> None:
    assert doubted(held(declared_dead_at=ago(minutes=1), sick_since=ago(minutes=1)))[0].startswith(
        "Hierophant"
    )
