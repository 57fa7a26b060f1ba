"""Pure: whether so many verified instances were lost at once that something else than they is at fault."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from magister.actions import Move
from magister.fleet import Fleet, View
from magister.held import Held
from magister.judgement import sick_from, silent_from
from magister.states import LOSSES, Reason, State


@dataclass(frozen=True, slots=True)
class Losses:
    """Hold when verified instances were lost lately.

    Those of `behind` are given up already, those of `ahead` are about to be.
    `verified` is how many there are now. A worker that verifies in a box rented after a loss makes that
    loss doubtful no more: it proves that Vast, the network and the coordinator work. So does the word of
    the operator. `believed_until` is the later of the two.
    """

    behind: tuple[datetime, ...]
    ahead: tuple[datetime, ...]
    verified: int
    believed_until: datetime

    def at_once(self, fleet: Fleet) -> bool:
        """Say whether so many were lost that something else than their machines is at fault."""
        return self._too_many(len(self.behind), len(self.ahead), fleet)

    def tripped(self, fleet: Fleet) -> bool:
        """Say whether the breaker is open: then one canary at a time is tried, and the rest wait."""
        return self._too_many(len(self._doubtful(self.behind)), len(self._doubtful(self.ahead)), fleet)

    def canary_from(self, fleet: Fleet) -> datetime:
        """Return when the first canary may be tried: what passes in a moment shall cost nothing."""
        return min(self._doubtful((*self.behind, *self.ahead))) + fleet.caution.canary_after

    def _doubtful(self, moments: tuple[datetime, ...]) -> list[datetime]:
        return [moment for moment in moments if moment > self.believed_until]

    def _too_many(self, behind: int, ahead: int, fleet: Fleet) -> bool:
        return behind + ahead > max(1.0, fleet.caution.loss_share * (self.verified + behind))


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
    foretold = {move.row.id: _lost_at(move, fleet, view) for move in moves}
    foretold |= {row.id: row.absent_since or now for row in verified if row.absences >= 2}
    together = min(window, max(foretold.values(), default=now) - fleet.caution.loss_window)
    return Losses(
        behind=tuple(moment for moment in view.lost if moment > window),
        ahead=tuple(moment for moment in foretold.values() if moment > together),
        verified=len(verified),
        believed_until=max(window, view.canary_at or window, view.trusted_at or window),
    )


def unheard(
    moves: Iterable[Move], held: tuple[Held, ...], view: View, fleet: Fleet, now: datetime, *, swap: bool
) -> list[Move]:
    """Return the moves for silence that wait, since no box at all is heard.

    Then it is rather the way to Magister that is cut than every worker dead. One instance is replaced to
    see, and the rest follow once a box rented since has been heard, or when the operator says so. Where no
    beat was ever heard, it may be that in no box the loop can run: then only a beat shows that it can.
    `swap` = the pool cannot be filled, so that one goes to make room for the canary.
    """
    silent = [move for move in moves if move.reason is Reason.SILENT]
    since = min((move.row.silent_since or now for move in silent), default=now)
    wanted = [row for row in held if row.wanted]
    if view.trusted_at is not None and view.trusted_at > since:
        return []
    if any(_beats(row, fleet, now) for row in wanted):
        return []
    if any(_called(row, since) for row in wanted):
        silent = [move for move in silent if move.row.beaten_at is None]
    if not (swap or len(wanted) >= fleet.target) or any(row.requested_at > since for row in wanted):
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
