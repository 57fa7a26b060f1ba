"""Pure: what is wrong with the pool, each in a line, with what would cure it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from magister.domain.instance import Held
from magister.domain.observed import Foreign, Route
from magister.domain.owners import shown
from magister.domain.risk.launch_breaker import Blame, Outlook
from magister.domain.sentences import NAMED, lasting
from magister.domain.spec import Fleet
from magister.domain.times import said
from magister.errors import Ambiguous, BadKey, NoCredit, OtherAccount, Refused, Unreachable, VastError
from magister.money import price
from magister.planner.budget import Objection
from magister.planner.evidence import unexplained
from magister.states import State

DESTROY_ALARM = timedelta(minutes=10)
"""A box that is not proved gone after so long needs a person's look."""


BILL_ALARM = timedelta(hours=3)
"""So long the charges may fail to be read before that is told of: they are of yesterday and before."""


HANGS_AFTER = timedelta(seconds=10)
"""A listing may take so long, however often Vast is listed."""

STATUS_SHOWN = 40
"""Characters shown of a status that nobody knows."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Say in a line what is wrong with the pool and what would cure it."""

    what: str
    cure: str
    kind: str = ""  # what programs tell it by


@dataclass(frozen=True, slots=True)
class Failing:
    """Hold since when every call on a route has failed, and how the last one did."""

    since: datetime
    error: VastError | Unreachable


@dataclass(frozen=True, slots=True)
class UnknownCharges:
    """Count the contracts under our tag that Vast charged for lately and no row knows; in micro-dollars."""

    contracts: int = 0
    micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptoms:
    """Hold what the loop noticed beside the rows."""

    failing: Mapping[Route, Failing]
    renting: Failing | None  # refusals that the next offer would meet as well
    unclear: int = 0  # creates in a row without a clear answer
    rent_not_before: datetime | None
    credit: int | None  # micro-dollars; None = unknown
    matching: int | None  # offers that may be rented, at the last search; None = none was made lately
    quarantined: int = 0  # of these, the ones on machines in quarantine
    dear: Objection | None = None  # why none of these can be afforded
    bill: Failing | None = None  # how Vast's charges cannot be read
    outlook: Outlook = field(default_factory=Outlook)
    unknown: UnknownCharges = field(default_factory=UnknownCharges)
    listing_from: datetime | None = None  # when the listing was asked for that has not come yet
    deaf: bool = False  # no web process is signed in
    held_back: int = 0  # verified instances that look lost and are not given up yet
    foreign: tuple[Foreign, ...] = ()  # what another Magister rented under our label and address
    spared: int = 0  # instances taken over that nobody here hears, and that another Magister may keep


def conditions(
    fleet: Fleet, held: tuple[Held, ...], symptoms: Symptoms, now: datetime
) -> tuple[Condition, ...]:
    """Return what is wrong, the gravest first; empty = all is well."""
    return (
        *_key(symptoms),
        *_account(symptoms),
        *_foreign(symptoms),
        *_taken_over(symptoms),
        *_reach(fleet, symptoms, now),
        *_hearing(symptoms),
        *_credit(symptoms, now),
        *_refusals(symptoms, now),
        *_statuses(held),
        *_losses(fleet, symptoms),
        *_failures(fleet, symptoms, now),
        *_market(fleet, held, symptoms),
        *_budget(symptoms),
        *_above_cap(fleet, held),
        *_quarantine(symptoms),
        *_roster(fleet, held, symptoms, now),
        *_stuck(held, now),
        *_unknown(fleet, symptoms),
        *_bill(symptoms, now),
    )


BREAKERS = frozenset({"rentals_fail", "losses_at_once", "rentals_refused", "rentals_unclear"})
"""The kinds of condition that hold renting or replacing back until a person or the pool itself ends them."""

UNCLEAR = 3
"""So many creates in a row without a clear answer are told of."""

OTHER_ACCOUNT = "other_account"
"""The kind of condition in which the key is of another account than the boxes."""

OTHER_ACTOR = "other_magister"
"""The kind of condition in which another Magister rents under our label and our address."""

NAMED_CONTRACTS = 5
"""So many contracts are named in one condition."""

RESUME = "`magister resume` ends it at once"


def _key(symptoms: Symptoms) -> Iterator[Condition]:
    errors = [failing.error for failing in symptoms.failing.values()]
    errors += [symptoms.renting.error] if symptoms.renting else []
    if any(isinstance(error, BadKey) for error in errors):
        yield Condition(
            "Vast does not accept the API key",
            "set vast_api_key to a key of your account and reload or restart",
            "bad_key",
        )


def _account(symptoms: Symptoms) -> Iterator[Condition]:
    failing = symptoms.failing.get(Route.LIST)
    if failing is not None and isinstance(failing.error, OtherAccount):
        yield Condition(
            str(failing.error),
            "nothing is judged, rented or ended meanwhile: put the former key back and reload or restart; "
            "to leave that account, set number_instances = 0 under its key first; or let go of its boxes by "
            "`magister accept-account`, and they may cost on",
            OTHER_ACCOUNT,
        )


def _foreign(symptoms: Symptoms) -> Iterator[Condition]:
    """Name what another Magister rents, which with the same settings would end what this one keeps."""
    if not symptoms.foreign:
        return
    contracts = sorted(one.contract_id for one in symptoms.foreign)
    named = ", ".join(map(str, contracts[:NAMED_CONTRACTS]))
    more = len(contracts) - NAMED_CONTRACTS
    rest = f" and {more} more" if more > 0 else ""
    owners = sorted({shown(one.owner) for one in symptoms.foreign})
    yield Condition(
        f"another Magister rents under our instance_label and our address (owner {', '.join(owners)}): "
        f"contract{'s' if len(contracts) > 1 else ''} {named}{rest}",
        "nothing is rented meanwhile, and none of these is touched: stop that Magister, or give it another "
        "instance_label or address; then destroy what it leaves at console.vast.ai, or take it in with "
        "`magister adopt CONTRACT`; it ends when no listing shows them without a row",
        OTHER_ACTOR,
    )


def _taken_over(symptoms: Symptoms) -> Iterator[Condition]:
    if symptoms.spared:
        yield Condition(
            f"{symptoms.spared} instances that another database rented are kept although no worker of theirs "
            "calls here: another Magister may keep them",
            "stop this Magister if another one runs with these settings; if none does, see to it that "
            f"workers reach this_magister_addr, or {RESUME}; it ends by itself with the first worker that is "
            "heard, or after an hour while no other Magister is seen to rent",
            "taken_over_unheard",
        )


def _reach(fleet: Fleet, symptoms: Symptoms, now: datetime) -> Iterator[Condition]:
    failing, asked = symptoms.failing.get(Route.LIST), symptoms.listing_from
    if failing is None and asked is not None and now - asked >= max(fleet.listing_every, HANGS_AFTER):
        yield Condition(
            f"Vast has not answered a listing since {said(asked, now)}",
            "nothing is rented or given up meanwhile; it goes on by itself when Vast answers",
            "listings_fail",
        )
    if failing is not None and not isinstance(failing.error, BadKey | OtherAccount):
        yield Condition(
            f"listings from Vast fail since {said(failing.since, now)}: {failing.error}",
            "nothing is rented or given up meanwhile; it goes on by itself when Vast answers again",
            "listings_fail",
        )


def _hearing(symptoms: Symptoms) -> Iterator[Condition]:
    if symptoms.deaf:
        yield Condition(
            "nobody can hear workers: no web process is signed in",
            "start `magister serve`, `magister web` or `gunicorn magister.wsgi:app` on this database, or see "
            "its log; until then nothing is rented and no worker is given up as not heard",
            "nobody_hears",
        )


def _credit(symptoms: Symptoms, now: datetime) -> Iterator[Condition]:
    refused = symptoms.renting is not None and isinstance(symptoms.renting.error, NoCredit)
    if refused and symptoms.credit is not None and symptoms.credit > 0:
        until = symptoms.rent_not_before
        if until is not None and now < until:
            yield Condition(
                "Vast refuses to rent for lack of credit, though the account has "
                f"{symptoms.credit / 1e6:.2f} USD",
                f"look at the billing page of console.vast.ai for a limit; next try at {said(until, now)}, "
                f"at once when the credit grows, or {RESUME}",
                "no_credit",
            )
    elif refused or (symptoms.credit is not None and symptoms.credit <= 0):
        left = "" if symptoms.credit is None else f" ({symptoms.credit / 1e6 + 0.0:.2f} USD)"
        yield Condition(
            f"the Vast account has no credit to rent with{left}",
            "add credit at console.vast.ai; renting goes on by itself",
            "no_credit",
        )


def _refusals(symptoms: Symptoms, now: datetime) -> Iterator[Condition]:
    renting, until = symptoms.renting, symptoms.rent_not_before
    if renting is None or isinstance(renting.error, NoCredit | BadKey):
        return
    if isinstance(renting.error, Ambiguous):
        if symptoms.unclear >= UNCLEAR:
            yield _unclear(renting.error, symptoms, now)
        return
    if until is not None and now < until:
        yield Condition(
            f"Vast refuses to rent: {renting.error}",
            f"check template_hash and [vast_query] with `magister check`; next try at {said(until, now)}, "
            f"or {RESUME}",
            "rentals_refused",
        )


def _unclear(error: VastError, symptoms: Symptoms, now: datetime) -> Condition:
    until = symptoms.rent_not_before
    next_try = f"next try at {said(until, now)}" if until is not None and now < until else "it is tried again"
    return Condition(
        f"the last {symptoms.unclear} attempts to rent got no clear answer: {error}",
        "each keeps its place until listings show whether an instance came of it; check template_hash and "
        f"[vast_query] with `magister check`, and whether Vast is in trouble; {next_try}, or {RESUME}",
        "rentals_unclear",
    )


def _failures(fleet: Fleet, symptoms: Symptoms, now: datetime) -> Iterator[Condition]:
    outlook = symptoms.outlook
    until, tripped = outlook.rent_from(fleet.caution), outlook.tripped(fleet.caution)
    if until is None or not (tripped or now < until):
        return
    bound = "one instance at a time is tried" if tripped else "fewer instances are tried at a time"
    next_try = f", the next not before {said(until, now)}" if now < until else ""
    if outlook.blame is not None and tripped:
        yield _template(outlook.blame, f"{bound}{next_try}")
        return
    if outlook.short_lives:
        yield _short_lives(fleet, outlook, f"{bound}{next_try}", now)
        return
    yield Condition(
        f"the last {outlook.failures} rentals failed: {bound}{next_try}",
        "see in `magister status` how they failed, and whether the template still starts a worker that "
        f"reaches this_magister_addr; one that verifies ends the caution, and {RESUME}",
        "rentals_fail",
    )


def _short_lives(fleet: Fleet, outlook: Outlook, bound: str, now: datetime) -> Condition:
    """Say that workers verify and end soon, and what to check: the template and the network."""
    short_life = lasting(fleet.caution.short_life.total_seconds())
    ends = outlook.trial_ends(fleet.caution)
    if ends is not None and now < ends:
        watched = outlook.waiting(fleet.caution)
        who = "the one that runs now is" if watched == 1 else f"the {watched} that run now are"
        first = "" if watched == 1 else ", the first"
        bound = f"{bound}; {who} watched{first} until {said(ends, now)}"
    some = "" if outlook.short_lives == outlook.failures else f"{outlook.short_lives} of "
    return Condition(
        f"the last {outlook.failures} rentals failed: the workers of {some}these verified, but ended within "
        f"{short_life}; {bound}",
        "see how they ended with `magister history` and `magister why ID`, and check that the worker of the "
        "template keeps running and still reaches Hierophant and this_magister_addr; a worker that lives for "
        f"{short_life} ends the caution, and {RESUME}",
        "rentals_fail",
    )


def _template(blame: Blame, bound: str) -> Condition:
    """Say that it looks like the template: its machines stay in doubt until it works or is changed."""
    words = f": {blame.words}" if blame.words else ""
    kind = str(blame.failure).replace("_", " ")
    return Condition(
        f"the template looks broken: it never worked, and boxes on {blame.hosts} hosts failed alike "
        f"({kind}{words}); {bound}",
        "mend the template or its image and put its new hash into template_hash, or see to it that workers "
        f"reach this_magister_addr; one that verifies ends the caution, and {RESUME}",
        "rentals_fail",
    )


def _statuses(held: tuple[Held, ...]) -> Iterator[Condition]:
    for word in sorted(unexplained(held), key=str):
        many = sum(row.state is State.VERIFIED and row.actual_status == word for row in held)
        what = f"Vast gives no status for any of {many} instances"
        if word is not None:
            what = (
                f"Vast says {word[:STATUS_SHOWN]!r} of {many} instances, a status that Magister does not know"
            )
        yield Condition(
            what,
            "no instance is replaced for that status alone, only when its heartbeat stops or the coordinator "
            "drops it; look at these instances in the console of Vast, and for a newer Magister",
            "unknown_status",
        )


def _losses(fleet: Fleet, symptoms: Symptoms) -> Iterator[Condition]:
    if symptoms.held_back:
        minutes = fleet.caution.loss_window.total_seconds() / 60
        yield Condition(
            f"{symptoms.held_back} verified instances look lost at once: they are kept, and replaced one "
            "at a time to see",
            "look whether Vast or the network is in trouble; it ends when a replacement verifies, when "
            f"they are seen again, or {minutes:g} min after the last loss; {RESUME}",
            "losses_at_once",
        )


def _market(fleet: Fleet, held: tuple[Held, ...], symptoms: Symptoms) -> Iterator[Condition]:
    have = sum(row.wanted for row in held)
    if symptoms.matching is None or have + symptoms.matching >= fleet.target:
        return
    yield Condition(
        f"{have} of {fleet.target} instances, and {symptoms.matching or 'no'} offers that could be rented",
        f"loosen {'[vast_query]' if fleet.max_price is None else '[vast_query], cost_per_hour above all'}; "
        "the market is searched again by itself",
        "too_few_offers",
    )


def _budget(symptoms: Symptoms) -> Iterator[Condition]:
    if symptoms.dear is not None:
        yield Condition(f"nothing more is rented: {symptoms.dear.why}", symptoms.dear.cure, "budget")


def _above_cap(fleet: Fleet, held: tuple[Held, ...]) -> Iterator[Condition]:
    """Name the instances that cost more than an offer may: after a raise, a lower cap, or a false offer."""
    cap = fleet.max_price
    rows = [row for row in held if cap is not None and row.wanted and (row.price or 0) > cap]
    if cap is None or not rows:
        return
    dearest = sorted(rows, key=lambda row: (-(row.price or 0), row.id))
    named = ", ".join(f"#{row.id} at {price(row.price or 0)}" for row in dearest[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    cost = "1 instance costs" if len(rows) == 1 else f"{len(rows)} instances cost"
    yield Condition(
        f"{cost} more than vast_query.cost_per_hour = {price(cap)} USD: {named}{more}",
        "they are kept; drop them, or destroy them in the console of Vast, and cheaper ones are rented, or "
        "raise cost_per_hour; budget.usd_per_hour caps what the whole pool costs",
        "price_above_cap",
    )


def _quarantine(symptoms: Symptoms) -> Iterator[Condition]:
    if symptoms.quarantined and symptoms.quarantined == symptoms.matching:
        yield Condition(
            f"boxes failed lately on every machine that is offered ({symptoms.quarantined}): "
            "one at a time is tried",
            "loosen [vast_query] for more machines, or wait until these are out of quarantine",
            "only_bad_machines",
        )


def _roster(fleet: Fleet, held: tuple[Held, ...], symptoms: Symptoms, now: datetime) -> Iterator[Condition]:
    failing = symptoms.failing.get(Route.ROSTER)
    if failing is not None:
        yield Condition(
            f"Hierophant gives no list of workers since {said(failing.since, now)}: {failing.error}",
            "nothing is concluded from that; check hierophant.url if workers reach it all the same",
            "no_roster",
        )
        return
    blind = [row for row in held if row.state is State.VERIFIED and row.off_roster_since is not None]
    if len(blind) > 1 and all(
        row in blind and now - (row.off_roster_since or now) > fleet.roster_grace
        for row in held
        if row.state is State.VERIFIED
    ):
        yield Condition(
            f"Hierophant lists none of our {len(blind)} verified workers",
            "if Hierophant restarted, one instance without a fresh heartbeat is replaced to see, and the "
            "others without one follow; if the workers work, correct hierophant.url: it leads to another "
            "Hierophant",
            "roster_without_ours",
        )


def _stuck(held: tuple[Held, ...], now: datetime) -> Iterator[Condition]:
    for row in held:
        if row.state is State.DROPPING and now - row.moved_at > DESTROY_ALARM:
            yield Condition(
                f"instance {row.id} (contract {row.contract_id or 'unknown'}) has been on its way out since "
                f"{said(row.moved_at, now)} and may still cost money",
                "it is tried for ever; look at it in the console of Vast",
                "destroy_stuck",
            )


def _unknown(fleet: Fleet, symptoms: Symptoms) -> Iterator[Condition]:
    unknown = symptoms.unknown
    if unknown.contracts:
        yield Condition(
            f"Vast charged {unknown.micros / 1e6:.3f} USD in the last days for {unknown.contracts} boxes "
            f"labelled {fleet.label_tag} that Magister does not know",
            "see `magister cost --bill`; a lost database or another Magister with the same instance_label "
            "explains them, else look for them in the console of Vast",
            "unknown_charges",
        )


def _bill(symptoms: Symptoms, now: datetime) -> Iterator[Condition]:
    """Tell that the charges cannot be read: a refusal at once, a failure once it was not the only one."""
    bill = symptoms.bill
    if bill is None or isinstance(bill.error, BadKey):
        return
    refused = isinstance(bill.error, Refused)
    if refused or now - bill.since >= BILL_ALARM:
        yield Condition(
            f"the charges of Vast cannot be read since {said(bill.since, now)}: {bill.error}",
            "`magister cost` does without, and the budget frees nothing that is set aside for traffic: let "
            "the key read billing (billing_read), or set billing.poll_secs = 0 if this account has no charges"
            if refused
            else "`magister cost` and the budget do without; it is tried again every hour",
            "no_bill",
        )
