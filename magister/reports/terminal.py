"""The words and the picture of a pool on a terminal; the command `status` and the demo share them."""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from magister.money import price, total
from magister.reports.dashboard import Dashboard
from magister.reports.overview import Event, InstanceView, Overview, usd
from magister.states import LOOP, State

COLORS = {
    State.REQUESTED: "cyan",
    State.CREATED: "blue",
    State.VERIFIED: "green",
    State.DROPPING: "yellow",
    State.DESTROYED: "red",
}

COLUMNS = ("", "state", "contract", "gpu", "location", "machine", "USD/h", "for", "last move")
"""What is shown of an instance; `cells` fills them."""

SPARE = ("contract", "location", "machine", "gpu")
"""Columns that a narrow terminal goes without, the first one first; a number that is cut short would lie."""

ROOM = 24
"""Characters that are kept for the last move."""

PLAIN_WIDTHS = (5, 9, 9, 12, 22, 8, 7, 8, 0)

LAST_MOVES = "last moves (UTC)"

_GAP = 2
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def terminal() -> bool:
    """Say whether stdout leads to a terminal that can be drawn on, whatever FORCE_COLOR says."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def lines(seen: Dashboard, troubles: tuple[str, ...]) -> Iterator[str]:
    """Write the pool as plain lines; `troubles` is what keeps it from being well."""
    overview = seen.overview
    yield headline(overview)
    yield spendings(seen)
    yield signs(seen)
    yield acts(overview)
    yield "not well:" if troubles else "all is well"
    yield from (f"  {trouble}" for trouble in troubles)
    yield from doubtful(seen)
    if overview.instances:
        yield ""
        yield _spread(COLUMNS)
    for view in overview.instances:
        yield _spread(cells(view, overview))
    if overview.events:
        yield ""
        yield LAST_MOVES
    for event in overview.events:
        yield told(event, overview.at)


def drawn(seen: Dashboard, troubles: tuple[str, ...], width: int) -> RenderableType:
    """Draw the pool in colours, `width` characters wide; `troubles` is what keeps it from being well."""
    overview = seen.overview
    parts: list[RenderableType] = [Text(headline(overview), style="bold")]
    parts += [Text(spendings(seen)), Text(signs(seen)), Text(acts(overview))]
    if troubles:
        parts.append(Text("\n  ".join(("not well:", *troubles)), style="yellow"))
    else:
        parts.append(Text("all is well", style="green"))
    parts += [Text(line, style="yellow") for line in doubtful(seen)]
    if overview.instances:
        parts += [Text(), table(overview, width)]
    if overview.events:
        parts += [Text(), Text(LAST_MOVES, style="dim")]
    parts += [painted(event, overview.at) for event in overview.events]
    return Group(*parts)


def table(overview: Overview, width: int) -> Table:
    """Draw the instances, each in one line of at most `width` characters."""
    told = [cells(view, overview) for view in overview.instances]
    kept = fitting(COLUMNS, [(*cell[:-1], cell[-1][:ROOM]) for cell in told], width=width, spare=SPARE)
    drawing = Table(box=None, pad_edge=False, header_style="dim")
    for index in kept:
        last = index == len(COLUMNS) - 1
        drawing.add_column(
            COLUMNS[index],
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if last else max(len(line[index]) for line in (COLUMNS, *told)),
        )
    for view, line in zip(overview.instances, told, strict=True):
        painted_line = [Text(cell) for cell in line]
        painted_line[1].stylize(COLORS[view.state])
        drawing.add_row(*(painted_line[index] for index in kept))
    return drawing


def fitting(
    names: Sequence[str], lines: Sequence[Sequence[str]], *, width: int, spare: Sequence[str]
) -> tuple[int, ...]:
    """Return the columns that stay when those in `spare` go, one by one, until a table fits into `width`."""
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    kept = list(range(len(names)))
    for name in spare:
        if sum(widths[index] for index in kept) + _GAP * (len(kept) - 1) <= width:
            break
        kept.remove(names.index(name))
    return tuple(kept)


def headline(overview: Overview) -> str:
    """Say what is kept and what it costs."""
    counts = ", ".join(f"{count} {state}" for state, count in overview.states.items() if count)
    return f"target {overview.target}: {counts or 'nothing rented'}; {usd(overview.cost):.4f} USD/h"


def spendings(seen: Dashboard) -> str:
    """Say what was spent, and what the caps leave of it."""
    caps = {cap.name.rpartition("_")[2]: f" of {total(cap.limit)}" for cap in seen.caps}
    spent, hourly = seen.spent, seen.work.hourly
    sums = (
        f"spent {total(spent.day)}{caps.get('day', '')} USD today",
        f"{total(spent.month)}{caps.get('month', '')} this month",
        f"{total(spent.total)}{caps.get('total', '')} in all (UTC)",
    )
    worked = "" if hourly is None else f"; {price(hourly)} USD a verified hour"
    most = f"; at most{caps['hour'].removeprefix(' of')} USD/h allowed" if "hour" in caps else ""
    return ", ".join(sums) + worked + most


def signs(seen: Dashboard) -> str:
    """Say what the loop last showed of itself, and how long the credit lasts."""
    overview = seen.overview
    credit = "unknown" if overview.credit is None else f"{usd(overview.credit):.2f} USD"
    lasts = "" if seen.runway is None else f", enough for {seen.runway:.1f} h"
    beat, listing = _ago(overview.heartbeat_age_secs), _ago(overview.listing_age_secs)
    return f"credit {credit}{lasts}; the loop's last sign of life {beat}, last complete listing {listing}"


def doubtful(seen: Dashboard) -> Iterator[str]:
    """Say which instances are suspicious, and why."""
    if seen.doubts:
        yield "doubtful:"
    for instance, said in seen.doubts.items():
        yield f"  #{instance}: {'; '.join(said)}"


def acts(overview: Overview) -> str:
    """Say which loop acts."""
    if overview.acting is None:
        return "no loop acts: `magister serve` starts one"
    where = "this machine" if overview.acting.here else f"{overview.acting.host}, and this machine stands by"
    return f"the loop that acts is process {overview.acting.pid} on {where}"


def cells(view: InstanceView, overview: Overview) -> tuple[str, ...]:
    """Return what is shown of one instance, in the order of COLUMNS."""
    gpus = f"{view.num_gpus}x " if view.num_gpus and view.num_gpus > 1 else ""
    return (
        f"#{view.id}",
        view.state,
        _known(view.instance_id),
        gpus + _known(view.gpu),
        (view.location or "").strip(" ,") or "-",
        _known(view.machine_id),
        "-" if view.price is None else f"{usd(view.price):.4f}",
        span((overview.at - view.moved_at).total_seconds()),
        view.why or view.reason,
    )


def told(event: Event, now: datetime | None = None) -> str:
    """Tell one move in a line, with the date unless it is that of `now`; None = it just happened."""
    return f"{_moment(event.at, now)}  {_what(event)}  {event.reason}: {_why(event)}"


def painted(event: Event, now: datetime | None = None) -> Text:
    """Tell one move in a line of colours, with the date unless it is that of `now`."""
    return Text.assemble(
        (f"{_moment(event.at, now)}  ", "dim"),
        (_what(event), COLORS[event.to_state]),
        f"  {event.reason}: {_why(event)}",
        no_wrap=True,
        overflow="ellipsis",
    )


def span(secs: float) -> str:
    """Write a span of time in its two largest units."""
    whole = max(int(secs), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _moment(at: datetime, now: datetime | None) -> str:
    return f"{at:%H:%M:%S}" if now is None or at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S}"


def _what(event: Event) -> str:
    came_from = "new" if event.from_state is None else event.from_state
    return f"#{event.instance:<3} {came_from} -> {event.to_state}"


def _why(event: Event) -> str:
    return event.detail if event.actor == LOOP else f"{event.detail} (by {event.actor})"


def _ago(secs: float | None) -> str:
    return "never" if secs is None else f"{span(secs)} ago"


def _known(value: object) -> str:
    return "-" if value is None else str(value)


def _spread(parts: tuple[str, ...]) -> str:
    return "  ".join(part.ljust(width) for part, width in zip(parts, PLAIN_WIDTHS, strict=True)).rstrip()
