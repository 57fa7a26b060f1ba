"""What a demo shows: a picture that moves on a terminal, a line for each event elsewhere."""

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from magister.demo.scenario import CHAPTERS, Stage, Story
from magister.reports import terminal
from magister.reports.overview import Event, Overview

EVENTS = 10
"""Moves shown below the picture."""

NOTES = 3
"""Remarks shown below it."""

MARKS = {Stage.DONE: ("done  ", "green"), Stage.NOW: ("now   ", "bold"), Stage.AHEAD: ("      ", "dim")}

Identity = tuple[datetime, int, str, str]


class DemoView(Protocol):
    """Show a demo; `note` says something beside the picture."""

    def greet(self, text: str) -> None:
        """Say something that stays to be seen."""

    def note(self, text: str) -> None:
        """Say something in a line."""

    def show(self, overview: Overview, story: Story, events: tuple[Event, ...]) -> None:
        """Show the pool as it is and what has happened since the last time."""

    def close(self) -> None:
        """Leave the terminal in order."""


class PlainView:
    """Write a line for each event, for pipes and plain terminals; no control codes."""

    def __init__(self) -> None:
        """Know no events yet."""
        self._known: set[Identity] = set()
        self._headline = ""

    def greet(self, text: str) -> None:
        """Write a line that is not a move."""
        self._write(f"-- {text}")

    def note(self, text: str) -> None:
        """Write a line that is not a move."""
        self._write(f"-- {text}")

    def show(self, overview: Overview, story: Story, events: tuple[Event, ...]) -> None:
        """Write the moves that are new, and the headline when it says something else."""
        for event in events:
            if _identity(event) not in self._known:
                self._known.add(_identity(event))
                self._write(terminal.told(event))
        headline = terminal.headline(overview)
        if headline != self._headline:
            self._headline = headline
            self._write(headline)

    def known(self, events: Iterable[Event]) -> None:
        """Take events for told."""
        self._known.update(map(_identity, events))

    def close(self) -> None:
        """Do nothing: every line is complete."""

    def _write(self, line: str) -> None:
        click.echo(line)
        sys.stdout.flush()


class LiveView:
    """Draw the pool again and again in place."""

    def __init__(self, console: Console) -> None:
        """Take the terminal over until `close`."""
        self._picture: tuple[RenderableType, ...] = (Text("starting ..."),)
        self._notes: tuple[str, ...] = ()
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()
        self._draw()

    def greet(self, text: str) -> None:
        """Write above the picture."""
        self._live.console.print(Text(text))

    def note(self, text: str) -> None:
        """Keep a remark below the picture."""
        self._notes = (*self._notes, text)[-NOTES:]
        self._draw()

    def show(self, overview: Overview, story: Story, events: tuple[Event, ...]) -> None:
        """Draw everything anew."""
        chapters: list[RenderableType] = []
        for chapter, stage in zip(CHAPTERS, story.stages, strict=True):
            mark, style = MARKS[stage]
            chapters.append(_line(f"{mark}{chapter.title}", style))
        self._picture = (
            Text(terminal.headline(overview), style="bold"),
            terminal.table(overview, self._live.console.width),
            Text(),
            *chapters,
            Text(),
            *(terminal.painted(event) for event in events[-EVENTS:]),
        )
        self._draw()

    def close(self) -> None:
        """Leave the last picture where it is."""
        self._live.stop()

    def _draw(self) -> None:
        notes = (_line(f"-- {note}", "magenta") for note in self._notes)
        self._live.update(Group(*self._picture, *notes), refresh=True)


def demo_view(known: Iterable[Event]) -> DemoView:
    """Return the view that fits where stdout leads; `known` are events that need not be told again."""
    if terminal.terminal():
        return LiveView(Console())
    view = PlainView()
    view.known(known)
    return view


def _identity(event: Event) -> Identity:
    """Tell a move from others by what never changes: its contract may become known later."""
    return event.at, event.instance, event.to_state, event.reason


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
