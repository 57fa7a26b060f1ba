"""Pure: what a complete listing, or a look by id, changes in what is known of one row."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from magister.domain.instance import Held, Learned
from magister.domain.observed import KNOWN_STATUSES, PROVISIONING, RUNNING, STOPPED, Sighting
from magister.domain.spec import Fleet
from magister.onstart import callback_url, heartbeat
from magister.states import State


def unexplained(held: Iterable[Held]) -> frozenset[str | None]:
    """Return the statuses that say nothing about an instance: it is rather Vast's words that have changed.

    These are a word that nobody knows and that Vast gives for several instances, and None if Vast gives no
    status for any of several.
    """
    said = Counter(row.actual_status for row in held if row.state is State.VERIFIED)
    several = {word for word, times in said.items() if times > 1 and word not in KNOWN_STATUSES}
    return frozenset(several - {None} if len(said) > 1 else several)


def seen(row: Held, sighting: Sighting, begun_at: datetime, fleet: Fleet) -> Learned:
    """Return what is learned of `row` from a sighting in an answer that was begun at `begun_at`."""
    learned = Learned(
        contract_id=sighting.contract_id,
        unanswered=0,
        absences=0,
        absent_since=None,
        looked_gone_at=None,
        last_seen_at=begun_at,
        actual_status=sighting.actual_status,
        intended_status=sighting.intended_status,
        cur_state=sighting.cur_state,
        status_msg=sighting.status_msg,
        sick_since=_sick_since(row, sighting, begun_at),
    )
    if row.beat_secs is None:
        every = heartbeat.secs_in(sighting.onstart or "")
        if every is not None:  # it was rented before that was kept, or its row was lost
            learned["beat_secs"] = every
    key = callback_url.key_in(sighting.onstart or "", row.offer_id)
    if key is not None and key != row.callback_key:  # what its worker calls with, whatever the row says
        learned["callback_key"] = key
    if row.first_seen_at is None:
        learned["first_seen_at"] = begun_at
        learned["judge_from"] = max(begun_at, row.called_at or begun_at)
    created_at = row.created_at or sighting.start_date or row.sent_at or begun_at
    if row.created_at is None:
        learned["created_at"] = created_at
    learned["verify_by"] = _verify_by(row, sighting, created_at, begun_at, fleet)
    if row.state is State.DESTROYED and (row.destroyed_at is None or begun_at >= row.destroyed_at):
        learned["due_at"] = begun_at
    acked_at = row.called_at if row.state is State.DROPPING and row.destroy_acked else None
    if acked_at is not None and begun_at > acked_at:
        learned["due_at"] = acked_at + fleet.destroy_wait(row.destroys)
    _learn_description(learned, row, sighting)
    return learned


def missing(row: Held, begun_at: datetime, fleet: Fleet) -> Learned:
    """Return what is learned of `row` from its absence in a complete listing begun at `begun_at`.

    Whatever was heard of it proves a box: one that no listing has shown yet is given the grace anew.
    """
    if row.state is State.DESTROYED:
        return Learned()
    if row.judge_from is None:
        return _judged_by_now(row, begun_at, fleet)
    if begun_at < row.judge_from:
        return Learned()
    heard_at = _heard_at(row) if row.contract_id is None else None
    if heard_at is not None and begun_at < heard_at + fleet.create_grace:
        return Learned(absences=0, absent_since=None) if row.absences else Learned()
    if row.absences == 0 or row.absent_since is None:
        return Learned(absences=1, absent_since=begun_at)
    if begun_at <= row.absent_since:
        return Learned()
    return Learned(absences=row.absences + 1)


def _judged_by_now(row: Held, begun_at: datetime, fleet: Fleet) -> Learned:
    """Return from when absence counts of a row that was asked for and whose answer nobody awaits any more.

    However it came to have no such moment: without one it would keep its place for ever.
    """
    if row.in_flight or (row.sends == 0 and row.contract_id is None):
        return Learned()
    return Learned(judge_from=begun_at + fleet.create_grace, absences=0, absent_since=None)


def _heard_at(row: Held) -> datetime | None:
    """Return when its worker called last, or its box, or Hierophant listed it; None = never."""
    moments = (row.verified_at, row.announced_at, row.beaten_at, row.on_roster_at)
    return max((moment for moment in moments if moment is not None), default=None)


def _sick_since(row: Held, sighting: Sighting, begun_at: datetime) -> datetime | None:
    """Return since when a box is not running, or since it stopped if it was only out of reach before."""
    if sighting.actual_status == RUNNING:
        return None
    stopped_now = stopped(sighting) and not stopped(row)
    return begun_at if stopped_now else row.sick_since or begun_at


def stopped(box: Held | Sighting) -> bool:
    """Say whether Vast says that a box does not run and will not by itself."""
    scheduled = box.cur_state == box.intended_status == "stopped"
    return box.actual_status in STOPPED or (scheduled and box.actual_status not in {None, RUNNING})


def turned_back(row: Held, to: datetime, fleet: Fleet) -> Learned:
    """Return what of `row` changes when the clock was set back to `to`.

    What is left to wait becomes at most what it would be if it began now, and no suspicion outlives the
    time that it was counted in.
    """
    learned = Learned()
    if row.due_at is not None and row.due_at > to:
        learned["due_at"] = to
    if row.judge_from is not None:
        learned["judge_from"] = min(row.judge_from, to + fleet.create_grace)
    if row.called_at is not None and row.called_at > to:
        learned |= Learned(called_at=to, judge_from=to)
    if row.last_seen_at is not None and row.last_seen_at > to:
        learned["last_seen_at"] = to
    if row.verified_at is not None and row.verified_at > to:
        learned["verified_at"] = to
    if row.sick_since is not None and row.sick_since > to:
        learned["sick_since"] = to
    if row.beaten_at is not None and row.beaten_at > to:
        learned["beaten_at"] = to
    if row.announced_at is not None and row.announced_at > to:
        learned["announced_at"] = to
    if row.off_roster_since is not None and row.off_roster_since > to:
        learned["off_roster_since"] = to
    if row.on_roster_at is not None and row.on_roster_at > to:
        learned["on_roster_at"] = to
    if row.looked_at is not None and row.looked_at > to:
        learned["looked_at"] = None
    if row.absent_since is not None and row.absent_since > to:
        learned |= Learned(absences=0, absent_since=None, looked_gone_at=None)
    if row.verify_by is not None and row.state is State.CREATED:
        learned["verify_by"] = min(row.verify_by, to + fleet.verify_within + fleet.provisioning_grace)
    return learned


def put_off(row: Held, since: datetime, by: timedelta) -> Learned:
    """Return what of `row` changes when the clock, which showed `since` before, was set forward by `by`.

    No time has passed by that: a grace that had not ended goes on for as long as was left of it.
    """
    learned = Learned()
    if row.judge_from is not None and row.judge_from > since:
        learned["judge_from"] = row.judge_from + by
    if row.verify_by is not None and row.verify_by > since:
        learned["verify_by"] = row.verify_by + by
    if row.sick_since is not None:
        learned["sick_since"] = row.sick_since + by
    if row.off_roster_since is not None:
        learned["off_roster_since"] = row.off_roster_since + by
    return learned


def _verify_by(
    row: Held, sighting: Sighting, created_at: datetime, begun_at: datetime, fleet: Fleet
) -> datetime:
    """Let the verification clock stand while the box is being made, within the provisioning grace.

    Between two listings the benefit of the doubt goes to the box: the clock stood if either showed it
    provisioning.
    """
    verify_by = row.verify_by or created_at + fleet.verify_within
    stood = {row.actual_status, sighting.actual_status} & PROVISIONING
    if not stood or row.state not in {State.REQUESTED, State.CREATED}:
        return verify_by
    since = max(row.last_seen_at or created_at, created_at)
    limit = created_at + fleet.verify_within + fleet.provisioning_grace
    return min(verify_by + max(begun_at - since, timedelta()), max(limit, verify_by))


def _learn_description(learned: Learned, row: Held, sighting: Sighting) -> None:
    """Take over what Vast says of the machine and the price, but never a null over a fact."""
    if sighting.price is not None:
        learned["price"] = sighting.price
    if sighting.disk_price is not None:
        learned["disk_price"] = sighting.disk_price
    if sighting.machine_id is not None:
        learned["machine_id"] = sighting.machine_id
    if sighting.host_id is not None:
        learned["host_id"] = sighting.host_id
    if sighting.gpu_name is not None:
        learned["gpu_name"] = sighting.gpu_name
    if sighting.num_gpus is not None:
        learned["num_gpus"] = sighting.num_gpus
    if sighting.geolocation is not None:
        learned["geolocation"] = sighting.geolocation
    if sighting.start_date is not None:
        learned["start_date"] = sighting.start_date
    if sighting.end_date is not None:
        learned["end_date"] = sighting.end_date
