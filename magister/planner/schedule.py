"""Pure: when the account and its next listing are due, and how long the last one may be judged by."""

from datetime import datetime, timedelta

from magister.domain.instance import Held
from magister.domain.spec import Fleet, View
from magister.states import State

STALE_POLLS = 5
STALE_AT_LEAST = timedelta(seconds=60)
"""After so many polls, and so long, without a listing the last one is no longer believed."""


def sighted_by(fleet: Fleet, view: View, now: datetime) -> bool:
    """Say whether the last listing may be judged by: a process that was frozen wakes with an old one."""
    if view.listed_at is None or view.list_failing:
        return False
    arrived_at = view.arrived_at or view.listed_at
    return now - arrived_at < max(STALE_POLLS * fleet.listing_every, STALE_AT_LEAST)


def account_due(fleet: Fleet, view: View) -> datetime | None:
    """Say when the account is to be asked for again: soon while it may be another one; None = now."""
    if view.account_at is None:
        return None
    every = fleet.account_every if view.ours else min(fleet.account_every, fleet.listing_every)
    return view.account_at + every


def contests(row: Held) -> bool:
    """Say whether listings lack a box that should be there and that no look by id has called gone.

    Until it is looked at they prove nothing of a row without a contract, at which nobody can look; if it is
    found, they never do.
    """
    there = row.live and row.contract_id is not None and not row.destroy_acked
    return there and row.absences > 0 and row.looked_gone_at is None


def listing_due(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> tuple[datetime, str]:
    """Say when the next listing is due and why: the poll, a question of somebody's, or a suspicion."""
    last = view.listed_at
    if last is None:
        return now, "no complete listing yet"
    due, why = last + fleet.listing_every, "the poll"
    if view.listing_wanted_at is not None:
        due, why = min(due, now), "it was asked for"
    for row in held:
        moment = _proof_due(row, last, fleet)
        if moment is not None and moment < due:
            due, why = moment, f"instance {row.id} waits for proof"
    return due, why


def _proof_due(row: Held, last: datetime, fleet: Fleet) -> datetime | None:
    """Say when a listing would settle a row; None = the poll is soon enough.

    A new box is looked for until a listing shows it: one that none has shown may be judged gone only
    after the long grace, and until then a drop would keep its slot.
    """
    if row.absences == 1 and row.absent_since is not None:
        return row.absent_since + fleet.recheck_after
    if row.absences:
        return None
    if row.state is State.DROPPING and row.destroy_acked and row.called_at is not None:
        return _soon_after(row.called_at, last, fleet)
    if row.contract_id is not None and row.first_seen_at is None and row.created_at is not None:
        return _soon_after(row.created_at, last, fleet)
    if row.doubted_at is not None and row.contract_id is None:
        judged = row.judge_from if row.judge_from is not None and last < row.judge_from else None
        return _soon_after(row.doubted_at, last, fleet) or judged
    return None


def _soon_after(moment: datetime, last: datetime, fleet: Fleet) -> datetime | None:
    """Say when to list after `moment`: at once, then every recheck for a dozen times, then at the poll."""
    if last < moment:
        return moment
    return last + fleet.recheck_after if last < moment + 12 * fleet.recheck_after else None


def listing_retry(failures: int, *, backoff: timedelta) -> timedelta:
    """Return how long to wait after `failures` listings in a row that proved nothing."""
    return min(backoff * max(failures, 1), 6 * backoff)
