"""From the settings to a loop that is ready to run: which part gets which setting, and nothing else."""

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from magister import onstart, telemetry
from magister.database import Sessions, open_database
from magister.errors import Stopping
from magister.executor import Executor
from magister.facts import Order, Route
from magister.fleet import Fleet
from magister.held import Held
from magister.hierophant import Hierophant, HttpHierophant
from magister.lanes import Lanes, ThreadLanes
from magister.lease import KernelLock, LeaseHolder, kernel_lock, this_host
from magister.loop import Loop
from magister.money import MICROS_PER_USD, Budget
from magister.outlook import Caution
from magister.renting import Renter
from magister.settings import Settings
from magister.settings_groups import MB_PER_GB
from magister.startup import secrets as secrets_of
from magister.vast import Access, HttpVast, Pacer, Vast
from magister.worker import Clock, Rhythm, Worker

BEATS = 3
"""Beats that a box may leave out before its silence can mean anything."""

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
        clock=Clock(now, time.monotonic),
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
        mac_required=settings.api_token is not None,
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
        mask=telemetry.masker(secrets_of(settings)),
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


def fleet(settings: Settings) -> Fleet:
    """Say what is wanted in the planner's terms."""
    query, pace, health = settings.vast_query, settings.pace, settings.health
    coordinator = settings.hierophant
    return Fleet(
        target=settings.number_instances,
        drop_prefix=f"{settings.this_magister_addr}/drop/",
        label_tag=settings.instance_label,
        template_hash=settings.template_hash,
        surge=settings.placement.surge,
        max_per_machine=settings.placement.max_per_machine,
        max_per_host=settings.placement.max_per_host,
        rank=settings.placement.rank,
        spread=settings.placement.spread,
        bad_hosts=settings.bad_hosts,
        bad_machines=settings.bad_machines,
        good_hosts=settings.good_hosts,
        good_machines=settings.good_machines,
        max_price=_micros(query.cost_per_hour),
        min_reliability=query.reliability,
        min_gpu_ram=None if query.gpu_ram is None else query.gpu_ram * MB_PER_GB,
        min_disk_space=query.disk_gb,
        min_cuda=query.min_cuda_version,
        min_duration=query.duration,
        gpu_names=frozenset(query.gpu_name),
        num_gpus=query.num_gpus,
        listing_every=_seconds(settings.task_polling_interval_secs),
        recheck_after=_seconds(pace.recheck_secs),
        verify_within=_seconds(settings.contemplant_verification_timeout_secs),
        provisioning_grace=_seconds(health.provisioning_grace_secs),
        create_grace=_seconds(health.create_grace_secs),
        offline_grace=_seconds(health.offline_grace_secs),
        beat_timeout=_seconds(max(health.beat_timeout_secs, BEATS * settings.contemplant.beat_secs)),
        roster_every=_seconds(coordinator.poll_secs) if coordinator.poll_secs else None,
        roster_grace=_seconds(coordinator.grace_secs),
        search_every=_seconds(pace.search_cache_secs),
        account_every=_seconds(pace.account_poll_secs),
        bills_every=_seconds(settings.billing.poll_secs) if settings.billing.poll_secs else None,
        bills_reread=settings.billing.reread_days,
        caution=caution(settings),
        budget=budget(settings),
        autopsy=health.autopsy,
        destroy_waits=tuple(_seconds(wait) for wait in pace.destroy_retry_secs),
    )


def caution(settings: Settings) -> Caution:
    """Say how failures slow the renting down."""
    chosen = settings.caution
    return Caution(
        backoff=tuple(_seconds(wait) for wait in chosen.launch_backoff_secs),
        recent=_seconds(chosen.recent_secs),
        window=chosen.window,
        trip=chosen.trip,
        loss_window=_seconds(chosen.loss_window_secs),
        loss_share=chosen.loss_share,
        canary_after=_seconds(chosen.canary_after_secs),
        quarantine=_seconds(chosen.quarantine_secs),
        quarantine_cap=_seconds(chosen.quarantine_cap_secs),
        host_trip=chosen.quarantine_host_machines,
    )


def budget(settings: Settings) -> Budget:
    """Say what may be spent."""
    chosen = settings.budget
    hours = chosen.min_runway_hours
    return Budget(
        per_hour=_micros(chosen.usd_per_hour),
        per_day=_micros(chosen.usd_per_day),
        per_month=_micros(chosen.usd_per_month),
        total=_micros(chosen.usd_total),
        traffic_gb=chosen.traffic_reserve_gb,
        runway=None if hours is None else timedelta(hours=hours),
    )


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
    token = settings.api_token
    mac = onstart.mac(token, row.key) if token is not None and row.mac_required else None
    return Order(
        template_hash=settings.template_hash,
        label=f"{settings.instance_label}:{row.key}",
        disk=settings.vast_query.disk_gb,
        onstart=onstart.render(settings, onstart.drop_url(settings, row.offer_id, mac)),
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


def _micros(usd: float | None) -> int | None:
    return None if usd is None else round(usd * MICROS_PER_USD)


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
