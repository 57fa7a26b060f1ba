"""What the rest of Magister may ask of Hierophant, whoever answers."""

from typing import Protocol

from magister.domain.observed import Roster


class Hierophant(Protocol):
    """Ask Hierophant whom it knows."""

    def roster(self) -> Roster:
        """Read both lists of workers; raises Unreachable, and never takes a wrong answer for an empty list.

        Hierophant forgets its workers when it restarts, keeps dead ones among the living until proofs come
        and go, and never prunes the dead: neither presence nor absence proves much by itself.
        """
