"""The pool on one screen, read from the database: for people, or as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import Console

from magister.reports import json as jsonable
from magister.reports import readiness, terminal
from magister.reports.dashboard import Dashboard, dashboard
from magister.reports.overview import InstanceView, Overview, usd
from magister.service import wiring
from magister.settings import spec
from magister.settings.model import Settings, load
from magister.states import State
from magister.store.db.engine import obstacle
from magister.store.db.migrations import existing

EVENTS = 12
"""Moves shown at the end."""


@dataclass(frozen=True, slots=True)
class Status:
    """Hold what is shown, and what keeps the pool from being well; empty = it is."""

    dashboard: Dashboard
    troubles: tuple[str, ...]


def run(config: Path | None, *, as_json: bool) -> int:
    """Show the pool and return the exit code: 0 = all is well. Raises Unusable."""
    settings = load(config).settings
    found = read(settings, wiring.now())
    if as_json:
        click.echo(json.dumps(_whole(found), ensure_ascii=False, indent=2))
    else:
        _show(found)
    return 1 if found.troubles else 0


def _show(found: Status) -> None:
    if terminal.terminal():
        console = Console()
        console.print(terminal.drawn(found.dashboard, found.troubles, console.width))
        return
    for line in terminal.lines(found.dashboard, found.troubles):
        click.echo(line)


def read(settings: Settings, now: datetime) -> Status:
    """Read the pool as it is at `now`. Raises DatabaseUnusable."""
    url = settings.database_url.get_secret_value()
    stale = timedelta(seconds=settings.web.heartbeat_stale_secs)
    with existing(url, busy_timeout=settings.web.busy_timeout_secs) as sessions:
        with sessions.read() as session:
            seen = dashboard(session, spec.fleet(settings), now, stale, last=EVENTS, lost=0)
        ready = seen.readiness
        found = obstacle(sessions) if readiness.late(ready, stale) else None
    ready = readiness.obstructed(ready, f"the database: {found.what}; {found.cure}" if found else "")
    return Status(seen, (*ready.why, *_short(seen.overview)))


def _short(overview: Overview) -> Iterator[str]:
    verified = overview.states[State.VERIFIED]
    if verified < overview.target:
        yield f"{verified} of {overview.target} instances are verified"
    for condition in overview.conditions:
        yield f"{condition.what}: {condition.cure}"


def _whole(found: Status) -> dict[str, object]:
    """Return the pool as JSON values: dollars, seconds, ISO 8601 in UTC."""
    seen, overview = found.dashboard, found.dashboard.overview
    hourly = seen.work.hourly
    return {
        "at": jsonable.moment(overview.at),
        "well": not found.troubles,
        "why": list(found.troubles),
        "target": overview.target,
        "states": {str(state): count for state, count in overview.states.items()},
        "cost_per_hour": usd(overview.cost),
        "spent": {name: usd(micros) for name, micros in asdict(seen.spent).items()},
        "caps": {cap.name: usd(cap.limit) for cap in seen.caps},
        "cost_per_verified_hour": None if hourly is None else usd(hourly),
        "credit": None if overview.credit is None else usd(overview.credit),
        "heartbeat_age_secs": overview.heartbeat_age_secs,
        "listing_age_secs": overview.listing_age_secs,
        "acting": None if overview.acting is None else asdict(overview.acting),
        "conditions": [asdict(condition) for condition in overview.conditions],
        "instances": [
            {**_instance(view), "doubts": list(seen.doubts.get(view.id, ()))} for view in overview.instances
        ],
        "events": [jsonable.event(event) for event in overview.events],
    }


def _instance(view: InstanceView) -> dict[str, object]:
    return {
        "id": view.id,
        "instance_id": view.instance_id,
        "offer_id": view.offer_id,
        "machine_id": view.machine_id,
        "host_id": view.host_id,
        "gpu": view.gpu,
        "num_gpus": view.num_gpus,
        "location": view.location,
        "cost_per_hour": None if view.price is None else usd(view.price),
        "state": view.state,
        "reason": view.reason,
        "why": view.why,
        "actual_status": view.actual_status,
        "trouble": view.trouble,
        "moved_at": jsonable.moment(view.moved_at),
    }
