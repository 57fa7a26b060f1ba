"""Whose an instance is, where two services with the same settings rent on one account."""

from dataclasses import dataclass, field

from magister.simulator.contracts import Contract


@dataclass(slots=True)
class Claims:
    """Tell whose instances are whose: `keys` are those in the labels that the rival has sent.

    `acts` = it is its turn.
    """

    keys: set[str] = field(default_factory=set)
    acts: bool = False

    def are_its(self, box: Contract) -> bool:
        """Say whether the rival rented an instance."""
        return (box.label or "").partition(":")[2] in self.keys

    def may_end(self, box: Contract) -> bool:
        """Say whether who acts now may end an instance: what the other one rented is never its own."""
        return self.are_its(box) == self.acts
