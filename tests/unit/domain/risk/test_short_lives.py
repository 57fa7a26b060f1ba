"""How long the worker of an earlier rental lived, by what is known of its instance."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from magister.domain.risk.launch_breaker import Event
from magister.domain.risk.short_lives import Milestone, Senses, events
from magister.states import Reason, State
from tests.builders import NOW, ago

SHORT = timedelta(minutes=5)


def verified(minutes: float, *, reason: Reason = Reason.CALLED, **known: datetime) -> Milestone:
    """Return the verification of a worker so many minutes ago, and what is known of its instance."""
    rented_at = ago(minutes=minutes + 2)
    plain = Milestone(ago(minutes=minutes), State.CREATED, State.VERIFIED, reason, 1, rented_at)
    return replace(plain, **known)  # type: ignore[arg-type] # names are Milestone's


def ended(minutes: float, reason: Reason, **known: datetime) -> Milestone:
    """Return the end of the same instance."""
    plain = Milestone(ago(minutes=minutes), State.VERIFIED, State.DROPPING, reason, 1, ago(minutes=99))
    return replace(plain, **known)  # type: ignore[arg-type] # names are Milestone's


def tell(*moves: Milestone, **senses: object) -> list[Event]:
    return list(events(moves, Senses(**senses), SHORT, NOW))  # type: ignore[arg-type] # Senses' names


@pytest.mark.parametrize(
    ("end", "soon"),
    [
        (ended(27, Reason.EXITED, sick_since=ago(minutes=27)), True),
        (ended(10, Reason.EXITED, sick_since=ago(minutes=28)), True),
        (ended(10, Reason.EXITED, sick_since=ago(minutes=28), beaten_at=ago(minutes=11)), False),
        (ended(24, Reason.SILENT, beaten_at=ago(minutes=29)), True),
        (ended(24, Reason.SILENT), True),
        (ended(10, Reason.SILENT, beaten_at=ago(minutes=16)), False),
        (ended(15, Reason.FORGOTTEN, off_roster_since=ago(minutes=28)), True),
        (ended(5, Reason.FORGOTTEN, off_roster_since=ago(minutes=20)), False),
        (ended(26, Reason.COORDINATOR), True),
        (ended(25, Reason.COORDINATOR), False),
        (ended(18, Reason.OFFLINE, sick_since=ago(minutes=29)), True),
        (ended(29, Reason.OPERATOR), False),
    ],
)
def test_a_life_is_as_long_as_there_were_signs_of_it(end: Milestone, *, soon: bool) -> None:
    assert any(event.ended_soon for event in tell(verified(30), end)) is soon


def test_what_could_not_be_heard_may_have_lived() -> None:
    end = ended(5, Reason.SILENT, beaten_at=ago(minutes=29))
    assert tell(verified(30), end, hearing_since=ago(minutes=60))[-1].ended_soon
    assert not tell(verified(30), end, hearing_since=ago(minutes=10))[-1].ended_soon


@pytest.mark.parametrize(
    ("reason", "kinds"), [(Reason.BEAT, [True]), (Reason.ADOPTED, []), (Reason.CALLED, [False, True])]
)
def test_a_heartbeat_proves_no_template_and_its_end_tells_of_one(reason: Reason, kinds: list[bool]) -> None:
    moves = [verified(30, reason=reason), ended(29, Reason.EXITED)]
    heard = moves if reason is not Reason.ADOPTED else moves[1:]  # such moves are not read
    assert [event.ended_soon for event in tell(*heard)] == kinds


@pytest.mark.parametrize(
    ("known", "senses", "outlived"),
    [
        ({}, {}, True),
        ({"beaten_at": ago(seconds=20)}, {}, True),
        ({"beaten_at": ago(minutes=6)}, {}, False),
        ({"announced_at": ago(minutes=8)}, {}, False),
        ({"sick_since": ago(minutes=6)}, {}, False),
        ({"absent_since": ago(minutes=6)}, {}, False),
        ({"off_roster_since": ago(minutes=9)}, {}, True),
        ({"off_roster_since": ago(minutes=9)}, {"roster_at": ago(minutes=1)}, True),
        ({"off_roster_since": ago(minutes=9)}, {"roster_at": ago(minutes=1), "lists_ours": True}, False),
        (
            {"off_roster_since": ago(minutes=6), "on_roster_at": ago(minutes=7)},
            {"roster_at": ago(minutes=1)},
            False,
        ),
    ],
)
def test_a_worker_that_looks_lost_has_not_lived_on(
    known: dict[str, object], senses: dict[str, object], *, outlived: bool
) -> None:
    (event,) = tell(replace(verified(7), **known), **senses)  # type: ignore[arg-type] # Milestone's names
    assert (event.outlived_at is not None, event.on_trial) == (outlived, not outlived)


def test_a_worker_is_on_trial_for_no_longer_than_twice_the_threshold() -> None:
    assert tell(verified(3))[0].on_trial
    assert not tell(verified(11, beaten_at=ago(minutes=10)))[0].on_trial
