"""What the loop observes, remembers between steps, and may lose at a restart without harm."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from magister.control.executor import Outcome
from magister.domain.actions import (
    Action,
    Adopt,
    Autopsy,
    CallRoll,
    CheckAccount,
    Destroy,
    List,
    Look,
    Move,
    ReadBill,
    Rent,
    Search,
    Send,
)
from magister.domain.instance import Held
from magister.domain.observed import Foreign, Offer, Route, Stranger
from magister.domain.risk.quarantine import Trial
from magister.domain.risk.reputation import Reputation
from magister.domain.spec import Fleet, View
from magister.errors import Ambiguous, NoCredit, OfferGone, Refused
from magister.planner.budget import objection
from magister.planner.conditions import Failing, Symptoms, UnknownCharges
from magister.planner.provisioning import allowed, offered
from magister.planner.schedule import listing_retry
from magister.store.pool import PoolState, deaf_after, hearing_since


@dataclass(slots=True)
class Memory:
    """Hold the last listing and search, and since when calls have been failing."""

    acting_since: datetime | None = None  # a web process that signed before it says nothing of now
    listed_at: datetime | None = None
    arrived_at: datetime | None = None
    set_aside: dict[int, datetime] = field(default_factory=dict)
    list_failures: int = 0
    list_not_before: datetime | None = None
    strangers: tuple[Stranger, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    offers: tuple[Offer, ...] = ()
    searched_at: datetime | None = None
    account_at: datetime | None = None
    account: int | None = None  # which one answered; None = none did, or Vast did not say
    ours: bool = False  # it is known to be that of our boxes, which it stays for as long as its key
    credit_at: datetime | None = None
    bills_tried_at: datetime | None = None
    bill: Failing | None = None  # since when the charges could not be read; None = they could
    unknown: UnknownCharges | None = None  # None = not read since the last bill
    roster_tried_at: datetime | None = None
    roster_came: bool = False  # one that came before the start tells of another time
    reputation: Reputation = field(default_factory=Reputation)
    judged_at: datetime | None = None  # when the reputation was read
    tried: tuple[Trial, ...] = ()
    tried_until: int | None = None  # the newest move when the trials were read
    renting: Failing | None = None
    unclear: int = 0  # creates in a row without a clear answer
    failing: dict[Route, Failing] = field(default_factory=dict)
    asked: dict[Route, datetime] = field(default_factory=dict)  # calls that have not been answered yet

    def take(self, outcome: Outcome, *, backoff: timedelta) -> None:
        """Take in what came of one call; `backoff` is the first wait after a listing that failed."""
        self._take_health(outcome)
        self.asked.pop(route_of(outcome.action), None)
        match outcome.action:
            case List() if outcome.listing is not None:
                self.listed_at, self.strangers = outcome.listing.begun_at, outcome.strangers
                self.foreign = outcome.foreign
                self.arrived_at, self.ours = outcome.at, True
                self.list_failures, self.list_not_before = 0, None
            case List():
                self.list_failures += 1
                self.list_not_before = outcome.at + listing_retry(self.list_failures, backoff=backoff)
            case Search():
                self.offers, self.searched_at = outcome.offers, outcome.at
            case CheckAccount():
                self.account_at = outcome.at
                if outcome.recognition is not None and outcome.recognition.ours:
                    self.credit_at = outcome.begun_at or outcome.at
                self._take_account(outcome)
            case CallRoll():
                self.roster_tried_at = outcome.at
                self.roster_came = self.roster_came or outcome.error is None
            case ReadBill():
                self.bills_tried_at, self.unknown = outcome.at, None
            case Send() | Destroy() | Autopsy() | Look():
                pass

    def _take_account(self, outcome: Outcome) -> None:
        if outcome.account is None or outcome.recognition is None:
            return
        was, self.account = self.ours, outcome.account.id
        self.ours = outcome.recognition.ours or (was and self.account is None)
        if self.ours and not was:  # what kept listings from being believed is over
            self.list_failures, self.list_not_before = 0, None

    def pass_over(self, action: Rent | Adopt) -> None:
        """Forget the box or the offer that an action failed on, until the next listing or search shows it."""
        if isinstance(action, Rent):
            self.offers = tuple(offer for offer in self.offers if offer.id != action.offer.id)
            return
        contract = action.box.sighting.contract_id
        self.strangers = tuple(s for s in self.strangers if s.sighting.contract_id != contract)

    def view(self, state: PoolState, fleet: Fleet, now: datetime) -> View:
        """Return what the planner may know of this, together with the pool's row."""
        return View(
            listed_at=self.listed_at,
            arrived_at=self.arrived_at,
            set_aside=frozenset(row for row, until in self.set_aside.items() if now < until),
            list_failing=self.list_failures > 0,
            strangers=self.strangers,
            foreign=self.foreign,
            owner=state.owner_id,
            listing_wanted_at=state.listing_wanted_at,
            list_not_before=self.list_not_before,
            offers=self.offers,
            searched_at=self.searched_at,
            search_failing=Route.SEARCH in self.failing,
            rent_not_before=state.rent_not_before,
            account_at=self.account_at,
            account=self.account,
            ours=self.ours,
            credit_at=self.credit_at,
            hearing_since=self._hearing_since(state, fleet, now),
            bills_read_at=state.bills_read_at,
            bills_tried_at=self.bills_tried_at,
            roster_at=state.roster_at if self.roster_came else None,
            roster_tried_at=self.roster_tried_at,
            trusted_at=state.trusted_at,
            credit=state.credit,
            no_credit_at=self._no_credit_at(),
        )

    def _no_credit_at(self) -> datetime | None:
        refused = self.renting is not None and isinstance(self.renting.error, NoCredit)
        return self.renting.since if self.renting is not None and refused else None

    def _hearing_since(self, state: PoolState, fleet: Fleet, now: datetime) -> datetime | None:
        """Return since when workers can be heard: a web process has to sign in since this loop acts."""
        if self.acting_since is not None and (state.heard_at is None or state.heard_at < self.acting_since):
            return None
        return hearing_since(state, now, deaf_after=deaf_after(fleet.beat_timeout))

    def symptoms(self, fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Symptoms:
        """Return what may be wrong; `view` is the one the last plan was made from."""
        matching, quarantined, dear = None, 0, None
        if allowed(fleet, held, view, now) and view.searched_at is not None:
            found = offered(fleet, held, view)
            matching = len(found)
            objections = [objection(fleet, held, view, (offer,), now) for offer in found]
            dear = objections[0] if all(objections) and objections else None
            quarantined = sum(view.quarantines.of(o.machine_id, o.host_id) is not None for o in found)
        return Symptoms(
            failing=dict(self.failing),
            renting=self.renting,
            unclear=self.unclear,
            rent_not_before=view.rent_not_before,
            credit=view.credit,
            unknown=self.unknown or UnknownCharges(),
            foreign=view.foreign,
            matching=matching,
            quarantined=quarantined,
            dear=dear,
            bill=self.bill,
            outlook=view.outlook,
            deaf=view.hearing_since is None,
            listing_from=self.asked.get(Route.LIST),
        )

    def _take_health(self, outcome: Outcome) -> None:
        """Keep since when a route has been failing, and the refusal that the next offer would meet too."""
        route, error = route_of(outcome.action), outcome.error
        if route is Route.CHARGES:  # a refusal counts here: it would be the same tomorrow
            since = outcome.at if self.bill is None else self.bill.since
            self.bill = None if error is None else Failing(since, error)
        if isinstance(outcome.action, Send) and not isinstance(error, OfferGone):
            self.renting = None if error is None else Failing(outcome.at, error)
            self.unclear = self.unclear + 1 if isinstance(error, Ambiguous) else 0
        if error is None or (isinstance(error, Refused) and route is not Route.LIST):
            self.failing.pop(route, None)
            return
        since = self.failing[route].since if route in self.failing else outcome.at
        self.failing[route] = Failing(since, error)


_ROUTES: dict[type[Action], Route] = {
    Rent: Route.CREATE,
    Send: Route.CREATE,
    Destroy: Route.DESTROY,
    Autopsy: Route.LOGS,
    Look: Route.SHOW,
    Search: Route.SEARCH,
    List: Route.LIST,
    CheckAccount: Route.ACCOUNT,
    CallRoll: Route.ROSTER,
    ReadBill: Route.CHARGES,
}


def route_of(action: Action) -> Route:
    """Return the route that an action's call takes; raises KeyError for one that makes no call."""
    return _ROUTES[type(action)]


def fields_of(action: Action) -> dict[str, object]:
    """Return what a log line names of an action."""
    match action:
        case Move():
            return {"instance": action.row.id, "to": str(action.to), "reason": str(action.reason)}
        case Send() | Destroy() | Autopsy() | Look():
            return {"instance": action.row.id, "contract": action.row.contract_id}
        case Rent():
            return {"offer": action.offer.id, "machine": action.offer.machine_id}
        case Adopt():
            return {"contract": action.box.sighting.contract_id, "to": str(action.state)}
        case _:
            return {}
