"""Pure: why the pool has as many instances as it has, in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from magister.domain.risk.quarantine import Quarantines
from magister.domain.sentences import NAMED, About, Sentence, capital, clock, counted, lasting, spaced
from magister.money import usd
from magister.planner.budget import Cap, Objection
from magister.planner.conditions import Condition
from magister.states import WANTED, Reason, State


@dataclass(frozen=True, slots=True)
class Leaving:
    """Show one instance on its way out."""

    id: int
    contract_id: int | None
    since: datetime
    reason: Reason
    destroys: int


@dataclass(frozen=True, slots=True)
class Banned:
    """Show one ban; `at` None = it stands in the settings."""

    kind: str
    id: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Hold what is known of the pool at a moment; money in micro-dollars, None = not known."""

    now: datetime
    target: int
    unread: int | None = None  # the target of settings that the loop has not read; None = it has
    states: Mapping[State, int]
    conditions: tuple[Condition, ...] = ()
    troubles: tuple[str, ...] = ()  # why nobody keeps the pool; empty = somebody does
    leaving: tuple[Leaving, ...] = ()
    next_try: datetime | None = None  # before that nothing is rented; None or past = at once
    rate: int = 0  # per hour, of all that is billed
    hourly: int | None = None  # the cap on that
    caps: tuple[Cap, ...] = ()
    dearest: int | Objection | None = (
        None  # what one box more may cost per hour, or why it may not; None = any
    )
    credit: int | None = None
    quarantines: Quarantines = field(default_factory=Quarantines)
    bans: tuple[Banned, ...] = ()


def explained(pool: Standing) -> tuple[Sentence, ...]:
    """Tell why the pool has as many instances as it has."""
    return (
        *_counts(pool),
        *_unread(pool),
        *(Sentence(About.POOL, f"The pool is not being kept: {trouble}.") for trouble in pool.troubles),
        *(
            Sentence(About.CONDITION, f"{capital(one.what)}. What helps: {one.cure}.")
            for one in pool.conditions
        ),
        *_next_try(pool),
        *_leaving(pool),
        *_money(pool),
        *_memory(pool),
    )


def _counts(pool: Standing) -> Iterator[Sentence]:
    verified = pool.states.get(State.VERIFIED, 0)
    words = {
        State.REQUESTED: "{} asked for and not confirmed",
        State.CREATED: "{} created, whose workers have not called yet",
        State.DROPPING: "{} on the way out",
    }
    others = [said.format(n) for state, said in words.items() if (n := pool.states.get(state, 0))]
    beside = f"; beside them {', '.join(others)}" if others else ""
    yield Sentence(About.POOL, f"{verified} of {pool.target} instances are verified{beside}.")
    wanted = sum(pool.states.get(state, 0) for state in WANTED)
    if verified >= pool.target:
        yield Sentence(About.POOL, "The pool is full.")
    elif wanted >= pool.target:
        asked = pool.states.get(State.REQUESTED, 0)
        done, until = ("asked for", "Vast confirms them and ") if asked else ("rented", "")
        yield Sentence(About.POOL, f"All the others are {done}: it is full once {until}their workers call.")
    elif not pool.conditions and not pool.troubles:
        missing = pool.target - wanted
        more = "1 more is" if missing == 1 else f"{missing} more are"
        hindered = "" if _waits(pool) else ", and nothing is known to hinder that"
        yield Sentence(About.POOL, f"{more} to be rented{hindered}.")


def _unread(pool: Standing) -> Iterator[Sentence]:
    if pool.unread is not None:
        said = f"The settings say number_instances = {pool.unread}, which the loop that acts has not read"
        yield Sentence(About.POOL, f"{said}: it keeps {pool.target} until the service is reloaded.")


def _waits(pool: Standing) -> bool:
    return pool.next_try is not None and pool.next_try > pool.now


def _next_try(pool: Standing) -> Iterator[Sentence]:
    if pool.next_try is not None and _waits(pool):
        wait = lasting((pool.next_try - pool.now).total_seconds())
        yield Sentence(About.POOL, f"Nothing is rented before {clock(pool.next_try)}, {wait} from now.")


def _leaving(pool: Standing) -> Iterator[Sentence]:
    for one in pool.leaving[:NAMED]:
        contract = "without a known contract" if one.contract_id is None else f"contract {one.contract_id}"
        asked = f"Vast was asked {counted(one.destroys, 'time')}" if one.destroys else "Vast is not asked yet"
        since = lasting((pool.now - one.since).total_seconds())
        said = f"#{one.id} ({contract}) has been on its way out for {since} ({spaced(one.reason)}); {asked}."
        yield Sentence(About.LEAVING, said, one.since)
    if len(pool.leaving) > NAMED:
        yield Sentence(About.LEAVING, f"So are {len(pool.leaving) - NAMED} more.")


def _money(pool: Standing) -> Iterator[Sentence]:
    cap = "" if pool.hourly is None else f", of budget.usd_per_hour = {usd(pool.hourly)}"
    yield Sentence(About.MONEY, f"The pool costs {usd(pool.rate)} USD per hour{cap}.")
    for one in pool.caps:
        until = "" if one.ends is None else f"; it begins anew at {clock(one.ends)}"
        reserved = (
            f", and {usd(one.reserved)} reserved until all that runs is surely gone" if one.reserved else ""
        )
        spent = f"{usd(one.spent)} USD of {one.name} = {usd(one.limit)} are spent{reserved}"
        yield Sentence(About.MONEY, f"{spent}: {usd(one.room)} USD are left{until}.")
    match pool.dearest:
        case Objection(why, cure):
            yield Sentence(About.MONEY, f"No box more has room in the budget: {why}. What helps: {cure}.")
        case int(price):
            yield Sentence(
                About.MONEY,
                f"One box more has room in the budget if it costs {usd(price)} USD per hour or less.",
            )
    if pool.credit is not None:
        lasts = f", enough for {pool.credit / pool.rate:.1f} h" if pool.rate and pool.credit > 0 else ""
        yield Sentence(About.MONEY, f"The credit at Vast is {usd(pool.credit)} USD{lasts}.")


def _memory(pool: Standing) -> Iterator[Sentence]:
    for kind, found in (("machine", pool.quarantines.machines), ("host", pool.quarantines.hosts)):
        longest = sorted(found.items(), key=lambda one: one[1].until, reverse=True)
        for number, quarantine in longest[:NAMED]:
            until = f"until {clock(quarantine.until)}"
            said = f"{kind} {number} is tried last {until}: {quarantine.why}."
            yield Sentence(About.MEMORY, capital(said))
        if len(longest) > NAMED:
            yield Sentence(About.MEMORY, f"So are {len(longest) - NAMED} more {kind}s, for less long.")
    for ban in pool.bans[:NAMED]:
        yield Sentence(About.MEMORY, f"{ban.kind.capitalize()} {ban.id} is banned: {ban.why}.")
    if len(pool.bans) > NAMED:
        yield Sentence(About.MEMORY, f"{len(pool.bans) - NAMED} more are banned: see `magister bans`.")
