"""Pure: whether so many verified instances were lost at once that something else than they is at fault."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from magister.domain.actions import Move
from magister.domain.instance import Held
from magister.domain.observed import RUNNING
from magister.domain.spec import Fleet, Loss, View
from magister.planner.lifecycle import sick_from, silent_from
from magister.states import LOSSES, Reason, State

TOLD_BY_VAST = frozenset({Reason.VANISHED, Reason.EXITED, Reason.OFFLINE})
"""Losses that Vast tells of, so that its word about another instance is evidence of the same weight."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Hold which verified instances were lost lately.

    Those of `behind` are given up already, those of `ahead` are about to be; `others` are the verified ones
    that are not lost, and `verified` is how many there are with those ahead. A worker that verifies in a box
    rented after a loss makes that loss doubtful no more: it proves that Vast, the network and the
    coordinator work. So does the word of the operator. `believed_until` is the later of the two.
    """

    behind: tuple[Loss, ...]
    ahead: tuple[Loss, ...]
    verified: int
    believed_until: datetime
    others: tuple[Held, ...] = ()

    def at_once(self, fleet: Fleet) -> bool:
        """Say whether so many were lost that something else than their machines is at fault."""
        return self._too_many(self.behind, self.ahead, fleet)

    def tripped(self, fleet: Fleet) -> bool:
        """Say whether the breaker is open: then one canary at a time is tried, and the rest wait."""
        return self._too_many(self._doubtful(self.behind), self._doubtful(self.ahead), fleet)

    def canary_from(self, fleet: Fleet) -> datetime:
        """Return when the first canary may be tried: what passes in a moment shall cost nothing."""
        return (
            min(loss.at for loss in self._doubtful((*self.behind, *self.ahead))) + fleet.caution.canary_after
        )

    def _doubtful(self, found: tuple[Loss, ...]) -> tuple[Loss, ...]:
        return tuple(loss for loss in found if loss.at > self.believed_until)

    def _too_many(self, behind: tuple[Loss, ...], ahead: tuple[Loss, ...], fleet: Fleet) -> bool:
        lost = len(behind) + len(ahead)
        if lost <= max(1.0, fleet.caution.loss_share * (self.verified + len(behind))):
            return False
        return not self._host_failed((*behind, *ahead))

    def _host_failed(self, lost: tuple[Loss, ...]) -> bool:
        """Say whether all losses are on one host while another host's instance has worked since the last.

        Then it is the host, which counts as one loss and against its machines.
        """
        hosts = {loss.host_id for loss in lost}
        if len(hosts) != 1 or None in hosts:
            return False
        since = max(loss.at for loss in lost)
        by_status = all(loss.reason in TOLD_BY_VAST for loss in lost)
        elsewhere = (row for row in self.others if row.host_id is not None and row.host_id not in hosts)
        return any(_works_since(row, since, by_status=by_status) for row in elsewhere)


def _works_since(row: Held, since: datetime, *, by_status: bool) -> bool:
    """Say whether an instance has shown since a moment that it works.

    Its heartbeat shows it, or Hierophant's list. Where `by_status`, of an instance that cannot send
    heartbeats a listing does, too.
    """
    if row.absences or row.off_roster_since is not None:
        return False
    if any(moment is not None and moment >= since for moment in (row.beaten_at, row.on_roster_at)):
        return True
    seen = row.last_seen_at is not None and row.last_seen_at >= since and row.actual_status == RUNNING
    return by_status and seen and row.silent_since is None


def is_loss(action: object) -> bool:
    """Say whether an action gives up a verified instance that nobody asked to be given up."""
    return isinstance(action, Move) and action.row.state is State.VERIFIED and action.reason in LOSSES


def losses(moves: Iterable[Move], held: Iterable[Held], view: View, fleet: Fleet, now: datetime) -> Losses:
    """Count the losses in the history of the window, and those that `moves` and listings foretell.

    Foretold ones that happened together are so however long ago: without credit Vast stops all boxes at once,
    and they are given up only after the payment.
    """
    window = now - fleet.caution.loss_window
    verified = [row for row in held if row.state is State.VERIFIED]
    foretold = {
        move.row.id: Loss(_lost_at(move, fleet, view), move.row.host_id, move.reason) for move in moves
    }
    foretold |= {
        row.id: Loss(row.absent_since or now, row.host_id, Reason.VANISHED)
        for row in verified
        if row.absences >= 2
    }
    together = min(
        window, max((loss.at for loss in foretold.values()), default=now) - fleet.caution.loss_window
    )
    return Losses(
        behind=tuple(loss for loss in view.lost if loss.at > window),
        ahead=tuple(loss for loss in foretold.values() if loss.at > together),
        verified=len(verified),
        believed_until=max(window, view.canary_at or window, view.trusted_at or window),
        others=tuple(row for row in verified if row.id not in foretold),
    )


def unheard(
    moves: Iterable[Move], held: tuple[Held, ...], view: View, fleet: Fleet, now: datetime, *, swap: bool
) -> list[Move]:
    """Return the moves for silence that wait, since no box at all is heard.

    Then it is rather the way to Magister that is cut than every worker dead. One instance is replaced to
    see, and the rest follow once one rented since has been heard, or when the operator says so. If that one
    has fallen silent as well, the next one is replaced. Where neither a heartbeat nor an announcement was
    ever heard, it may be that the heartbeat loop can run nowhere: then a call alone proves no silence.
    `swap` = the pool cannot be filled, so that one goes to make room for the canary.
    """
    silent = [move for move in moves if move.reason is Reason.SILENT]
    since = min((move.row.silent_since or now for move in silent), default=now)
    fallen_silent = {move.row.id for move in silent}
    wanted = [row for row in held if row.wanted]
    if view.trusted_at is not None and view.trusted_at > since:
        return []
    if any(_beats(row, fleet, now) for row in wanted):
        return []
    if any(_called(row, since) for row in wanted):
        silent = [move for move in silent if move.row.beaten_at is None and move.row.announced_at is None]
    awaited = any(row.requested_at > since for row in wanted if row.id not in fallen_silent)
    if not (swap or len(wanted) >= fleet.target) or awaited:
        return silent
    first = first_to_go(silent, swap=swap)
    return [move for move in silent if move not in first]


def first_to_go(moves: Sequence[Move], *, swap: bool) -> list[Move]:
    """Return the one of `moves` that is made to see, if any: for a `swap` the dearest, for it leaves most."""
    return sorted(moves, key=lambda move: -(move.row.price or 0) if swap else 0)[:1]


def _beats(row: Held, fleet: Fleet, now: datetime) -> bool:
    """Say whether a box is heard now."""
    return row.beaten_at is not None and now < row.beaten_at + fleet.silence(row)


def _called(row: Held, since: datetime) -> bool:
    """Say whether the worker of a row called after `since`."""
    called = row.state is State.VERIFIED and row.reason in {Reason.CALLED, Reason.BEAT}
    return called and row.verified_at is not None and row.verified_at > since


def _lost_at(move: Move, fleet: Fleet, view: View) -> datetime:
    """Return when the loss behind a move happened, as far as is known."""
    row = move.row
    match move.reason:
        case Reason.VANISHED:
            return row.absent_since or row.moved_at
        case Reason.SILENT:
            return silent_from(row, fleet, view) or row.moved_at
        case Reason.FORGOTTEN:
            return (row.off_roster_since or row.moved_at) + fleet.roster_grace
        case Reason.OFFLINE:
            return (sick_from(row) or row.moved_at) + fleet.offline_grace
        case _:
            return sick_from(row) or row.moved_at
