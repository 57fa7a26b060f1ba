"""The settings in force, each with its origin, and a test of all that the pool needs; nothing is rented."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import click

from magister.domain.instance import Held
from magister.domain.observed import Account, Offer
from magister.domain.sentences import counted
from magister.domain.spec import Fleet
from magister.errors import BadKey, DatabaseUnusable, OtherAccount, VastError
from magister.money import MICROS_PER_USD
from magister.onstart import script
from magister.planner.ranking import unfit
from magister.service import wiring
from magister.settings import addresses
from magister.settings import spec as wanted
from magister.settings.describe import DEFAULT, Shown
from magister.settings.model import Loaded, Settings, effective, load
from magister.store import account as identity
from magister.store import instances, pool
from magister.store.db import migrations
from magister.store.db.engine import Sessions
from magister.store.db.sqlite import sqlite_file
from magister.vast import Vast

ONE_DAY = 24
"""Hours of rent that a credit should last for."""

COLORS = {"ok": "green", "warn": "yellow", "FAIL": "red"}


class Grade(StrEnum):
    """Say how a test came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"  # the pool would not run


@dataclass(frozen=True, slots=True)
class Kept:
    """Hold what the database has already; `account` None = not known."""

    held: tuple[Held, ...] = ()
    account: int | None = None

    @property
    def wanted(self) -> int:
        """Count the boxes that count towards the target."""
        return sum(row.wanted for row in self.held)


@dataclass(frozen=True, slots=True)
class Finding:
    """Hold what one test found, and what would cure it; "" = nothing has to be cured."""

    grade: Grade
    what: str
    cure: str = ""


def run(config: Path | None, *, everything: bool = False) -> int:
    """Show the settings that are set, or with `everything` all, and the findings as they come.

    Return the exit code. Raises BadSettings.
    """
    loaded = load(config)
    settings = effective(loaded)
    shown = settings if everything else tuple(one for one in settings if one.origin != DEFAULT)
    for line in described(shown):
        click.echo(line)
    if len(shown) < len(settings):
        click.echo(
            f"{len(settings) - len(shown)} more are at their defaults: `magister check --all` shows them"
        )
    click.echo()
    failed = False
    for finding in findings(loaded, wiring.vast(loaded.settings, nap=time.sleep)):
        click.echo(styled(finding))
        failed = failed or finding.grade is Grade.FAIL
    return 1 if failed else 0


def described(settings: tuple[Shown, ...]) -> Iterator[str]:
    """Write the settings in lines, values and origins in columns."""
    name_width = max(len(shown.name) for shown in settings)
    value_width = min(max(len(shown.value) for shown in settings), 40)
    for shown in settings:
        value = shown.value.replace("\n", "\\n")
        yield f"{shown.name:{name_width}}  {value:{value_width}}  {shown.origin}"


def styled(finding: Finding) -> str:
    """Write a finding in a line, with its cure in the next one."""
    grade = click.style(f"{finding.grade:4}", fg=COLORS[finding.grade])
    cure = f"\n      -> {finding.cure}" if finding.cure else ""
    return f"{grade}  {finding.what}{cure}"


def findings(loaded: Loaded, vast: Vast) -> Iterator[Finding]:
    """Test one thing after the other, those that need the network last."""
    settings = loaded.settings
    for warning in loaded.warnings:
        yield Finding(Grade.WARN, warning)
    yield from _onstart(settings)
    yield from _addresses(settings)
    sessions = wiring.database(settings)
    finding, current = _database(settings, sessions)
    yield finding
    kept = _kept(sessions) if current else Kept()
    yield from _keyless(kept)
    yield from _account(settings, vast, kept)


def _onstart(settings: Settings) -> Iterator[Finding]:
    if problems := script.problems(settings):
        yield Finding(Grade.FAIL, problems[0])
        return
    for doubt in script.doubts(settings):
        yield Finding(Grade.WARN, doubt)
    yield Finding(Grade.OK, f"onstart: {script.longest(settings)} of {script.LIMIT} characters")


def _addresses(settings: Settings) -> Iterator[Finding]:
    """Doubt addresses that boxes somewhere in the world cannot reach."""
    ours = urlsplit(settings.this_magister_addr)
    named = {
        "this_magister_addr": (ours.hostname or "", settings.this_magister_addr),
        "hierophant_ip": (settings.hierophant_ip, settings.hierophant_ip),
    }
    for name, (host, shown) in named.items():
        if doubt := addresses.unreachable(host):
            cure = f"set {name} to an address that a rented box can reach"
            yield Finding(Grade.WARN, f"{name} = {shown} {doubt}", cure)
        elif not (name == "this_magister_addr" and addresses.unencrypted(shown, settings.http_port)):
            yield Finding(Grade.OK, f"{name} = {shown} looks reachable from outside")
    if ours.port != settings.http_port:
        yield Finding(
            Grade.WARN,
            f"this_magister_addr names port {ours.port}, but http_port is {settings.http_port}",
            "see that the one is forwarded to the other",
        )


def _database(settings: Settings, sessions: Sessions) -> tuple[Finding, bool]:
    """Look at the database without making one, and say whether it can be read as it is."""
    shown = f"database {settings.database_url_shown}"
    file = sqlite_file(settings.database_url.get_secret_value())
    if file is not None and not file.exists():
        if file.parent.is_dir():
            return Finding(Grade.OK, f"{shown}: does not exist yet; `magister serve` makes it"), False
        cure = "make it, or set database_url"
        return Finding(Grade.FAIL, f"{shown}: there is no folder {file.parent}", cure), False
    try:
        found, needed = migrations.require_usable(sessions), migrations.head()
    except DatabaseUnusable as error:
        return Finding(Grade.FAIL, str(error), "set database_url to one that can be used"), False
    if found == needed:
        return Finding(Grade.OK, f"{shown}: at revision {found} as needed"), True
    said = "is empty" if found is None else f"is at revision {found}, not {needed}"
    return Finding(Grade.OK, f"{shown}: {said}; `magister serve` migrates it"), False


def _keyless(kept: Kept) -> Iterator[Finding]:
    """Doubt instances that whoever reaches the port can verify and drop."""
    if count := sum(row.live and row.keyless for row in kept.held):
        yield Finding(
            Grade.WARN,
            f"{counted(count, 'instance')} without a callback key: whoever reaches http_port can drop them",
            "let a firewall pass workers and the coordinator only; instances rented from now on have keys",
        )


def _kept(sessions: Sessions) -> Kept:
    with sessions.read() as session:
        return Kept(instances.held(session), pool.read(session).account_id)


def _account(settings: Settings, vast: Vast, kept: Kept) -> Iterator[Finding]:
    """Ask Vast; once it does not answer or does not know the key, further questions are of no use."""
    try:
        account = vast.account()
    except VastError as error:
        yield _failed("Vast", error)
        return
    yield _key(settings, account, kept)
    yield from _asked(lambda: _template(settings, vast), "template")
    offers: list[Offer] = []
    yield from _asked(lambda: _offers(settings, vast, kept.wanted, offers), "offers")
    yield _credit(account.credit, settings, offers)


def _key(settings: Settings, account: Account, kept: Kept) -> Finding:
    """Say which account the key is of, and whether the boxes of the pool are on it."""
    if None not in {kept.account, account.id} and account.id != kept.account:
        boxes = identity.at_stake(kept.held, kept.account, account.id)
        if boxes:
            said = str(OtherAccount(boxes=len(boxes), answers=account.id, ours=kept.account))
            cure = (
                "put the former key back, or once Magister runs let go of them with `magister accept-account`"
            )
            return Finding(Grade.FAIL, said, cure)
    name = "" if account.id is None else f", which is of account {account.id}"
    return Finding(Grade.OK, f"Vast at {settings.vast_api_url} accepts the key{name}")


def _asked(ask: Callable[[], Finding], what: str) -> Iterator[Finding]:
    try:
        yield ask()
    except VastError as error:
        yield _failed(what, error)


def _failed(what: str, error: VastError) -> Finding:
    if isinstance(error, BadKey):
        return Finding(Grade.FAIL, f"{what}: the key is not accepted ({error})", "set vast_api_key")
    return Finding(Grade.FAIL, f"{what}: {error}", "check vast_api_url and the network, and try again")


def _template(settings: Settings, vast: Vast) -> Finding:
    name = f"template {settings.template_hash}"
    match vast.template_exists(settings.template_hash):
        case True:
            return Finding(Grade.OK, f"{name} exists")
        case False:
            return Finding(Grade.FAIL, f"{name} is not known to Vast", "set template_hash")
        case None:
            return Finding(Grade.WARN, f"{name}: Vast's answer does not tell whether it exists")


def _offers(settings: Settings, vast: Vast, kept: int, found: list[Offer]) -> Finding:
    """Search as the loop would for an empty pool, and put what may be rented into `found`."""
    fleet = wanted.fleet(settings)
    answered = vast.search(max(fleet.target, 1), lambda offer: unfit(offer, fleet) is None)
    found += (offer for offer in answered if unfit(offer, fleet) is None)
    machines = len({offer.machine_id for offer in found})
    said = (
        f"{len(found)} offers on {machines} machines may be rented, for {max(fleet.target - kept, 0)} wanted"
    )
    said += f" ({kept} of {fleet.target} are kept already)" if kept else ""
    said += _turned_down(answered, fleet)
    cure = "raise vast_query.cost_per_hour or loosen [vast_query]"
    if not found and fleet.target > kept:
        return Finding(Grade.FAIL, said, cure)
    if machines + kept < fleet.target:
        return Finding(Grade.WARN, said, cure)
    return Finding(Grade.OK, said)


def _turned_down(offers: tuple[Offer, ...], fleet: Fleet) -> str:
    reasons = Counter(why for offer in offers if (why := unfit(offer, fleet)) is not None)
    if not reasons:
        return ""
    return f"; {reasons.total()} more are unfit: " + ", ".join(
        f"{why} ({count})" for why, count in reasons.most_common(3)
    )


def _credit(credit: int | None, settings: Settings, offers: list[Offer]) -> Finding:
    """Set the credit against what the cheapest boxes for the whole target cost."""
    cure = "add credit at console.vast.ai"
    if credit is None:
        return Finding(Grade.WARN, "Vast does not say what credit there is")
    said = f"credit {credit / MICROS_PER_USD:.2f} USD"
    prices = sorted(offer.price for offer in offers)[: settings.number_instances]
    if credit <= 0:
        return Finding(Grade.FAIL, said, cure)
    if not prices or not sum(prices):
        return Finding(Grade.OK, said)
    hourly = sum(prices) / len(prices) * settings.number_instances
    hours = credit / hourly
    said += f", enough for about {hours:.0f} h of {settings.number_instances} boxes"
    said += f" at {hourly / MICROS_PER_USD:.3f} USD/h"
    return Finding(Grade.WARN, said, cure) if hours < ONE_DAY else Finding(Grade.OK, said)
