"""Pure: from what is held, seen and wanted at a moment to the actions to take, each with its why."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from magister.domain.actions import Action, Autopsy, CallRoll, CheckAccount, Destroy, List, Look, Move, Plan
from magister.domain.instance import Held
from magister.domain.owners import UNHEARD_ENDS, spared
from magister.domain.spec import Fleet, View
from magister.planner.adoption import adoptions
from magister.planner.billing import bill_due, read_bill
from magister.planner.budget import over_budget
from magister.planner.coordinator import forgotten, roll_due
from magister.planner.evidence import unexplained
from magister.planner.lifecycle import awaits_credit, deadlines, is_heard, judged, suspicious, unpaid
from magister.planner.loss_breaker import Losses, first_to_go, is_loss, losses, unheard
from magister.planner.provisioning import fill, rent_from, shortage, stalled
from magister.planner.schedule import account_due, contests, listing_due, sighted_by
from magister.states import DUDS, LOSSES, Reason, State

HEARD_EVERY = timedelta(seconds=1)
"""How often it is looked whether a web process has signed in, while none is."""


def plan(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    """Decide what to do at `now`, and when to decide again if nothing else happens before.

    Until the account that answers is known to be that of our boxes, it is asked who it is and for a listing,
    and nothing else: a destroy, or a look, would be answered in the same words as for a box that is gone.
    """
    if not view.ours:
        return Plan(tuple(_observations(fleet, held, view, now)), _next_at(fleet, held, view, now))
    sighted = sighted_by(fleet, view, now)
    contested = any(contests(row) and now < _given_up(row, fleet, now) for row in held)
    strange = unexplained(held)
    kept = spared(held, view.owner, now, contested=bool(view.foreign), trusted_at=view.trusted_at)
    actions: list[Action] = []
    for row in sorted((row for row in held if row.id not in view.set_aside), key=_longest_untried):
        unproved = contested and row.contract_id is None and row.absences > 0
        action = judged(row, fleet, view, now, sighted=sighted and not unproved)
        if action is not None and not _rests_on_a_word(action, strange):
            actions.append(action)
    swap = any(suspicious(row, fleet, view, now) for row in held) and stalled(fleet, held, view, now)
    if sighted and not unpaid(view):  # without credit all are stopped, and none can be replaced
        unheard_rows = [row for row in _untouched(held, actions) if not is_heard(row, fleet, view, now)]
        actions += forgotten(fleet, held, unheard_rows, view, swap=swap)
    actions, left = _left_alone(actions, kept)
    moves = [action for action in actions if isinstance(action, Move) and is_loss(action)]
    found = losses(moves, held, view, fleet, now)
    actions, held_back = _hold_back(actions, moves, held, found, view, fleet, now, swap=swap)
    if sighted:
        adopted = tuple(adoptions(view.strangers, fleet, now))
        actions += adopted
        free = _untouched(held, actions)
        doubtful = frozenset(move.row.id for move in held_back)
        surplus, unheard_surplus = _left_alone(_surplus(fleet, free, doubtful), kept if fleet.target else ())
        left += unheard_surplus
        given_up = surplus or list(over_budget(fleet, held, free, view, now, doubtful=doubtful))
        actions += given_up
        if not adopted and not given_up and not view.foreign:
            rest = tuple(row for row in free if row.id not in doubtful)
            actions += fill(fleet, held, rest, view, now, tripped=found.tripped(fleet))
        gone = {move.row.id for move in given_up if isinstance(move, Move)}
        held_back = [move for move in held_back if move.row.id not in gone]
    actions += _observations(fleet, held, view, now)
    return Plan(tuple(actions), _next_at(fleet, held, view, now), tuple(held_back), tuple(left))


def _left_alone(actions: Iterable[Action], kept: Collection[int]) -> tuple[list[Action], list[Move]]:
    """Take out the moves that give up one of `kept` for what only the Magister that keeps it can know."""
    done: list[Action] = []
    left: list[Move] = []
    for action in actions:
        if isinstance(action, Move) and action.row.id in kept and action.reason in UNHEARD_ENDS:
            left.append(action)
        else:
            done.append(action)
    return done, left


def _rests_on_a_word(action: Action, strange: frozenset[str | None]) -> bool:
    """Say whether an instance would be given up for nothing but a status that says nothing about it."""
    return (
        isinstance(action, Move) and action.reason is Reason.OFFLINE and action.row.actual_status in strange
    )


def _given_up(row: Held, fleet: Fleet, now: datetime) -> datetime:
    """Return until when the look at a row is waited for that others depend on."""
    return (row.absent_since or now) + fleet.create_grace


def _untouched(held: tuple[Held, ...], actions: Iterable[Action]) -> tuple[Held, ...]:
    """Return the rows that no action is about."""
    acted = {action.row.id for action in actions if isinstance(action, Move | Look | Destroy | Autopsy)}
    return tuple(row for row in held if row.id not in acted)


def _hold_back(
    actions: list[Action],
    moves: list[Move],
    held: tuple[Held, ...],
    found: Losses,
    view: View,
    fleet: Fleet,
    now: datetime,
    *,
    swap: bool,
) -> tuple[list[Action], list[Move]]:
    """Hold the `moves` that give up verified instances while too many are lost at once, but for a canary.

    What is given up all the same then, or believed later, says nothing against the machines. An empty place
    is the canary's, unless it cannot be filled: then `swap` says so, and one of `moves` goes to make room.
    """
    if found.at_once(fleet):
        excused = {move: replace(move, excuses_since=now - fleet.caution.loss_window) for move in moves}
        moves = list(excused.values())
        actions = [excused.get(action, action) if isinstance(action, Move) else action for action in actions]
    deaf = unheard(moves, held, view, fleet, now, swap=swap)
    if not moves or not found.tripped(fleet):
        return [action for action in actions if action not in deaf], deaf
    short = shortage(fleet, held) > 0 and not swap
    waiting = short or any(_awaits_canary(row) for row in held)
    canary = (
        first_to_go([move for move in moves if move not in deaf], swap=swap)
        if now >= found.canary_from(fleet) and not waiting and view.hearing_since is not None
        else []
    )
    kept_back = [move for move in moves if move not in canary]
    return [action for action in actions if action not in kept_back], kept_back


def _awaits_canary(row: Held) -> bool:
    """Say whether a row is the canary, or the one that has to be gone before the canary can be rented."""
    going = row.state is State.DROPPING and row.reason in LOSSES | DUDS
    return going or row.state in {State.REQUESTED, State.CREATED}


def _longest_untried(row: Held) -> tuple[float, int]:
    """Order rows so that a call that keeps failing for one does not keep the others from being made."""
    tried = [moment.timestamp() for moment in (row.called_at, row.looked_at) if moment is not None]
    return max(tried, default=0.0), row.id


def _surplus(fleet: Fleet, rows: Iterable[Held], doubtful: Collection[int]) -> Iterator[Move]:
    """Give up what exceeds the target: the newest unverified first, then the dearest verified.

    Before them go those that look lost, whose numbers are `doubtful`: they are kept for doubt, not for work.
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
        key=lambda r: (r.id in doubtful, r.contract_id is None, r.price or 0, r.id),
        reverse=True,
    )
    unverified = [row for row in verified if row.id in doubtful] + unverified
    verified = [row for row in verified if row.id not in doubtful]
    why = f"{len(wanted)} instances for a target of {fleet.target}"
    for row in (unverified + verified)[:excess]:
        unsent = row.state is State.REQUESTED and row.sends == 0
        yield Move(row, State.DESTROYED if unsent else State.DROPPING, Reason.SURPLUS, why)


def _observations(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Iterator[Action]:
    due, why = listing_due(fleet, held, view, now)
    waits = view.list_not_before is not None and now < view.list_not_before
    if due <= now and not waits and view.account_at is not None:
        yield List(why, view.account, view.ours)
    account_at = _account_due(fleet, held, view, now)
    if account_at is None or account_at <= now:
        yield CheckAccount("whose the key is, and what can be spent, decides whether anything is rented")
    bill_at = bill_due(fleet, view) if view.ours else None
    if bill_at is not None and bill_at <= now:
        yield read_bill(fleet, view, now)
    roll_at = roll_due(fleet, view, now)
    if roll_at is not None and roll_at <= now:
        yield CallRoll("the poll of Hierophant")


def _account_due(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> datetime | None:
    """Return when the account is to be asked next: at once if a box stopped since; None = now."""
    due = account_due(fleet, view)
    if view.no_credit_at is not None and view.account_at is not None and view.account_at < view.no_credit_at:
        return now
    stops = [row.sick_since for row in held if row.sick_since and awaits_credit(row, view, now)]
    if due is None or view.account_at is None or not stops:
        return due
    again = view.account_at + fleet.listing_every  # it was asked, and did not answer
    return min(due, now if view.account_at < max(stops) else again)


def _next_at(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> datetime | None:
    """Return the earliest moment after `now` at which time alone changes the plan."""
    moments = [listing_due(fleet, held, view, now)[0]]
    if view.list_not_before is not None:
        moments[0] = max(moments[0], view.list_not_before)
    moments += [
        m
        for m in (_account_due(fleet, held, view, now), roll_due(fleet, view, now), bill_due(fleet, view))
        if m is not None
    ]
    if view.hearing_since is None:
        moments.append(now + HEARD_EVERY)
    if shortage(fleet, held):
        waits = (rent_from(fleet, view), view.outlook.trial_ends(fleet.caution))
        moments += [m for m in waits if m is not None]
        moments += [view.searched_at + fleet.search_every] if view.searched_at is not None else []
    for row in held:
        moments += [m for m in deadlines(row, fleet, view) if m is not None]
    return min((moment for moment in moments if moment > now), default=None)
