"""The words and the picture of a pool on a terminal; the command `status` and the demo share them."""

import sys
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from magister.reports import Event, InstanceView, Overview, usd
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

PLAIN_WIDTHS = (5, 9, 9, 12, 22, 8, 7, 8, 0)

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def terminal() -> bool:
    """Say whether stdout leads to a terminal that can be drawn on, whatever FORCE_COLOR says."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def lines(overview: Overview, troubles: tuple[str, ...]) -> Iterator[str]:
    """Write the pool as plain lines; `troubles` is what keeps it from being well."""
    yield headline(overview)
    yield signs(overview)
    yield acts(overview)
    yield "not well:" if troubles else "all is well"
    for trouble in troubles:
        yield f"  {trouble}"
    if overview.instances:
        yield ""
        yield _spread(COLUMNS)
    for view in overview.instances:
        yield _spread(cells(view, overview))
    if overview.events:
        yield ""
    for event in overview.events:
        yield told(event, overview.at)


def drawn(overview: Overview, troubles: tuple[str, ...]) -> RenderableType:
    """Draw the pool in colours; `troubles` is what keeps it from being well."""
    parts: list[RenderableType] = [Text(headline(overview), style="bold")]
    parts += [Text(signs(overview)), Text(acts(overview))]
    if troubles:
        parts.append(Text("\n  ".join(("not well:", *troubles)), style="yellow"))
    else:
        parts.append(Text("all is well", style="green"))
    if overview.instances:
        parts.append(table(overview))
    parts += [painted(event, overview.at) for event in overview.events]
    return Group(*parts)


def table(overview: Overview) -> Table:
    """Draw the instances."""
    drawing = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        drawing.add_column(name, no_wrap=True, overflow="ellipsis")
    for view in overview.instances:
        first, state, *rest = (Text(cell) for cell in cells(view, overview))
        state.stylize(COLORS[view.state])
        drawing.add_row(first, state, *rest)
    return drawing


def headline(overview: Overview) -> str:
    """Say what is kept and what it costs."""
    counts = ", ".join(f"{count} {state}" for state, count in overview.states.items() if count)
    return f"target {overview.target}: {counts or 'nothing rented'}; {usd(overview.cost):.4f} USD/h"


def signs(overview: Overview) -> str:
    """Say what the loop last showed of itself."""
    credit = "unknown" if overview.credit is None else f"{usd(overview.credit):.2f} USD"
    beat, listing = _ago(overview.heartbeat_age_secs), _ago(overview.listing_age_secs)
    return f"credit {credit}; the loop's last sign of life {beat}, last complete listing {listing}"


def acts(overview: Overview) -> str:
    """Say which loop acts."""
    if overview.acting is None:
        return "no loop acts"
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
        _known(view.location),
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
