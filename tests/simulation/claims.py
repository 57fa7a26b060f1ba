"""Whose an instance is, where two services with the same settings rent on one account."""

from dataclasses import dataclass, field

from magister.simulator.market.contracts import Contract


@dataclass(slots=True)
class Claims:
    """Tell whose instances are whose: `keys` are those in the labels that the rival has sent.

    `since` is when it began, in seconds; `acts` = it is its turn.
    """

    keys: set[str] = field(default_factory=set)
    since: float = 0.0
    acts: bool = False

    def are_its(self, box: Contract) -> bool:
        """Say whether the rival rented an instance."""
        return (box.label or "").partition(":")[2] in self.keys

    def may_end(self, box: Contract, *, works: bool) -> bool:
        """Say whether who acts now may end an instance: what the other one rented is not its own.

        What was there before the rival began it takes in, for it might be what a lost database has left; of
        these it may end what does not work any more.
        """
        return self.are_its(box) == self.acts or (box.created_at < self.since and not works)
