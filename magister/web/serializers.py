"""The JSON of what reports show; only here does money become a float of dollars."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from magister.domain.instance import Held
from magister.reports.overview import InstanceView, Summary, usd
from magister.reports.readiness import Readiness

Json = dict[str, object]


def summary(shown: Summary) -> Json:
    """Return the body of /summary."""
    return {
        "total_cost_per_hour": usd(shown.cost),
        "num_instances": len(shown.instances),
        "instance_overview": [_brief(view) for view in shown.instances],
        "pending": shown.pending,
        "target": shown.target,
        "states": {str(state): count for state, count in shown.states.items()},
    }


def instance(view: InstanceView) -> Json:
    """Return one entry of /instances."""
    return {
        "id": view.id,
        "offer": dict(view.offer),
        **_brief(view),
        "num_gpus": view.num_gpus,
        "should_drop": view.should_drop,
        "state": view.state,
        "reason": view.reason,
        "why": view.why,
        "actual_status": view.actual_status,
        "intended_status": view.intended_status,
        "cur_state": view.cur_state,
        "status_msg": view.status_msg,
        "trouble": view.trouble,
        "requested_at": moment(view.requested_at),
        "created_at": moment(view.created_at),
        "verify_by": moment(view.verify_by),
        "verified_at": moment(view.verified_at),
        "dropped_at": moment(view.dropped_at),
        "moved_at": moment(view.moved_at),
        "first_seen_at": moment(view.first_seen_at),
        "last_seen_at": moment(view.last_seen_at),
        "announced_at": moment(view.announced_at),
        "beaten_at": moment(view.beaten_at),
        "end_date": moment(view.end_date),
    }


def readiness(shown: Readiness) -> Json:
    """Return the body of /readyz."""
    return {
        "ready": shown.ready,
        "why": list(shown.why),
        "conditions": [asdict(condition) for condition in shown.conditions],
        "target": shown.target,
        "heartbeat_age_secs": shown.heartbeat_age_secs,
        "listing_age_secs": shown.listing_age_secs,
        "acting": None if shown.acting is None else asdict(shown.acting),
    }


def answer(row: Held) -> Json:
    """Return the body of /verify and /drop."""
    return {"offer_id": row.offer_id, "instance_id": row.contract_id, "state": row.state}


def index(endpoints: Mapping[str, str], version: str) -> Json:
    """Return the body of /."""
    return {"name": "magister", "version": version, "endpoints": dict(endpoints)}


def moment(at: datetime | None) -> str | None:
    """Return a moment as ISO 8601 in UTC, to the millisecond; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _brief(view: InstanceView) -> Json:
    return {
        "instance_id": view.instance_id,
        "offer_id": view.offer_id,
        "gpu": view.gpu,
        "location": view.location,
        "machine_id": view.machine_id,
        "host_id": view.host_id,
        "cost_per_hour": None if view.price is None else usd(view.price),
    }
