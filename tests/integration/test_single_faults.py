"""Each fault by itself, through the real client: what becomes of each instance, and how often is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from magister.simulator.runtime.incidents import befall
from magister.states import Reason
from magister.store.db.engine import Sessions
from magister.store.db.models import Transition
from tests.simulation import death
from tests.simulation.database import in_memory
from tests.simulation.virtual import virtual
from tests.simulation.world import World
from tests.tally import tally

GRACE = 60
"""Seconds for which listings may lag."""

Story = tuple[Reason, ...]
Fault = dict[str, Any]

LIVES: Story = (Reason.SHORT, Reason.RENTED, Reason.CALLED)
FOUND: Story = (Reason.SHORT, Reason.FOUND, Reason.CALLED)
NEVER: Story = (Reason.SHORT, Reason.NEVER_TOOK_EFFECT)
DROPPED: Story = (*LIVES, Reason.COORDINATOR, Reason.PROVED_GONE)


@pytest.fixture
def world() -> Iterator[World]:
    sessions = in_memory()
    with virtual(a_world(sessions), seed=1) as found:
        yield found
    sessions.engine.dispose()


def a_world(sessions: Sessions, **given: Any) -> World:
    """Make a world for a pool of one, with a short grace, for each second of it costs a moment."""
    return World(sessions, target=1, health={"create_grace_secs": GRACE}, **given)


def stories(world: World) -> list[Story]:
    """Return the reasons of the moves of each instance, in order."""
    with world.loop_sessions.read() as session:
        moves = session.scalars(select(Transition).order_by(Transition.id)).all()
    told: dict[int, list[Reason]] = {}
    for move in moves:
        told.setdefault(move.instance_id, []).append(move.reason)
    return [tuple(reasons) for _, reasons in sorted(told.items())]


def sent(world: World) -> int:
    """Count the creates that were sent."""
    return sum(len(ends) for ends in world.laws.sends.values())


def drop(world: World) -> None:
    """Let the coordinator give up on the one worker."""
    (box,) = world.laws.ours()
    befall(world.sim, "coordinator_drop", {"instance": box.id})


@dataclass(frozen=True, slots=True)
class Case:
    """Hold a fault, and the stories and the number of creates that it is to lead to."""

    name: str
    fault: Fault
    stories: tuple[Story, ...]
    creates: int


def undone(name: str, **more: object) -> Case:
    """A create of which nobody knows that it had no effect: its slot waits for the listings."""
    fault = {"name": name, "route": "create", "count": 1, "when": "before", **more}
    return Case(f"{name} {more.get('code', '')} before the effect", fault, (NEVER, LIVES), 2)


def unheard(name: str, **more: object) -> Case:
    """A create of which nobody knows that it had an effect: a listing shows its key."""
    fault = {"name": name, "route": "create", "count": 1, "when": "after", **more}
    return Case(f"{name} {more.get('code', '')} after the effect", fault, (FOUND,), 1)


def answered(name: str, first: Story, *rest: Story, creates: int, **more: object) -> Case:
    """A create with an answer that says what happened."""
    fault = {"name": name, "route": "create", "count": 1, **more}
    return Case(name, fault, (first, *rest), creates)


CREATES = [
    *(undone("status", code=code) for code in (500, 502, 503, 504, 408, 409, 425)),
    *(unheard("status", code=code) for code in (500, 502, 503, 504, 408, 409, 425)),
    *(undone(name) for name in ("reset", "html", "empty", "plain_text", "truncated")),
    *(unheard(name) for name in ("reset", "html", "empty", "plain_text", "truncated")),
    undone("hang", secs=90.0),
    Case(
        "hang after the effect",
        {"name": "hang", "route": "create", "count": 1, "when": "after", "secs": 90.0},
        ((Reason.SHORT, Reason.CALLED),),  # the worker calls while the answer is still waited for
        1,
    ),
    answered("no_contract", FOUND, creates=1),
    answered("stopped_box", (Reason.SHORT, Reason.STARTED_STOPPED, Reason.PROVED_GONE), LIVES, creates=2),
    answered("offer_gone", (Reason.SHORT, Reason.OFFER_GONE), LIVES, creates=2),
    answered("no_credit", (Reason.SHORT, Reason.NO_CREDIT), LIVES, creates=2),
    answered("bad_key", (Reason.SHORT, Reason.BAD_KEY), LIVES, creates=2),
    answered("throttle", LIVES, creates=2),
    answered("lag_create", LIVES, creates=1, secs=50.0),
]


@pytest.mark.parametrize("case", CREATES, ids=lambda case: case.name)
def test_a_create_that_goes_wrong(world: World, case: Case) -> None:
    world.fault(**case.fault)
    world.run(30)
    world.converge(stays=0)
    assert stories(world) == list(case.stories)
    assert sent(world) == case.creates
    tally(death.NOWHERE, f"create: {case.name}", "sqlite")


def test_a_create_that_never_left_is_sent_again_for_the_same_row(world: World) -> None:
    world.network.unreachable["create"] = 2
    world.run(30)
    world.converge(stays=0)
    assert stories(world) == [LIVES]
    assert sent(world) == 3


def test_a_refusal_after_a_429_is_left_to_the_listings(world: World) -> None:
    world.fault("throttle", route="create", count=1)
    world.fault("offer_gone", route="create", count=1)
    world.run(GRACE)
    assert stories(world) == [(Reason.SHORT,)]
    assert sent(world) == 2
    world.converge(stays=0)
    assert stories(world) == [NEVER, LIVES]


def test_a_create_that_arrives_after_its_client_gave_up_is_found(world: World) -> None:
    world.network.late.append(30.0)
    world.run(30)
    world.converge(stays=0)
    assert stories(world) == [FOUND]
    assert sent(world) == 1


def test_a_create_that_arrives_when_nobody_expects_it_is_found_and_destroyed(world: World) -> None:
    world.network.late.append(400.0)
    world.run(30)
    world.converge(stays=0)
    assert stories(world) == [(*NEVER, Reason.REAPPEARED, Reason.PROVED_GONE), LIVES]


LISTINGS: list[Fault] = [
    {"name": "short_page"},
    {"name": "wrong_total"},
    {"name": "duplicate_ids"},
    {"name": "null_instances"},
    {"name": "no_instances"},
    {"name": "deprecated_200"},
    {"name": "listing_refused"},
    {"name": "bad_key"},
    {"name": "throttle"},
    {"name": "reset", "when": "after"},
    {"name": "html", "when": "after"},
    {"name": "empty", "when": "after"},
    {"name": "truncated", "when": "after"},
    {"name": "hang", "secs": 90.0},
    *({"name": "status", "code": code} for code in (404, 408, 500, 503)),
]


def _named(fault: Fault) -> str:
    return f"{fault['name']} {fault.get('code', '')}".strip()


@pytest.mark.parametrize("fault", LISTINGS, ids=_named)
def test_a_listing_that_proves_nothing_moves_nothing(world: World, fault: Fault) -> None:
    world.run(100)
    assert stories(world) == [LIVES]
    world.fault(**fault, route="list", lasts=200.0)
    world.run(200)
    assert stories(world) == [LIVES]
    world.calm()
    world.converge(stays=0)
    assert stories(world) == [LIVES]
    assert sent(world) == 1
    tally(death.NOWHERE, f"listing: {_named(fault)}", "sqlite")


@pytest.mark.parametrize("fault", [f for f in LISTINGS if f["name"] != "no_instances"], ids=_named)
def test_nothing_is_rented_before_a_complete_listing(world: World, fault: Fault) -> None:
    world.fault(**fault, route="list", lasts=100.0)
    world.run(95)
    assert stories(world) == []
    world.converge(stays=0)
    assert stories(world) == [LIVES]


WHENS: tuple[Fault, ...] = ({"when": "before"}, {"when": "after"})
DESTROYS: list[Fault] = [
    *({"name": name, "count": 3} | when for name in ("reset", "html", "empty") for when in WHENS),
    *({"name": "status", "code": code, "count": 3} | when for code in (500, 503) for when in WHENS),
    {"name": "hang", "secs": 90.0, "count": 2},
    {"name": "throttle", "count": 3},
    {"name": "bad_key", "count": 3},
    {"name": "lag_destroy", "secs": 100.0},
    {"name": "resurrect", "secs": 4.0, "count": 1},
]


@pytest.mark.parametrize("fault", DESTROYS, ids=lambda f: f"{_named(f)} {f.get('when', '')}".strip())
def test_a_destroy_that_goes_wrong_is_repeated_until_it_is_proved(world: World, fault: Fault) -> None:
    world.run(100)
    world.fault(**fault, route="destroy")
    drop(world)
    world.run(30)
    world.converge(stays=0)
    assert stories(world) == [DROPPED, LIVES]
    assert sent(world) == 2
    tally(death.NOWHERE, f"destroy: {_named(fault)} {fault.get('when', '')}".strip(), "sqlite")


@pytest.mark.parametrize("code", [200, 500])
def test_a_destroy_that_is_refused_for_hours_keeps_its_slot(code: int) -> None:
    sessions = in_memory()
    slow = a_world(sessions, poll=120, pace={"tick_secs": 60})
    with virtual(slow, seed=1) as world:
        _refuse_for_hours(world, code)
    sessions.engine.dispose()
    tally(death.NOWHERE, f"destroy: refused for hours under {code}", "sqlite")


def _refuse_for_hours(world: World, code: int) -> None:
    world.run(100)
    world.fault("destroy_refused", route="destroy", code=code)
    drop(world)
    world.run(2 * 3600)
    assert stories(world) == [DROPPED[:-1]]
    assert sent(world) == 1
    world.calm()
    world.converge(stays=0)
    assert stories(world) == [DROPPED, LIVES]


def test_a_box_that_comes_back_after_its_proof_is_destroyed_again(world: World) -> None:
    world.run(100)
    world.fault("resurrect", route="destroy", count=1, secs=120.0)
    drop(world)
    world.run(30)
    world.converge(stays=0)
    assert stories(world) == [(*DROPPED, Reason.REAPPEARED, Reason.PROVED_GONE), LIVES]
    tally(death.NOWHERE, "destroy: comes back after its proof", "sqlite")


ON_BOTH = [
    ("create", {"name": "reset", "when": "before"}, (NEVER, LIVES)),
    ("create", {"name": "reset", "when": "after"}, (FOUND,)),
    ("create", {"name": "stopped_box"}, ((Reason.SHORT, Reason.STARTED_STOPPED, Reason.PROVED_GONE), LIVES)),
    ("create", {"name": "throttle"}, (LIVES,)),
    ("list", {"name": "short_page"}, (LIVES,)),
    ("destroy", {"name": "status", "code": 500, "when": "after"}, (DROPPED, LIVES)),
    (
        "destroy",
        {"name": "resurrect", "secs": 120.0},
        ((*DROPPED, Reason.REAPPEARED, Reason.PROVED_GONE), LIVES),
    ),
]


@pytest.mark.parametrize(("route", "fault", "expected"), ON_BOTH, ids=str)
def test_the_same_holds_on_postgresql(
    postgres_sessions: Sessions, route: str, fault: Fault, expected: tuple[Story, ...]
) -> None:
    with virtual(a_world(postgres_sessions), seed=1) as world:
        world.fault(**fault, route=route, count=1)
        world.run(100)
        if route == "destroy":
            drop(world)
            world.run(30)
        world.converge(stays=0)
        assert stories(world) == list(expected)
    tally(death.NOWHERE, f"{route}: {_named(fault)}", "postgresql")
