"""One lane for each route: a slow call holds up its own route and no other."""

import threading

from magister.control.lanes import InlineLanes, ThreadLanes
from magister.domain.observed import Route
from tests.waiting import PATIENCE


def wait_for(event: threading.Event) -> None:
    event.wait(PATIENCE)


def test_a_hanging_create_does_not_hold_up_a_destroy() -> None:
    hanging, destroyed = threading.Event(), threading.Event()
    lanes = ThreadLanes(done=lambda: None)
    lanes.start(Route.CREATE, lambda: wait_for(hanging))
    lanes.start(Route.DESTROY, destroyed.set)
    assert destroyed.wait(PATIENCE)
    assert lanes.busy(Route.CREATE)
    hanging.set()
    assert lanes.close(PATIENCE)
    assert not lanes.busy(Route.CREATE)


def test_the_loop_is_told_when_a_call_is_over() -> None:
    over = threading.Event()
    lanes = ThreadLanes(done=over.set)
    lanes.start(Route.LIST, lambda: None)
    assert over.wait(PATIENCE)


def test_closing_does_not_wait_for_ever() -> None:
    hanging = threading.Event()
    lanes = ThreadLanes(done=lambda: None)
    lanes.start(Route.CREATE, lambda: wait_for(hanging))
    assert not lanes.close(0.01)
    hanging.set()


def test_inline_lanes_are_never_busy() -> None:
    done: list[int] = []
    lanes = InlineLanes()
    lanes.start(Route.LIST, lambda: done.append(1))
    assert done == [1]
    assert not lanes.busy(Route.LIST)
    assert lanes.close(0)
