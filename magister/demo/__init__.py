"""The demo: a simulated market and the real service, a story that is told, and a view of it all."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy.exc import DBAPIError

from magister.demo.processes import PartDied, Parts, parts
from magister.demo.scenario import Chapter, Story, story, whole
from magister.demo.view import DemoView, demo_view
from magister.demo.workspace import Place, open_place
from magister.reports import overview as reports
from magister.reports.overview import Event, Overview
from magister.service import wiring
from magister.service.exit import complain
from magister.service.signals import Inbox, inbox
from magister.store.db.engine import Sessions

LOOK_EVERY = 0.25
"""Seconds between two looks at the pool."""

PAUSE = 2.0
"""Seconds for which a whole pool is left to be looked at before the next thing befalls it."""

AGAIN_AFTER = 15.0
"""Seconds after which an incident that showed no effect is made again."""

HISTORY = 1000
"""Moves that are read; the story is made of some forty."""


@dataclass(slots=True, kw_only=True)
class Demo:
    """Hold a demo that is running; moments are monotonic seconds, but `began_at` is the wall clock's."""

    place: Place
    parts: Parts
    sessions: Sessions
    view: DemoView
    began_at: datetime
    before: int  # moves in the history when it began
    boxes: int  # rented when it began
    resumed: bool = False
    whole_since: float | None = None
    struck: dict[str, float] = field(default_factory=dict)

    def look(self) -> Story | None:
        """Look at the pool, show it and let the next thing happen; None = there is nothing to see yet."""
        self.parts.require()
        seen = look(self.place, self.sessions)
        if seen is None:
            return None
        overview, events = seen
        told = story(overview, events)
        self.view.show(overview, told, events)
        if not self._listed(overview):
            return None
        self._welcome_back(overview, events)
        self._go_on(overview, told.current)
        return told

    def _listed(self, overview: Overview) -> bool:
        """Say whether the service has seen the market since this demo began."""
        since = (overview.at - self.began_at).total_seconds()
        return overview.listing_age_secs is not None and overview.listing_age_secs < since

    def _welcome_back(self, overview: Overview, events: tuple[Event, ...]) -> None:
        if self.before and not self.resumed and whole(overview):
            self.resumed = True
            rented = sum(event.from_state is None for event in events[self.before :])
            self.view.note(f"resumed: {self.boxes} boxes known, {rented} rented")

    def _go_on(self, overview: Overview, chapter: Chapter | None) -> None:
        """Let the incident of the chapter befall a pool that has been whole for a while."""
        now = time.monotonic()
        self.whole_since = (self.whole_since or now) if whole(overview) else None
        if chapter is None or chapter.incident is None or self.whole_since is None:
            return
        struck = self.struck.get(chapter.incident, -AGAIN_AFTER)
        if now - self.whole_since >= PAUSE and now - struck >= AGAIN_AFTER:
            self.struck[chapter.incident] = now
            self.view.note(chapter.title)
            self.parts.ask("POST", "/sim/incidents", {"kind": chapter.incident})


def run(directory: Path, *, once: bool, timeout: float) -> int:
    """Tell the story in `directory`, then go on until asked to end, or if `once` end with it.

    Return the exit code: 1 if a process died or, with `once`, the story took longer than `timeout` seconds.
    Raises Unusable.
    """
    deadline = time.monotonic() + timeout if once else None
    with inbox() as box:
        place = open_place(directory)
        try:
            with parts(place) as running:
                return _run(place, running, box, deadline)
        except PartDied as error:
            return complain(error)


def look(place: Place, sessions: Sessions) -> tuple[Overview, tuple[Event, ...]] | None:
    """Read the pool and its history; None = the service has never run here."""
    if not place.database.exists():
        return None
    try:
        with sessions.read() as session:
            overview = reports.overview(session, wiring.now(), last=1)
            if overview.heartbeat_age_secs is None:
                return None
            return overview, reports.history(session, HISTORY)
    except DBAPIError:
        return None


def _run(place: Place, running: Parts, box: Inbox, deadline: float | None) -> int:
    sessions = wiring.database(place.settings)
    seen = look(place, sessions)
    overview, events = seen or (None, ())
    view = demo_view(events)
    try:
        view.greet(_greeting(place))
        running.start_simulator()
        running.start_service()
        demo = Demo(
            place=place,
            parts=running,
            sessions=sessions,
            view=view,
            began_at=wiring.now(),
            before=len(events),
            boxes=0 if overview is None else sum(each.billed for each in overview.instances),
        )
        return _watch(demo, box, deadline)
    finally:
        view.close()
        sessions.engine.dispose()


def _watch(demo: Demo, box: Inbox, deadline: float | None) -> int:
    """Look again and again; return the exit code."""
    told, finished = None, False
    while not box.ending:
        told = demo.look() or told
        if told is not None and told.complete and not finished:
            finished = True
            demo.view.note("the story is told, and every box is verified")
            if deadline is not None:
                return 0
            demo.view.note("the pool is kept until Ctrl-C; started again, the demo goes on from here")
        if deadline is not None and time.monotonic() > deadline:
            missing = told.missing if told is not None else ("the service has not seen the market",)
            click.echo(f"magister: the time is up; still missing: {'; '.join(missing)}", err=True)
            return 1
        box.wait(LOOK_EVERY)
    return 0


def _greeting(place: Place) -> str:
    return (
        f"a simulated market at http://127.0.0.1:{place.ports.vast}, the real service at "
        f"http://127.0.0.1:{place.ports.magister}; state and logs in {place.directory}; Ctrl-C ends it"
    )
