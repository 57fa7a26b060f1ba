"""What the rest of Magister may ask of Vast.ai, whoever answers."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Protocol

from magister.domain.observed import Account, Charge, Listing, Offer, Order, Route, Sighting


class Vast(Protocol):
    """Ask Vast.ai; every method but `wait_secs` raises a `VastError`, or `Stopping` while it waits."""

    def listing(self, now: datetime) -> Listing:
        """List every box of the account, completely, as begun at `now` (aware).

        Raises IncompleteListing when the pages did not add up, and never returns a part.
        """

    def search(self, machines: int, fit: Callable[[Offer], bool]) -> tuple[Offer, ...]:
        """Search the market, cheapest first, until offers that `fit` were found on so many machines."""

    def create(self, offer_id: int, order: Order) -> int:
        """Rent an offer with one single request and return the contract.

        Raises NotSent, RateLimited, BadKey, Refused, OfferGone or NoCredit when nothing took effect,
        StartedStopped when a stopped box exists, Ambiguous when only listings can tell.
        """

    def destroy(self, contract_id: int) -> None:
        """Ask for the end of a contract; one that Vast does not know counts as ended."""

    def show(self, contract_id: int) -> Sighting | None:
        """Look at one contract; None = Vast said in so many words that there is none."""

    def logs(self, contract_id: int, *, within: float) -> str:
        """Return the last lines of a contract's logs, waited for at most `within` seconds.

        Raises Transient if they did not come by then.
        """

    def account(self) -> Account:
        """Ask which account the key is of, and what it can spend."""

    def charges(self, day: date) -> tuple[Charge, ...]:
        """Ask what was charged for instances on a UTC day: all of it, or it raises; charges lag by hours."""

    def template_exists(self, template_hash: str) -> bool | None:
        """Say whether Vast knows a template; None = its answer does not tell."""

    def wait_secs(self, route: Route) -> float:
        """Say how many seconds until a route is free; 0 = now."""
