"""What was spent and what happened, read from the database: for people, or as JSON."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from magister.domain.risk.quarantine import Quarantine
from magister.domain.sentences import clock
from magister.errors import BadUsage
from magister.reports import json as jsonable
from magister.reports import overview, statements, terminal
from magister.reports.overview import usd
from magister.reports.statements import Wish
from magister.service import wiring
from magister.settings import spec
from magister.settings.model import Settings, load
from magister.store import machines as records
from magister.store.accounting import invoice
from magister.store.db.migrations import existing
from magister.store.machines import MachineRecord

HOUR = 3600.0
STILL = "still in the pool"
SPARE = ("host", "to verify", "idle", "rentals")
"""Columns of machines that a narrow terminal goes without, the first one first."""


def cost(config: Path | None, *, first: str | None, last: str | None, by: str | None, as_json: bool) -> None:
    """Show what was spent. Raises Unusable, or UsageError for a day or a kind that is none."""
    now = wiring.now()
    asked = _wish(now, first=first, last=last, by=by)
    with _reading(load(config).settings) as session:
        told = statements.statement(session, asked, now)
    if as_json:
        _write(statements.jsonable(told))
        return
    name = asked.by.value
    unknown = STILL if name == "reason" else "unknown"
    lines = [
        (
            unknown if line.key is None else str(line.key),
            f"{usd(line.micros):.4f}",
            f"{usd(line.traffic):.4f}",
        )
        for line in told.costs
    ]
    click.echo(
        f"{asked.first} to {asked.last} (UTC): {usd(told.micros):.4f} USD, and for traffic "
        f"{usd(told.traffic):.4f} USD, estimated"
    )
    if lines:
        _table((name, "USD", "traffic"), lines, numbers={1, 2})


def bill(config: Path | None, *, first: str | None, last: str | None, as_json: bool) -> None:
    """Hold the estimate against what Vast charged. Raises Unusable, or UsageError for a day that is none."""
    now = wiring.now()
    asked = _wish(now, first=first, last=last, by=None)
    with _reading(load(config).settings) as session:
        told = invoice.reconcile(session, asked.first, asked.last, now)
    if as_json:
        _write(statements.bill_jsonable(told))
        return
    if told.first is None:
        click.echo(
            "no charges of these days are known: they are read once a day, and of no day before the first one"
            " that was charged; billing.poll_secs = 0 switches that off"
        )
        return
    click.echo(
        f"{told.first} to {told.last} (UTC): estimated {usd(told.estimated):.3f} USD, billed "
        f"{usd(told.billed):.3f} USD; and for traffic estimated "
        f"{usd(told.estimated_traffic):.3f} USD, billed {usd(told.billed_traffic):.3f} USD"
    )
    unknown = told.unknown
    if unknown.contracts:
        click.echo(f"charged for {unknown.contracts} boxes nobody here knows: {usd(unknown.micros):.3f} USD")
    lines = [
        (
            "unknown" if line.instance is None else f"#{line.instance}",
            str(line.contract_id),
            *(
                f"{usd(micros):.3f}"
                for micros in (line.estimated, line.billed, line.estimated_traffic, line.billed_traffic)
            ),
        )
        for line in told.lines
    ]
    names = ("", "contract", "estimated", "billed", "traffic estimated", "billed")
    _table(names, lines, numbers={2, 3, 4, 5})


def history(
    config: Path | None, *, instance: int | None, since: str | None, limit: int, as_json: bool
) -> None:
    """Tell what happened. Raises Unusable, or UsageError for a moment that is none."""
    moment = None if since is None else _moment(since)
    with _reading(load(config).settings) as session:
        events = overview.history(session, limit, moment, instance)
        if instance is not None and not (events or overview.history(session, 1, None, instance)):
            raise BadUsage(f"there is no instance #{instance}: `magister history` and `status` name them")
    if as_json:
        _write([jsonable.event(event) for event in events])
        return
    if not events:
        click.echo(
            "nothing has happened" if moment is None else f"nothing has happened since {clock(moment)}"
        )
    console = Console() if terminal.terminal() else None
    day = None
    for event in events:
        if event.at.date() != day:
            day = event.at.date()
            click.echo(f"{day} (UTC)")
        if console is None:
            click.echo(terminal.told(event))
        else:
            console.print(terminal.painted(event))


def machines(config: Path | None, *, limit: int, as_json: bool) -> None:
    """Show what machines did for us. Raises Unusable."""
    now, settings = wiring.now(), load(config).settings
    with _reading(settings) as session:
        found = records.machines(session, limit)
        held = records.quarantined(session, spec.caution(settings), now, template_hash=settings.template_hash)
    beside = [(machine, held.of(machine.machine_id, machine.host_id)) for machine in found]
    if as_json:
        _write([_record(machine, quarantine) for machine, quarantine in beside])
        return
    if not found:
        click.echo("no machine was rented yet")
        return
    names = (
        "machine",
        "host",
        "gpu",
        "rentals",
        "verified",
        "to verify",
        "failures",
        "worked",
        "idle",
        "USD",
        "tried last",
    )
    _table(names, [_cells(*one) for one in beside], numbers={3, 4, 5, 7, 8, 9}, spare=SPARE)


def _wish(now: datetime, *, first: str | None, last: str | None, by: str | None) -> Wish:
    try:
        return statements.wish(now, first=first, last=last, by=by)
    except ValueError as error:
        raise click.UsageError(f"--{error}.") from None


@contextmanager
def _reading(settings: Settings) -> Iterator[Session]:
    url = settings.database_url.get_secret_value()
    with existing(url, busy_timeout=settings.web.busy_timeout_secs) as sessions, sessions.read() as session:
        yield session


def _moment(text: str) -> datetime:
    """Read a moment, in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        words = "--since must be a day or a moment such as 2026-11-24 or 2026-11-24T12:00."
        raise click.UsageError(words) from None


def _record(machine: MachineRecord, quarantine: Quarantine | None) -> dict[str, object]:
    told = asdict(machine)
    told["usd"] = usd(told.pop("micros"))
    told["quarantine_until"] = None if quarantine is None else jsonable.moment(quarantine.until)
    told["quarantine_why"] = None if quarantine is None else quarantine.why
    return told


def _cells(machine: MachineRecord, quarantine: Quarantine | None) -> tuple[str, ...]:
    told = {kind.replace("_", " "): count for kind, count in machine.failures.items()}
    told |= {"excused": machine.excused} if machine.excused else {}
    waited = machine.mean_seconds_to_verify
    return (
        str(machine.machine_id),
        "-" if machine.host_id is None else str(machine.host_id),
        machine.gpu_name or "-",
        str(machine.rentals),
        str(machine.verified),
        "-" if waited is None else terminal.span(waited),
        ", ".join(f"{count} {kind}" for kind, count in told.items()) or "-",
        f"{machine.worked_seconds / HOUR:.1f} h",
        f"{machine.idle_seconds / HOUR:.1f} h",
        f"{usd(machine.micros):.4f}",
        "-" if quarantine is None else f"until {quarantine.until:%Y-%m-%d %H:%M} UTC: {quarantine.why}",
    )


def _table(
    names: Sequence[str], lines: Sequence[Sequence[str]], *, numbers: set[int], spare: Sequence[str] = ()
) -> None:
    """Draw a table on a terminal, without what is `spare` if that is narrow; write all of it into a pipe."""
    if terminal.terminal():
        drawing = Table(box=None, pad_edge=False, header_style="dim")
        console = Console()
        kept = terminal.fitting(names, lines, width=console.width, spare=spare)
        for index in kept:
            number = index in numbers
            drawing.add_column(names[index], justify="right" if number else "left", no_wrap=number)
        for line in lines:
            drawing.add_row(*(Text(line[index]) for index in kept))
        console.print(drawing)
        return
    rows = [tuple(names), *(tuple(line) for line in lines)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def _write(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
