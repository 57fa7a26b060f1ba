"""Vast.ai over HTTP: every call paced and classified, reads and destroys repeated, a create sent once."""

import json
import logging
import time
from collections.abc import Callable
from datetime import date, datetime

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from magister.domain.observed import Account, Charge, Listing, Offer, Order, Route, Sighting
from magister.errors import IncompleteListing, RateLimited, Refused, Transient
from magister.vast import charges, classify, offers, schemas, values
from magister.vast.access import Access
from magister.vast.listing import Page, complete, page
from magister.vast.logs import TAIL, Shelf
from magister.vast.rate_limiter import Pacer
from magister.vast.response import Answer
from magister.vast.transport import ASKS, Call, Line

LISTED = 25
"""Instances a page; Vast's own maximum, and 5 when it is not said."""

log = logging.getLogger("magister.vast")


class HttpVast:
    """Ask Vast.ai over HTTP; safe to use from several threads.

    A listing can come out incomplete if a create is carried out between its pages: callers keep them apart.
    """

    def __init__(
        self,
        access: Access,
        pacer: Pacer,
        *,
        nap: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where Vast is, the pace, and `nap`, which waits for seconds or raises Stopping.

        `clock` is monotonic, in seconds.
        """
        self._access = access
        self._pacer = pacer
        self._nap = nap
        self._clock = clock
        self._line = Line(access)
        self._shelf = Shelf(access.url, nap=nap, clock=clock)

    def listing(self, now: datetime) -> Listing:
        """List every box of the account, completely, as begun at `now` (aware).

        Raises IncompleteListing after three readings whose pages did not add up.
        """
        return Listing(now, complete(self._listed))

    def search(self, machines: int, fit: Callable[[Offer], bool]) -> tuple[Offer, ...]:
        """Search the market, cheapest first, until offers that `fit` were found on so many machines."""
        return offers.offers(self._offered, machines, fit)

    def create(self, offer_id: int, order: Order) -> int:
        """Rent an offer with one single request and return the contract.

        Raises NotSent, RateLimited, BadKey, Refused, OfferGone or NoCredit when nothing took effect,
        StartedStopped when a stopped box exists, Ambiguous when only listings can tell.
        """
        body = {
            "template_hash_id": order.template_hash,
            "label": order.label,
            "disk": order.disk,
            "onstart": order.onstart,
            "target_state": "running",
            "cancel_unavail": True,
        }
        call = Call(route=Route.CREATE, method="PUT", path=f"{ASKS}{offer_id}/", body=body)
        return classify.contract(self._send(call))

    def destroy(self, contract_id: int) -> None:
        """Ask for the end of a contract; one that Vast does not know counts as ended."""
        self._ask(
            Call(route=Route.DESTROY, method="DELETE", path=_instance(contract_id), body={}),
            fine=classify.destroyed,
        )

    def show(self, contract_id: int) -> Sighting | None:
        """Look at one contract.

        None = Vast said in so many words that there is none: `instances` null or empty, or
        `no_such_instance`.
        """
        call = Call(route=Route.SHOW, method="GET", path=_instance(contract_id))
        answer = self._ask(call, fine=classify.absent)
        return None if classify.absent(answer) else _shown(answer, contract_id)

    def logs(self, contract_id: int, *, within: float) -> str:
        """Return the last lines of a contract's logs, waited for at most `within` seconds.

        Vast has them uploaded by the host and names where; asked once. Raises Transient if they did not
        come by then.
        """
        ends = self._clock() + within
        path = f"/api/v0/instances/request_logs/{contract_id}/"
        call = Call(route=Route.LOGS, method="PUT", path=path, body={"tail": str(TAIL)}, timeout=within)
        where = (self._once(call, None).fields or {}).get("result_url")
        if not isinstance(where, str):
            raise Transient("Vast did not say where the logs are")
        return self._shelf.fetch(where, ends)

    def account(self) -> Account:
        """Ask whose the key is, and what can be spent: `credit`, since `balance` may be 0 beside it."""
        answer = self._ask(Call(route=Route.ACCOUNT, method="GET", path="/api/v0/users/current/"))
        said = answer.fields or {}
        return Account(values.micros(said.get("credit")), values.identity(said.get("id")))

    def charges(self, day: date) -> tuple[Charge, ...]:
        """Ask what was charged for instances on a UTC day: all of it, or it raises; charges lag by hours.

        Raises Refused for an account that hosts machines, to which Vast shows none.
        """
        wanted = json.dumps(charges.filters(day))
        asked = {"select_filters": wanted, "format": "table", "limit": str(charges.LIMIT)}

        def fetch(token: str | None) -> charges.Page:
            params = asked if token is None else {**asked, "after_token": token}
            call = Call(route=Route.CHARGES, method="GET", path="/api/v0/charges/", params=params)
            return charges.page(self._ask(call))

        return charges.complete(fetch)

    def template_exists(self, template_hash: str) -> bool | None:
        """Say whether Vast knows a template; None = its answer does not tell."""
        wanted = json.dumps({"hash_id": {"eq": template_hash}})
        call = Call(
            route=Route.TEMPLATE, method="GET", path="/api/v0/template/", params={"select_filters": wanted}
        )
        return _known(self._ask(call, fine=classify.no_templates), template_hash)

    def wait_secs(self, route: Route) -> float:
        """Say how many seconds until a route is free; 0 = now."""
        return self._pacer.wait_secs(route)

    def close(self) -> None:
        """Close the connections that are kept open; a later call opens new ones."""
        self._line.close()
        self._shelf.close()

    def _listed(self, token: str | None) -> Page:
        params = {"limit": str(LISTED), "order_by": json.dumps([{"col": "id", "dir": "asc"}])}
        if token is not None:
            params["after_token"] = token
        try:
            answer = self._ask(Call(route=Route.LIST, method="GET", path="/api/v1/instances/", params=params))
        except Refused as refusal:
            raise IncompleteListing(str(refusal)) from None
        return page(answer, first=token is None)

    def _offered(self, start: offers.Start | None) -> offers.Page:
        access = self._access
        body = offers.query(access.filters, storage=access.allocated_storage, limit=access.limit, start=start)
        call = Call(route=Route.SEARCH, method="POST", path="/api/v0/bundles/", body=body)
        return offers.page(self._ask(call), access.limit, disk_gb=access.allocated_storage)

    def _ask(self, call: Call, *, fine: Callable[[Answer], bool] | None = None) -> Answer:
        """Make a call that may be made again, a few times if need be; `fine` knows refusals that are none."""
        access = self._access
        wait = wait_exponential_jitter(
            multiplier=access.retry_wait, max=access.retry_wait_cap, jitter=access.retry_wait
        )
        retrying = Retrying(
            stop=stop_after_attempt(access.attempts),
            wait=wait,
            retry=retry_if_exception_type(Transient),
            sleep=self._nap,
            reraise=True,
        )
        return retrying(self._once, call, fine)

    def _once(self, call: Call, fine: Callable[[Answer], bool] | None) -> Answer:
        answer = self._send(call)
        problem = classify.problem(answer)
        if problem is not None and not (fine and fine(answer)):
            raise problem
        return answer

    def _send(self, call: Call) -> Answer:
        """Send once, at the pace of the route; a route that stays closed for long is not waited for."""
        wait = self._pacer.wait_secs(call.route)
        if wait > self._access.patience:
            raise RateLimited(f"Vast closed {call.route} for another {wait:.0f} s", retry_after=wait)
        self._pacer.enter(call.route)
        try:
            answer = self._line.send(call)
        finally:
            self._pacer.left(call.route)
        log.debug("%s %s: %d", call.method, call.path, answer.status)
        if closed := classify.limited(answer):
            self._pacer.limited(call.route, closed.retry_after)
            raise closed
        self._pacer.cleared(call.route)
        return answer


def _instance(contract_id: int) -> str:
    return f"/api/v0/instances/{contract_id}/"


def _shown(answer: Answer, contract_id: int) -> Sighting | None:
    """Read the one instance, also out of a list as older servers send it."""
    fields = answer.fields or {}
    if "instances" not in fields:
        raise Transient("Vast's answer has no instance in it")
    found = fields["instances"]
    rows = values.sequence(found)
    if found is None or (rows is not None and not rows):
        return None
    for row in (found,) if rows is None else rows:
        sighting, odd = schemas.sighting(row)
        if sighting is not None and sighting.contract_id == contract_id:
            if odd:
                log.debug("unusable values of %d, taken as unknown: %s", contract_id, ", ".join(sorted(odd)))
            return sighting
    raise Transient(f"Vast's answer is not about contract {contract_id}")


def _known(answer: Answer, template_hash: str) -> bool | None:
    """Look for the template among those sent, for Vast does not apply every filter."""
    if classify.no_templates(answer):
        return False
    rows = values.sequence((answer.fields or {}).get("templates"))
    if rows is None:
        return None
    hashes = [(values.mapping(row) or {}).get("hash_id") for row in rows]
    return template_hash in hashes or (None if hashes else False)
