"""From the settings to what is wanted, in the terms that the planner decides by."""

from datetime import timedelta

from magister.domain.risk.launch_breaker import Caution
from magister.domain.spec import Fleet
from magister.money import MICROS_PER_USD, Budget
from magister.settings.model import Settings
from magister.settings.runtime import MB_PER_GB


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
        min_disk_space=query.priced_storage_gb,
        min_cuda=query.min_cuda_version,
        min_duration=query.duration,
        gpu_names=frozenset(query.gpu_name),
        num_gpus=query.num_gpus,
        countries=frozenset(query.geolocation),
        listing_every=_seconds(settings.task_polling_interval_secs),
        recheck_after=_seconds(pace.recheck_secs),
        verify_within=_seconds(settings.contemplant_verification_timeout_secs),
        provisioning_grace=_seconds(health.provisioning_grace_secs),
        create_grace=_seconds(health.create_grace_secs),
        offline_grace=_seconds(health.offline_grace_secs),
        beat_timeout=_seconds(settings.beat_timeout_secs),
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
        short_life=_seconds(chosen.short_life_secs),
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


def _micros(usd: float | None) -> int | None:
    return None if usd is None else round(usd * MICROS_PER_USD)


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
