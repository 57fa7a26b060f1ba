"""The service dies at any moment of its work, and nothing is lost, doubled or forgotten."""

import os
import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from magister.simulator.plan import MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.states import Reason, State, legal
from tests.acceptance.world import Story, World, until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

SEED_VARIABLE = "MAGISTER_TEST_CRASH_SEED"
POOL = 10
SMALL_POOL = 3
LONGEST_JITTER = 0.15
MOST_CALLS = 8
LATE_REPLY = 1.0

PLAN = MarketPlan(
    machines=80,
    dud_share=0.0,
    unverified_share=0.0,
    odd_share=0.0,
    boot_secs=(2.0, 8.0),
    worker_secs=(0.5, 1.0),
)
HURRY = {
    "TASK_POLLING_INTERVAL_SECS": "0.5",
    "CONTEMPLANT_VERIFICATION_TIMEOUT_SECS": "3",
    "VAST_API_CALL_BACKOFF_SECS": "0.2",
    "PACE_CREATE_SECS": "0.15",
    "PACE_DESTROY_SECS": "0.1",
    "PACE_LIST_SECS": "0.02",
    "PACE_SHOW_SECS": "0.02",
    "PACE_SEARCH_SECS": "0.1",
    "PACE_SEARCH_CACHE_SECS": "2",
    "PACE_TICK_SECS": "0.05",
    "PACE_RECHECK_SECS": "0.2",
    "PACE_DESTROY_RETRY_SECS": "0.3, 0.6",
    "HEALTH_CREATE_GRACE_SECS": "2",
    "LEASE_LEASE_SECS": "2",
    "LEASE_RENEW_SECS": "0.5",
}

ENDED = "SIGTERM"
KILLED = "SIGKILL of every process"
WORKER_KILLED = "SIGKILL of the loop alone"
DEATHS = (ENDED, KILLED, WORKER_KILLED)


@pytest.fixture
def seeded() -> Iterator[random.Random]:
    """Give a source of chance; when the test fails, the seed is told."""
    given = os.environ.get(SEED_VARIABLE)
    seed = secrets.randbits(32) if given is None else int(given)
    yield random.Random(seed)
