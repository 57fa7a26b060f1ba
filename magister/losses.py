"""Pure: whether so many verified instances were lost at once that something else than they is at fault."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from magister.actions import Move
from magister.facts import Fleet, Held, View
from magister.states import LOSSES, Reason, State


@dataclass(frozen=True, slots=True)
class Losses:
    """Hold when verified instances were lost lately, those included that are about to be given up.

    `of` is how many were verified before. A worker that verifies in a box rented since then makes a loss
    count no more: it proves that Vast, the network and the coordinator work.
    """

    moments: tuple[datetime, ...]
    of: int

    def tripped(self, fleet: Fleet) -> bool:
        """Say whether the breaker is open: then one canary at a time is tried, and the rest wait."""
        return len(self.moments) > max(1.0, fleet.caution.loss_share * self.of)

    def canary_from(self, fleet: Fleet) -> datetime:
        """Return when the first canary may be tried: what passes in a moment shall cost nothing."""
        return min(self.moments) + fleet.caution.canary_after


def is_loss(action: object) -> bool:
    """Say whether an action gives up a verified instance that nobody asked to be given up."""
    return isinstance(action, Move) and action.row.state is State.VERIFIED and action.reason in LOSSES


def losses(moves: Iterable[Move], held: Iterable[Held], view: View, fleet: Fleet, now: datetime) -> Losses:
    """Count the losses in the history of the window, and those that `moves` and listings foretell."""
    window = now - fleet.caution.loss_window
    after = max(window, view.canary_at or window)
    verified = [row for row in held if row.state is State.VERIFIED]
    foretold = {move.row.id: _lost_at(move, fleet) for move in moves}
    foretold |= {row.id: row.absent_since or now for row in verified if row.absences >= 2}
    ahead = [moment for moment in foretold.values() if moment > after]
    behind = [moment for moment in view.lost if moment > after]
    return Losses((*behind, *ahead), len(verified) + len(behind))


def _lost_at(move: Move, fleet: Fleet) -> datetime:
    """Return when the loss behind a move happened, as far as listings tell."""
    row = move.row
    if move.reason is Reason.VANISHED:
        return row.absent_since or row.moved_at
    grace = fleet.offline_grace if move.reason is Reason.OFFLINE else timedelta()
    return (row.sick_since or row.moved_at) + grace
