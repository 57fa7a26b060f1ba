"""Pure: from what is held, seen and wanted at a moment to the actions to take, each with its why."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from magister.actions import Action, CheckAccount, Destroy, List, Look, Move, Plan, Rent, Search, Send
from magister.adoption import adoptions
from magister.evidence import PROVISIONING, RUNNING, STOPPED
from magister.facts import Fleet, Held, View
from magister.listings import listing_due, sighted_by
from magister.losses import Losses, is_loss, losses
from magister.offers import candidates
from magister.states import LOSSES, Reason, State

INTENT_LASTS = timedelta(minutes=15)
"""How long an offer that could not be asked for is believed to stand at its price."""


def plan(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    """Decide what to do at `now`, and when to decide again if nothing else happens before."""
    sighted = sighted_by(fleet, view, now)
    actions: list[Action] = []
    for row in sorted((row for row in held if row.id not in view.set_aside), key=_longest_untried):
        action = _for_row(row, fleet, view, now, sighted=sighted)
        if action is not None:
            actions.append(action)
    moves = [action for action in actions if isinstance(action, Move) and is_loss(action)]
    found = losses(moves, held, view, fleet, now)
    actions, held_back = _hold_back(actions, moves, held, found, fleet, now)
    if sighted:
        adopted = tuple(adoptions(view.strangers, fleet, now))
        actions += adopted
        touched = (*actions, *held_back)
        acted = {action.row.id for action in touched if isinstance(action, Move | Look | Destroy)}
        rest = tuple(row for row in held if row.id not in acted)
        given_up = tuple(_surplus(fleet, rest))
        actions += given_up
        if not adopted and not given_up:
            actions += _fill(fleet, held, rest, view, now, tripped=found.tripped(fleet))
    actions += _observations(fleet, held, view, now)
    return Plan(tuple(actions), _next_at(fleet, held, view, now), tuple(held_back))


def _hold_back(
    actions: list[Action],
    moves: list[Move],
    held: tuple[Held, ...],
    found: Losses,
    fleet: Fleet,
    now: datetime,
) -> tuple[list[Action], list[Move]]:
    """Hold the `moves` that give up verified instances while too many are lost at once, but for a canary."""
    if not moves or not found.tripped(fleet):
        return actions, []
    waiting = shortage(fleet, held) > 0 or any(_awaits_canary(row) for row in held)
    canary = moves[:1] if now >= found.canary_from(fleet) and not waiting else []
    kept_back = [move for move in moves if move not in canary]
    return [action for action in actions if action not in kept_back], kept_back


def _awaits_canary(row: Held) -> bool:
    """Say whether a row is the canary, or the one that has to be gone before the canary can be rented."""
    going = row.state is State.DROPPING and row.reason in LOSSES
    return going or row.state in {State.REQUESTED, State.CREATED}


def _longest_untried(row: Held) -> tuple[float, int]:
    """Order rows so that a call that keeps failing for one does not keep the others from being made."""
    tried = [moment.timestamp() for moment in (row.called_at, row.looked_at) if moment is not None]
    return max(tried, default=0.0), row.id


def _for_row(row: Held, fleet: Fleet, view: View, now: datetime, *, sighted: bool) -> Action | None:
    """Decide what one row needs, whatever the others need."""
    match row.state:
        case State.REQUESTED:
            return _requested(row, fleet, now) if sighted else None
        case State.CREATED:
            found = _absent(row, fleet, now) or _created(row, now) or _sick(row, fleet, now)
            return found if sighted else None
        case State.VERIFIED:
            return _absent(row, fleet, now) or _sick(row, fleet, now) if sighted else None
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


def _created(row: Held, now: datetime) -> Action | None:
    """Give up on a worker that did not call in time, unless Vast says the box is still being made."""
    if row.verify_by is None or now < row.verify_by or row.absences:
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


def _sick(row: Held, fleet: Fleet, now: datetime) -> Action | None:
    """Drop a box that stopped at once, and a verified one that is not running after the grace."""
    scheduled = row.cur_state == row.intended_status == "stopped"
    if row.actual_status in STOPPED or (scheduled and row.actual_status not in {None, RUNNING}):
        return Move(row, State.DROPPING, Reason.EXITED, f"Vast says it is {row.actual_status}")
    if row.state is not State.VERIFIED or row.sick_since is None:
        return None
    since = max(row.sick_since, row.verified_at or row.sick_since)
    if now < since + fleet.offline_grace:
        return None
    why = f"Vast has said {row.actual_status or 'nothing'} for {int((now - since).total_seconds())} s"
    return Move(row, State.DROPPING, Reason.OFFLINE, why)


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
    return Destroy(row, contract, f"it is to go: {row.reason}")


def _dropping_unnamed(row: Held) -> Action | None:
    """End a row whose contract never became known: at once if never sent, else by listings."""
    if row.sends == 0:
        return Move(row, State.DESTROYED, Reason.NEVER_SENT, "Vast was never asked for it")
    if row.absences >= 2:
        why = f"{row.absences} complete listings after the grace do not show its key"
        return Move(row, State.DESTROYED, Reason.NEVER_TOOK_EFFECT, why)
    return None


def _surplus(fleet: Fleet, rows: Iterable[Held]) -> Iterator[Move]:
    """Give up what exceeds the target: the newest unverified first, then the dearest verified.

    One that a listing lacks neither counts nor goes before it is settled: beside the boxes that came in its
    place, as after an old backup was put back, it would have one that exists given up for one that does not.
    """
    wanted = [row for row in rows if row.wanted and not row.absences]
    excess = len(wanted) - fleet.target
    if excess <= 0:
        return
    unverified = sorted(
        (r for r in wanted if r.state is not State.VERIFIED), key=lambda r: r.id, reverse=True
    )
    verified = sorted(
        (r for r in wanted if r.state is State.VERIFIED),
        key=lambda r: (r.contract_id is None, r.price or 0, r.id),
        reverse=True,
    )
    why = f"{len(wanted)} instances for a target of {fleet.target}"
    for row in (unverified + verified)[:excess]:
        unsent = row.state is State.REQUESTED and row.sends == 0
        yield Move(row, State.DESTROYED if unsent else State.DROPPING, Reason.SURPLUS, why)


def shortage(fleet: Fleet, held: Iterable[Held]) -> int:
    """Count the instances to rent: short of the target, and not beyond target and surge in all."""
    rows = [row for row in held if row.live]
    return max(min(fleet.target - sum(row.wanted for row in rows), fleet.target + fleet.surge - len(rows)), 0)


def rent_from(fleet: Fleet, view: View) -> datetime | None:
    """Return when renting may go on after refusals and failures; None = now."""
    holds = (view.rent_not_before, view.outlook.rent_from(fleet.caution))
    return max((hold for hold in holds if hold is not None), default=None)


def allowed(fleet: Fleet, held: Iterable[Held], view: View, now: datetime, *, tripped: bool = False) -> int:
    """Count the instances that may be rented now: fewer than are short while rentals fail.

    `tripped` = too many verified ones are lost at once, so that one canary at a time is tried.
    """
    rows = list(held)
    short, bound = shortage(fleet, rows), view.outlook.unverified_at_once(fleet.target, fleet.caution, now)
    if tripped:
        bound = 1
    if bound is None:
        return short
    unverified = sum(row.state in {State.REQUESTED, State.CREATED} for row in rows)
    return min(short, max(bound - unverified, 0))


def _fill(
    fleet: Fleet,
    held: tuple[Held, ...],
    rest: tuple[Held, ...],
    view: View,
    now: datetime,
    *,
    tripped: bool,
) -> Iterator[Action]:
    """Send what stands unsent, then rent what is short from the best offers."""
    held_until = rent_from(fleet, view)
    if held_until is not None and now < held_until:
        return
    wanted = sum(row.wanted for row in rest)
    why = f"{wanted} of {fleet.target} instances"
    for row in rest:
        if row.unsent and (row.due_at is None or row.due_at <= now):
            yield Send(row, f"its intent stands unsent: {why}")
    short = allowed(fleet, held, view, now, tripped=tripped)
    if short == 0:
        return
    fresh = view.searched_at is not None and now < view.searched_at + fleet.search_every
    offers = candidates(
        view.offers if fresh else (),
        held=held,
        recent_offers=view.recent_offers,
        records=view.records,
        fleet=fleet,
    )
    for offer in offers[:short]:
        yield Rent(offer, f"{why}; machine {offer.machine_id} at {offer.price / 1e6:.4f} USD/h")
    if not fresh:
        yield Search(len({row.machine_id for row in held if row.live}) + short, why)


def _observations(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Iterator[Action]:
    due, why = listing_due(fleet, held, view, now)
    if due <= now and (view.list_not_before is None or now >= view.list_not_before):
        yield List(why)
    if view.account_at is None or now >= view.account_at + fleet.account_every:
        yield CheckAccount("the credit decides whether anything can be rented")


def _next_at(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> datetime | None:
    """Return the earliest moment after `now` at which time alone changes the plan."""
    moments = [listing_due(fleet, held, view, now)[0]]
    if view.list_not_before is not None:
        moments[0] = max(moments[0], view.list_not_before)
    if view.account_at is not None:
        moments.append(view.account_at + fleet.account_every)
    if shortage(fleet, held):
        moments += [m for m in (rent_from(fleet, view),) if m is not None]
        moments += [view.searched_at + fleet.search_every] if view.searched_at is not None else []
    for row in held:
        moments += [m for m in _deadlines(row, fleet) if m is not None]
    return min((moment for moment in moments if moment > now), default=None)


def _deadlines(row: Held, fleet: Fleet) -> tuple[datetime | None, ...]:
    sick = row.sick_since + fleet.offline_grace if row.sick_since else None
    if sick is not None and row.verified_at is not None:
        sick = max(sick, row.verified_at + fleet.offline_grace)
    return (
        row.due_at,
        row.verify_by if row.state is State.CREATED else None,
        sick if row.state is State.VERIFIED else None,
    )
