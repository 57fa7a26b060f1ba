"""Pure: what one instance needs, whatever the others need."""

from datetime import datetime, timedelta

from magister.domain.actions import Action, Autopsy, Destroy, Look, Move
from magister.domain.instance import Held
from magister.domain.observed import PROVISIONING
from magister.domain.risk import failure_logs
from magister.domain.spec import Fleet, View
from magister.planner.coordinator import by_roster, enrolled
from magister.planner.evidence import stopped
from magister.states import Reason, State

INTENT_LASTS = timedelta(minutes=15)
"""How long an offer that could not be asked for is believed to stand at its price."""


CREDIT_WAIT = timedelta(minutes=2)
"""So long a box that stopped is kept while the account does not answer whether that is for lack of credit."""


def judged(row: Held, fleet: Fleet, view: View, now: datetime, *, sighted: bool) -> Action | None:
    """Decide what one row needs; None = nothing now. `sighted` = the last listing may be judged by."""
    match row.state:
        case State.REQUESTED:
            return _requested(row, fleet, now) or enrolled(row) if sighted else None
        case State.CREATED:
            found = (
                _absent(row, fleet, now)
                or enrolled(row)
                or _sick(row, fleet, view, now)
                or _created(row, view, now)
            )
            return found if sighted else None
        case State.VERIFIED:
            found = _absent(row, fleet, now) or by_roster(row) or _sick(row, fleet, view, now)
            return found or _silent(row, fleet, view, now) if sighted else None
        case State.DROPPING:
            return _dropping(row, fleet, now, sighted=sighted)
        case State.DESTROYED:
            why = f"contract {row.contract_id} was named or listed after its end"
            return Move(row, State.DROPPING, Reason.REAPPEARED, why)


def _requested(row: Held, fleet: Fleet, now: datetime) -> Action | None:
    """Let listings settle a create whose answer is not known; sending is for the fill to decide."""
    if row.unsent and (objection := _objection(row, fleet, now)):
        return Move(row, State.DROPPING if row.sends else State.DESTROYED, Reason.STALE_OFFER, objection)
    if row.contract_id is not None:
        return Move(
            row, State.CREATED, Reason.FOUND, f"a listing shows its key on contract {row.contract_id}"
        )
    if row.unanswered and row.absences >= 2:
        why = f"{row.absences} complete listings after the grace do not show its key"
        return Move(row, State.DESTROYED, Reason.NEVER_TOOK_EFFECT, why)
    return None


def _objection(row: Held, fleet: Fleet, now: datetime) -> str | None:
    """Say why an intent that stands unsent must not be sent any more; None = nothing speaks against it."""
    checks = (
        (row.machine_id in fleet.bad_machines, f"machine {row.machine_id} is in bad_machines by now"),
        (row.host_id in fleet.bad_hosts, f"host {row.host_id} is in bad_hosts by now"),
        (fleet.max_price is not None and (row.price or 0) > fleet.max_price, "it is too dear by now"),
        (now > row.requested_at + INTENT_LASTS, "its offer was found too long ago to be what it was"),
    )
    return next((why for bad, why in checks if bad), None)


def _created(row: Held, view: View, now: datetime) -> Action | None:
    """Give up on a worker that did not call in time, unless Vast says the box is still being made.

    One in a box that was stopped for lack of credit could not call, nor one that nobody could hear.
    """
    if view.hearing_since is None or row.verify_by is None or now < row.verify_by or row.absences:
        return None
    if stopped(row) and (unpaid(view) or awaits_credit(row, view, now)):
        return None
    if row.actual_status in PROVISIONING and not _stood_too_long(row):
        return None
    waited = int((now - (row.created_at or row.moved_at)).total_seconds())
    why = f"its worker did not call /verify within {waited} s; Vast says {row.actual_status or 'nothing'}"
    return Move(row, State.DROPPING, Reason.UNVERIFIED, why)


def _stood_too_long(row: Held) -> bool:
    """Say whether `verify_by` no longer moves although the last listing showed the box provisioning."""
    return row.last_seen_at is not None and row.verify_by is not None and row.verify_by < row.last_seen_at


def _absent(row: Held, fleet: Fleet, now: datetime) -> Action | None:
    """Look by id at a box that two listings lack, and believe it gone once the look says so too."""
    if row.absences < 2:
        return None
    if row.contract_id is None:
        return Move(row, State.DESTROYED, Reason.VANISHED, "complete listings do not show its key")
    if row.looked_gone_at is None:
        return _look(row, row.contract_id, fleet, now)
    why = f"contract {row.contract_id} is gone although nobody here asked: {row.absences} listings and a look"
    return Move(row, State.DESTROYED, Reason.VANISHED, why)


def _look(row: Held, contract: int, fleet: Fleet, now: datetime) -> Look | None:
    """Look at a contract that listings lack, unless a look that failed was tried a short time ago."""
    if row.looked_at is not None and now < row.looked_at + fleet.listing_every:
        return None
    return Look(row, contract, f"{row.absences} complete listings lack contract {contract}")


def _sick(row: Held, fleet: Fleet, view: View, now: datetime) -> Action | None:
    """Drop a box that stopped at once, and a verified one that is not running after the grace.

    Without credit Vast stops all boxes: that is no fault of theirs, and nothing can take their place.
    What the account said before a box stopped says nothing of why it did. A heartbeat outweighs Vast's word.
    """
    if unpaid(view) or awaits_credit(row, view, now) or is_heard(row, fleet, view, now):
        return None
    if stopped(row):
        return Move(row, State.DROPPING, Reason.EXITED, f"Vast says it is {row.actual_status}")
    since = sick_from(row)
    if row.state is not State.VERIFIED or since is None or now < since + fleet.offline_grace:
        return None
    why = f"Vast has said {row.actual_status or 'nothing'} for {int((now - since).total_seconds())} s"
    return Move(row, State.DROPPING, Reason.OFFLINE, why)


def sick_from(row: Held) -> datetime | None:
    """Return since when nothing but a status speaks about an instance; None = Vast says that it runs.

    Its worker's call, or a heartbeat, since the status turned bad outweighs what was said before it.
    """
    if row.sick_since is None:
        return None
    return max(row.sick_since, row.verified_at or row.sick_since, row.beaten_at or row.sick_since)


def heard_until(row: Held, fleet: Fleet, view: View) -> datetime | None:
    """Return until when its last heartbeat outweighs a status; None = it has none that anybody could hear.

    While nobody could hear it, it may have beaten on.
    """
    if row.beaten_at is None or view.hearing_since is None:
        return None
    return max(row.beaten_at, view.hearing_since) + fleet.heartbeat_lasts(row)


def is_heard(row: Held, fleet: Fleet, view: View, now: datetime) -> bool:
    """Say whether an instance that beats was heard lately, or cannot be heard now."""
    until = heard_until(row, fleet, view)
    return row.beaten_at is not None and (until is None or now < until)


def unpaid(view: View) -> bool:
    """Say whether the account is known to have no credit."""
    return view.credit is not None and view.credit <= 0


def awaits_credit(row: Held, view: View, now: datetime) -> bool:
    """Say whether a box stopped after the account was last asked, which it therefore has to be again."""
    if row.state not in {State.CREATED, State.VERIFIED} or not stopped(row) or row.sick_since is None:
        return False
    if view.account_at is None:  # not asked since the start
        return True
    stale = view.credit_at is None or view.credit_at < row.sick_since
    return stale and now < row.sick_since + CREDIT_WAIT


def _silent(row: Held, fleet: Fleet, view: View, now: datetime) -> Action | None:
    """Drop a verified box that beats, once it has been silent while it could have been heard.

    Without credit a box that was stopped cannot beat.
    """
    silent_at = silent_from(row, fleet, view)
    if silent_at is None or now < silent_at or (stopped(row) and unpaid(view)):
        return None
    since = f"{row.silent_since:%H:%M:%S} UTC"
    return Move(
        row, State.DROPPING, Reason.SILENT, f"its box has not said since {since} that its worker lives"
    )


def silent_from(row: Held, fleet: Fleet, view: View) -> datetime | None:
    """Return when a box that beats is held to be silent; None = never, or not while nobody listens."""
    if row.silent_since is None or view.hearing_since is None:
        return None
    return max(row.silent_since, view.hearing_since) + fleet.silence(row)


def suspicious(row: Held, fleet: Fleet, view: View, now: datetime) -> bool:
    """Say whether a row may soon be held to be lost, so that it matters what became of the others."""
    silent_at = silent_from(row, fleet, view)
    silent = silent_at is not None and silent_at <= now
    return silent or bool(row.absences or row.sick_since or row.off_roster_since)


def _dropping(row: Held, fleet: Fleet, now: datetime, *, sighted: bool) -> Action | None:
    """Ask for the destroy when it is due, and prove it.

    One that Vast acknowledged is due again only if a listing shows the box all the same.
    """
    contract = row.contract_id
    if contract is None:
        return _dropping_unnamed(row) if sighted else None
    if row.absences >= 2 and sighted:
        if row.looked_gone_at is None:
            return _look(row, contract, fleet, now)
        why = f"{row.absences} complete listings and a look by id lack contract {contract}"
        return Move(row, State.DESTROYED, Reason.PROVED_GONE, why)
    if row.destroys and (row.due_at is None or now < row.due_at):
        return None
    ends = autopsy_until(row, fleet)
    if ends is not None and now < ends:
        until = min(ends, now + failure_logs.PATIENCE)
        return Autopsy(row, contract, until, f"it failed ({row.reason}), and its logs go with it")
    return Destroy(row, contract, f"it is to go: {row.reason}")


def autopsy_until(row: Held, fleet: Fleet) -> datetime | None:
    """Return until when the logs of a row on its way out may be asked for; None = they are not.

    They are asked for once, before the first destroy, and only if the box failed by itself.
    """
    if not fleet.autopsy or row.state is not State.DROPPING or row.reason not in failure_logs.FAILED:
        return None
    if row.autopsy_at is not None or row.destroys or row.contract_id is None:
        return None
    return row.moved_at + failure_logs.WITHIN


def _dropping_unnamed(row: Held) -> Action | None:
    """End a row whose contract never became known: at once if never sent, else by listings."""
    if row.sends == 0:
        return Move(row, State.DESTROYED, Reason.NEVER_SENT, "Vast was never asked for it")
    if row.absences >= 2:
        why = f"{row.absences} complete listings after the grace do not show its key"
        return Move(row, State.DESTROYED, Reason.NEVER_TOOK_EFFECT, why)
    return None


def deadlines(row: Held, fleet: Fleet, view: View) -> tuple[datetime | None, ...]:
    """Return the moments at which time alone may change what one row needs."""
    since = sick_from(row)
    sick = None if since is None else since + fleet.offline_grace
    return (
        row.due_at,
        autopsy_until(row, fleet),
        row.verify_by if row.state is State.CREATED else None,
        sick if row.state is State.VERIFIED else None,
        row.sick_since + CREDIT_WAIT if row.sick_since else None,
        heard_until(row, fleet, view) if row.sick_since else None,
        silent_from(row, fleet, view) if row.state is State.VERIFIED else None,
    )
