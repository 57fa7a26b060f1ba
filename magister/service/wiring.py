"""From the settings to a loop that is ready to run: which part gets which setting, and nothing else."""

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from magister.control.executor import Executor
from magister.control.lanes import Lanes, ThreadLanes
from magister.control.launcher import Renter
from magister.control.loop import Loop
from magister.control.reconciler import Clock, Rhythm, Worker
from magister.domain.instance import Held
from magister.domain.observed import Order, Route
from magister.errors import Stopping
from magister.hierophant import Hierophant, HttpHierophant
from magister.onstart import script
from magister.service import logging
from magister.service.startup import secrets as secrets_of
from magister.settings.model import Settings
from magister.settings.spec import fleet
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import KernelLock, LeaseHolder, kernel_lock, this_host
from magister.vast import Access, HttpVast, Pacer, Vast

SLOWEST_HEARTBEAT = 5.0
"""Seconds between two signs of life of a loop with nothing to do."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Hold a loop that is ready to run, with what has to be closed after it."""

    loop: Loop
    lanes: Lanes
    lease: LeaseHolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Hold what a loop takes from the world around it: the time, how it waits, and what its end releases.

    `nap` waits for seconds, or raises Stopping.
    """

    clock: Clock
    nap: Callable[[float], None]
    lanes: Lanes
    lock: KernelLock
    stop: threading.Event
    wake: threading.Event


def surroundings(sessions: Sessions) -> Surroundings:
    """Return the world of a process: its clocks, threads of its own and a kernel lock."""
    stop, wake = threading.Event(), threading.Event()
    return Surroundings(
        clock=Clock(now, time.monotonic, LeaseHolder.time),
        nap=nap_until(stop),
        lanes=ThreadLanes(done=wake.set),
        lock=kernel_lock(sessions),
        stop=stop,
        wake=wake,
    )


def assembled(settings: Settings, sessions: Sessions, world: Surroundings | None = None) -> Assembled:
    """Put the loop and all it works with together; nothing is connected yet.

    `world` None = that of this process.
    """
    world = world or surroundings(sessions)
    client = vast(settings, nap=world.nap, clock=world.clock.monotonic)
    wanted, beat, clock = fleet(settings), rhythm(settings), world.clock
    holder = lease(settings, sessions, world.lock)
    lanes, stop, wake = world.lanes, world.stop, world.wake
    renter = Renter(
        sessions=sessions,
        vast=client,
        lease=holder,
        fleet=wanted,
        order=lambda row: order(settings, row),
        beat_secs=script.beat_secs(settings),
        clock=clock.wall,
    )
    executor = Executor(
        sessions=sessions,
        vast=client,
        hierophant=hierophant(settings, clock=clock.wall),
        lease=holder,
        fleet=wanted,
        renter=renter,
        clock=clock.wall,
        offer_reuse=beat.offer_reuse,
        mask=logging.masker(secrets_of(settings)),
    )
    worker = Worker(
        sessions=sessions,
        executor=executor,
        lease=holder,
        lanes=lanes,
        wait_secs=client.wait_secs,
        fleet=wanted,
        clock=clock,
        rhythm=beat,
    )
    loop = Loop(worker=worker, sessions=sessions, vast=client, clock=clock, rhythm=beat, stop=stop, wake=wake)
    return Assembled(loop, lanes, holder)


def now() -> datetime:
    """Read the wall clock, aware and in UTC."""
    return datetime.now(UTC)


def database(settings: Settings, *, bound: bool = False) -> Sessions:
    """Return sessions on the database, `bound` to the file it is in; nothing is connected yet."""
    url = settings.database_url.get_secret_value()
    return open_database(url, busy_timeout=settings.web.busy_timeout_secs, bound=bound)


def rhythm(settings: Settings) -> Rhythm:
    """Say how the loop keeps time: it shows itself often enough for its lease and for /readyz."""
    shortest = min(settings.lease.renew_secs, settings.web.heartbeat_stale_secs / 3)
    return Rhythm(
        tick=settings.pace.tick_secs,
        clock_jump=settings.health.clock_jump_secs,
        heartbeat=min(SLOWEST_HEARTBEAT, shortest),
        backoff=_seconds(settings.vast_api_call_backoff_secs),
        offer_reuse=_seconds(settings.health.offer_reuse_secs),
    )


def order(settings: Settings, row: Held) -> Order:
    """Say what to rent for a row."""
    return Order(
        template_hash=settings.template_hash,
        label=f"{settings.instance_label}:{row.key}",
        disk=settings.vast_query.disk_gb,
        onstart=script.render(settings, script.drop_url(settings, row.offer_id, row.callback_key)),
    )


def vast(
    settings: Settings, *, nap: Callable[[float], None], clock: Callable[[], float] = time.monotonic
) -> Vast:
    """Return the client of Vast; `nap` waits for seconds, or raises Stopping, and `clock` is monotonic."""
    pace = settings.pace
    intervals = {
        Route.CREATE: pace.create_secs,
        Route.DESTROY: pace.destroy_secs,
        Route.LIST: pace.list_secs,
        Route.SHOW: pace.show_secs,
        Route.SEARCH: pace.search_secs,
        Route.ACCOUNT: pace.account_secs,
        Route.LOGS: pace.logs_secs,
        Route.CHARGES: pace.charges_secs,
    }
    pacer = Pacer(
        intervals,
        backoff=settings.vast_api_call_backoff_secs,
        cap=pace.backoff_cap_secs,
        clock=clock,
        nap=nap,
    )
    return HttpVast(_access(settings), pacer, nap=nap, clock=clock)


def hierophant(settings: Settings, *, clock: Callable[[], datetime]) -> Hierophant:
    """Return the client of Hierophant; `clock` tells the time in UTC."""
    pace = settings.pace
    return HttpHierophant(
        settings.hierophant_url,
        clock=clock,
        timeout=pace.timeout_secs,
        connect_timeout=pace.connect_timeout_secs,
    )


def lease(settings: Settings, sessions: Sessions, lock: KernelLock) -> LeaseHolder:
    """Return the lease of this process, under a name that no other process has."""
    return LeaseHolder(
        sessions,
        lock,
        holder=f"{this_host()}:{os.getpid()}:{secrets.token_hex(4)}",
        lasts=_seconds(settings.lease.lease_secs),
        renew=_seconds(settings.lease.renew_secs),
    )


def nap_until(stop: threading.Event) -> Callable[[float], None]:
    """Return a nap of some seconds that raises Stopping as soon as `stop` is set."""

    def nap(secs: float) -> None:
        if stop.wait(secs):
            raise Stopping

    return nap


def _access(settings: Settings) -> Access:
    query = settings.vast_query
    return Access(
        api_key=settings.vast_api_key,
        url=settings.vast_api_url,
        timeout=settings.pace.timeout_secs,
        connect_timeout=settings.pace.connect_timeout_secs,
        filters=query.filters(),
        allocated_storage=query.priced_storage_gb,
        limit=settings.placement.search_limit,
    )


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
