"""A scriptable Vast for unit tests: it keeps boxes in a dictionary and does what the test says next."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from magister.domain.observed import Account, Charge, Listing, Offer, Order, Roster, Route, Sighting
from magister.vast import offers as market

Fault = BaseException | Callable[[], BaseException]


@dataclass
class FakeClock:
    """A clock that only the test moves."""

    now: datetime = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    mono: float = 1000.0

    def wall(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        self.mono += seconds
        return self.now


@dataclass
class FakeHierophant:
    """List the workers that the test puts there, by drop address, or fail as it says."""

    clock: FakeClock
    living: set[str] = field(default_factory=set)
    dead: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    error: Exception | None = None

    def roster(self) -> Roster:
        if self.error is not None:
            raise self.error
        return Roster(self.clock.now, frozenset(self.living), dict(self.dead), self.unread)


def a_page(offers: list[Offer], start: market.Start | None) -> market.Page:
    """Return as many offers as Vast gives to one search, the cheapest from `start` on."""
    found = [offer for offer in offers if start is None or _after(offer, start)]
    page = tuple(found[: market.CAP])
    return market.Page(page, len(page) == market.CAP, {offer.id: offer.price / 1e6 for offer in page})


def _after(offer: Offer, start: market.Start) -> bool:
    price = offer.price / 1e6
    return offer.id not in start.seen and (price > start.price if start.beyond else price >= start.price)


@dataclass
class FakeVast:
    """Answer as Vast would, or as scripted: `before` fails a call undone, `after` does it and then fails."""

    clock: FakeClock = field(default_factory=FakeClock)
    offers: list[Offer] = field(default_factory=list)
    boxes: dict[int, Sighting] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)  # boxes that listings do not show
    lag: float = 0.0  # seconds for which listings do not show a new box
    credit: int | None = 50_000_000
    account_id: int | None = 4242  # of the key in use; None = Vast does not say
    elsewhere: dict[str, dict[int, Sighting]] = field(default_factory=dict)  # the boxes of the other keys
    key: str = "the key"
    charged: dict[date, list[Charge]] = field(default_factory=dict)
    status: str | None = "running"
    boundary: Callable[[str], None] = lambda name: None  # called before each request and after each effect
    logged: dict[int, str] = field(default_factory=dict)  # what the logs of a box say
    calls: list[tuple[str, object]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    created: list[int] = field(default_factory=list)
    closed: dict[Route, float] = field(default_factory=dict)
    _before: dict[str, deque[Fault]] = field(default_factory=dict)
    _after: dict[str, deque[Fault]] = field(default_factory=dict)
    _next_contract: int = 70_000

    def before(self, call: str, *faults: Fault) -> None:
        """Fail the next calls of this name without doing them."""
        self._before.setdefault(call, deque()).extend(faults)

    def after(self, call: str, *faults: Fault) -> None:
        """Do the next calls of this name, then fail them."""
        self._after.setdefault(call, deque()).extend(faults)

    def before_nothing(self) -> None:
        """Forget every fault that was still to come."""
        self._before.clear()
        self._after.clear()

    def use(self, key: str, account_id: int | None) -> None:
        """Be asked under another key from now on, whose account shows its own boxes and no other's."""
        self.elsewhere[self.key] = self.boxes
        self.key, self.account_id = key, account_id
        self.boxes = self.elsewhere.pop(key, {})

    def lose(self, contract_id: int) -> None:
        """Delete a box in the web console."""
        del self.boxes[contract_id]

    def change(self, contract_id: int, **facts: object) -> None:
        """Change what Vast says of a box."""
        box = self.boxes[contract_id]
        self.boxes[contract_id] = replace(box, **facts)  # type: ignore[arg-type] # names are Sighting's

    def named(self, call: str) -> list[object]:
        """Return the arguments of the calls of one name."""
        return [argument for name, argument in self.calls if name == call]

    def listing(self, now: datetime) -> Listing:
        self._note("listing", now)
        self._fail(self._before, "listing")
        shown = tuple(box for number, box in sorted(self.boxes.items()) if self._shown(number, box))
        return Listing(now, shown)

    def search(self, machines: int, fit: Callable[[Offer], bool]) -> tuple[Offer, ...]:
        self._note("search", machines)
        self._fail(self._before, "search")
        taken = {box.machine_id for box in self.boxes.values()}
        free = sorted((o for o in self.offers if o.machine_id not in taken), key=lambda offer: offer.price)
        return market.offers(lambda start: a_page(free, start), machines, fit)

    def create(self, offer_id: int, order: Order) -> int:
        self._note("create", offer_id)
        self.orders.append(order)
        self._fail(self._before, "create")
        self._next_contract += 1
        offer = next((o for o in self.offers if o.id == offer_id), None)
        self.boxes[self._next_contract] = Sighting(
            contract_id=self._next_contract,
            label=order.label,
            onstart=order.onstart,
            actual_status=self.status,
            intended_status="running",
            machine_id=offer.machine_id if offer else None,
            price=offer.price if offer else None,
            disk_price=offer.disk_price if offer else None,
            start_date=self.clock.now,
        )
        self.created.append(self._next_contract)
        self.boundary("created")
        self._fail(self._after, "create")
        return self._next_contract

    def destroy(self, contract_id: int) -> None:
        self._note("destroy", contract_id)
        self._fail(self._before, "destroy")
        self.boxes.pop(contract_id, None)
        self.boundary("destroyed")
        self._fail(self._after, "destroy")

    def show(self, contract_id: int) -> Sighting | None:
        self._note("show", contract_id)
        self._fail(self._before, "show")
        return self.boxes.get(contract_id)

    def logs(self, contract_id: int, *, within: float) -> str:
        self._note("logs", contract_id)
        self._fail(self._before, "logs")
        return self.logged.get(contract_id, "")

    def account(self) -> Account:
        self._note("account", None)
        self._fail(self._before, "account")
        return Account(self.credit, self.account_id)

    def charges(self, day: date) -> tuple[Charge, ...]:
        self._note("charges", day)
        self._fail(self._before, "charges")
        return tuple(self.charged.get(day, ()))

    def template_exists(self, template_hash: str) -> bool | None:
        self._note("template", template_hash)
        return True

    def wait_secs(self, route: Route) -> float:
        return self.closed.get(route, 0.0)

    def live_labels(self) -> list[str | None]:
        """Return the label of each box, sorted: doubles stand out."""
        return sorted((box.label for box in self.boxes.values()), key=str)

    def stock(self, offers: Iterable[Offer]) -> None:
        """Put offers on the market."""
        self.offers.extend(offers)

    def _shown(self, number: int, box: Sighting) -> bool:
        age = (self.clock.now - box.start_date).total_seconds() if box.start_date else self.lag
        return number not in self.hidden and age >= self.lag

    def _note(self, call: str, argument: object) -> None:
        self.boundary(call)
        self.calls.append((call, argument))

    def _fail(self, script: dict[str, deque[Fault]], call: str) -> None:
        faults = script.get(call)
        if faults:
            fault = faults.popleft()
            # a traceback would grow with each time that one error is raised
            raise (fault if isinstance(fault, BaseException) else fault()).with_traceback(None)
