"""What can be made to go wrong while the simulator runs.

`when` is `before` (the call has no effect) or `after` (it has, and the caller does not hear so); † marks the
default. Every fault may be limited to a `route`, to `count` calls, to a `probability`, and to `lasts`
simulated seconds.

| name | what the caller sees | parameters |
|---|---|---|
| `hang` | nothing for `secs` real seconds, then a cut (before†) or the answer (after) | secs, when |
| `slow` | nothing for `secs` real seconds; only then the effect and the answer | secs |
| `reset` | a closed connection | when (before†) |
| `hold` | nothing until `POST /sim/release`; held before† the effect or after it | when |
| `status` | `code`: 500, 502, 503†, 504, 408, 409, 425 or any other | code, when (before†) |
| `html` `empty` `plain_text` `truncated` | 200 with an unreadable body | when (after†) |
| `throttle` | 429 in one of Vast's shapes, with `Retry-After` if `secs` is given | secs |
| `bad_key` | 404 `auth_error` | |
| `outage` | every route 503, or a closed connection with `code` 0 | code |
| `no_contract` | create: `success` true without `new_contract`; the box exists | |
| `stopped_box` | create: `success` false with `new_contract`: a stopped box that bills | |
| `offer_gone` | create: 410 `no_such_ask` | |
| `no_credit` | create: refused as if the account had no credit | |
| `short_page` | list: the last row of a page is missing | |
| `wrong_total` | list: `total_instances` is one too high | |
| `duplicate_ids` | list: the first row of a page comes twice | |
| `null_instances` | list: `instances` is null, the total stays | |
| `no_instances` | list: a well-formed page of nothing at all | |
| `deprecated_200` | list: the body of the dead v0 listing under 200 | |
| `listing_refused` | list: 200 with `success` false | |
| `lag_create` | a new box stays out of listings and looks by id for `secs` simulated seconds | secs |
| `lag_destroy` | a destroyed box stays in listings for `secs` simulated seconds | secs |
| `destroy_refused` | destroy: `code` (200†) with `success` false, the box lives on | code |
| `resurrect` | destroy: taken, but the box is back after `secs` simulated seconds | secs |
| `show_null` | look by id: null although the box exists | |
| `empty_market` | search: no offers | |
| `filter_ignored` | search: the condition on `field` is ignored, or without one all of them | field |
| `disk_unpriced` | search: `dph_total` leaves the disk out, other fields of the row tell it | |
| `odd_offer` | search: one offer more, with numbers, dates and texts that fit nowhere | |
| `odd_instance` | list: the first row of a page has such numbers, dates and texts | |
| `logs_refused` | logs: 200 with `success` false | |
| `logs_never` | logs: the place is named, and nothing ever comes there | |
| `logs_giant` | logs: 16 MB, whatever was asked for | |
| `logs_hostile` | logs: control characters, escapes, secrets and broken UTF-8 | |
| `logs_elsewhere` | logs: the place is another server, without TLS | |
"""

import random
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import TypeVar

BODIES = ("html", "empty", "plain_text", "truncated")
TRANSPORT = frozenset({"hang", "slow", "reset", "hold", "status", "throttle", "bad_key", "outage", *BODIES})
LISTING = (
    "short_page",
    "wrong_total",
    "duplicate_ids",
    "null_instances",
    "no_instances",
    "deprecated_200",
    "listing_refused",
)
CREATING = ("no_contract", "stopped_box", "offer_gone", "no_credit", "lag_create")
DESTROYING = ("lag_destroy", "destroy_refused", "resurrect")
LOGS = ("logs_refused", "logs_never", "logs_giant", "logs_hostile", "logs_elsewhere")
SEARCHING = ("empty_market", "filter_ignored", "disk_unpriced", "odd_offer")
NAMES = TRANSPORT.union(LISTING, CREATING, DESTROYING, LOGS, SEARCHING, ("show_null", "odd_instance"))
AFTER = frozenset(BODIES)
CODES = {"destroy_refused": 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Hold one fault as it was set; `count` and `lasts` None mean until it is cleared."""

    name: str
    route: str | None = None
    count: int | None = None
    probability: float = 1.0
    lasts: float | None = None
    secs: float = 0.0
    when: str = "before"
    code: int = 503
    field: str | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"no fault {self.name!r}; there are {', '.join(sorted(NAMES))}")
        if self.when not in ("before", "after"):
            raise ValueError(f"when must be before or after, not {self.when!r}")


def fault_from(value: object) -> Fault:
    """Read a fault from JSON.

    Raises ValueError for unknown names and fields and for values of a wrong type.
    """
    if not isinstance(value, dict):
        raise ValueError("a fault is an object with a name")  # noqa: TRY004 - one error for all that is wrong
    unknown = value.keys() - {field.name for field in fields(Fault)}
    if unknown:
        raise ValueError(f"a fault has no {min(unknown)}")
    name = _read(value, "name", str, "")
    return Fault(
        name=name,
        route=_read(value, "route", str, None),
        count=_read(value, "count", int, None),
        probability=_number(value, "probability", 1.0),
        lasts=None if value.get("lasts") is None else _number(value, "lasts", 0.0),
        secs=_number(value, "secs", 0.0),
        when=_read(value, "when", str, "after" if name in AFTER else "before"),
        code=_read(value, "code", int, CODES.get(name, 503)),
        field=_read(value, "field", str, None),
    )


T = TypeVar("T")
D = TypeVar("D")


def _read(value: dict[str, object], name: str, kind: type[T], default: D) -> T | D:
    given = value.get(name)
    if given is None:
        return default
    if not isinstance(given, kind) or isinstance(given, bool):
        raise ValueError(f"{name} of a fault is a {kind.__name__}")  # noqa: TRY004 - see above
    return given


def _number(value: dict[str, object], name: str, default: float) -> float:
    whole = value.get(name)
    return float(whole) if isinstance(whole, int) else _read(value, name, float, default)


@dataclass(slots=True)
class Active:
    """Hold a fault that is set, the simulated moment it ends (None: never) and how often it has struck."""

    fault: Fault
    until: float | None
    struck: int = 0

    def spent(self, now: float) -> bool:
        """Say whether it strikes no more."""
        over = self.until is not None and now >= self.until
        return over or (self.fault.count is not None and self.struck >= self.fault.count)


class Faults:
    """Keep the faults that are set and decide which one strikes a call."""

    def __init__(self, seed: int = 1) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - reproducible, nothing is secret here
        self._set: list[Active] = []

    def set(self, fault: Fault, now: float = 0.0) -> None:
        """Add a fault at a simulated moment."""
        self._set.append(Active(fault, None if fault.lasts is None else now + fault.lasts))

    def clear(self, name: str | None = None) -> None:
        """Take away all faults, or those of one name."""
        self._set = [active for active in self._set if name is not None and active.fault.name != name]

    def active(self, now: float = 0.0) -> list[dict[str, object]]:
        """Give the faults that are set and how often each has struck."""
        self._expire(now)
        return [asdict(active.fault) | {"struck": active.struck} for active in self._set]

    def strike(self, names: Collection[str], route: str, now: float = 0.0) -> Fault | None:
        """Give the first fault of these names that strikes this call, and count it."""
        self._expire(now)
        for active in self._set:
            fault = active.fault
            if fault.name not in names or fault.route not in (None, route):
                continue
            if fault.probability < 1 and self._rng.random() >= fault.probability:
                continue
            active.struck += 1
            return fault
        return None

    def _expire(self, now: float) -> None:
        self._set = [active for active in self._set if not active.spent(now)]
