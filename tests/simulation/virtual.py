"""The wire, chance, locks and the log of this process, replaced for as long as a run lasts."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import SimpleNamespace
from unittest.mock import patch

import structlog
from requests.adapters import HTTPAdapter

from magister.control import executor, reconciler
from magister.domain.actions import Plan
from magister.domain.instance import Held
from magister.domain.spec import Fleet, View
from tests.simulation.overlap import Turnstile
from tests.simulation.world import World

Planner = Callable[[Fleet, tuple[Held, ...], View, datetime], Plan]


def _meddled(world: World, planner: Planner) -> Planner:
    def plan(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
        planned = planner(fleet, held, view, now)
        world.meddle(planned)
        return planned

    return plan


@contextmanager
def virtual(world: World, seed: int) -> Iterator[World]:
    """Take the place of the wire, of chance and of the log for as long as a run lasts."""
    chance, before = random.Random(f"secrets {seed}"), random.getstate()
    logging = structlog.get_config()
    with ExitStack() as stack:
        stack.callback(structlog.configure, **logging)
        stack.callback(random.setstate, before)
        random.seed(seed)  # the jitter between two tries
        structlog.configure(processors=[world.journal.processor], cache_logger_on_first_use=False)
        stack.enter_context(
            patch("magister.control.reconciler.plan", _meddled(world, vars(reconciler)["plan"]))
        )
        if vars(executor)["threading"] is threading:  # unless a test has put something in its place
            lock = SimpleNamespace(Lock=Turnstile)
            stack.enter_context(patch("magister.control.executor.threading", lock))
        stack.enter_context(patch("secrets.token_hex", lambda size=32: chance.randbytes(size).hex()))
        stack.enter_context(
            patch.object(HTTPAdapter, "send", lambda adapter, request, **options: world.network.send(request))
        )
        yield world
