"""Vast without the wire: the simulated market behind the protocol, at Vast's pace and in virtual time."""

from collections.abc import Callable
from datetime import UTC, date, datetime

from magister.domain.observed import Account, Charge, Listing, Offer, Order, Route, Sighting
from magister.errors import OfferGone, Transient
from magister.simulator.market import contracts
from magister.simulator.market.clock import Calendar
from magister.simulator.market.errors import Refused
from magister.simulator.market.market import Market
from magister.simulator.runtime.rate_limits import INTERVALS
from magister.simulator.views.instance import instance_view
from magister.simulator.views.search import search
from magister.vast import schemas

CALENDAR = Calendar()
"""The market's seconds are those of Unix."""


class VirtualVast:
    """Answer at once as Vast does, in its own words and read as the client reads them."""

    def __init__(self, market: Market, *, disk: float) -> None:
        """Take the market, and how many GB of disk offers are priced with."""
        self._market = market
        self._disk = disk
        self._opens: dict[Route, float] = {}

    def listing(self, now: datetime) -> Listing:
        """List every box."""
        self._called(Route.LIST)
        shown = [self._seen(contract) for contract in self._market.listed()]
        return Listing(now, tuple(shown))

    def search(self, machines: int, fit: Callable[[Offer], bool]) -> tuple[Offer, ...]:
        """Search the market, cheapest first."""
        self._called(Route.SEARCH)
        query = {"allocated_storage": self._disk, "order": [["dph_total", "asc"]]}
        rows = search(self._market, query, CALENDAR)["offers"]
        assert isinstance(rows, list)
        return tuple(offer for row in rows if isinstance(offer := schemas.offer(row), Offer))

    def create(self, offer_id: int, order: Order) -> int:
        """Rent an offer."""
        self._called(Route.CREATE)
        wanted = contracts.Order(
            label=order.label,
            image="contemplant",
            template=order.template_hash,
            onstart=order.onstart,
            env=(),
            disk=order.disk,
            runtype="ssh",
            args=(),
            bid=None,
            running=True,
            cancel_unavail=True,
        )
        try:
            contract, _ = self._market.rent(offer_id, wanted)
        except Refused as refused:
            raise OfferGone(str(refused)) from refused
        return contract.id

    def destroy(self, contract_id: int) -> None:
        """End a contract."""
        self._called(Route.DESTROY)
        if self._market.contracts[contract_id].live:
            self._market.destroy(contract_id)

    def show(self, contract_id: int) -> Sighting | None:
        """Look at one contract."""
        self._called(Route.SHOW)
        contract = self._market.shown(contract_id)
        return None if contract is None else self._seen(contract)

    def account(self) -> Account:
        """Say what can be spent."""
        return Account(round(self._market.credit * 1_000_000))

    def charges(self, day: date) -> tuple[Charge, ...]:
        """Charge nothing yet: the bill is not what is measured."""
        return ()

    def logs(self, contract_id: int, *, within: float) -> str:
        """Have no logs, as of a box that never started."""
        raise Transient(f"no logs of {contract_id}")

    def template_exists(self, template_hash: str) -> bool | None:
        """Know every template."""
        return True

    def wait_secs(self, route: Route) -> float:
        """Say how many virtual seconds until a route is free."""
        return max(self._opens.get(route, 0.0) - self._market.now, 0.0)

    def _called(self, route: Route) -> None:
        self._opens[route] = self._market.now + INTERVALS[route]

    def _seen(self, contract: contracts.Contract) -> Sighting:
        seen, _ = schemas.sighting(instance_view(self._market, contract, CALENDAR))
        assert seen is not None
        return seen


def moment(secs: float) -> datetime:
    """Return Unix seconds as a moment."""
    return datetime.fromtimestamp(secs, UTC)
