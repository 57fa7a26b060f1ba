"""The pool and the life of a box as pages for people: HTML with nothing from elsewhere, and no cookies."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from flask import Response, render_template, request

from magister.domain.sentences import About, capital, lasting, spaced
from magister.domain.spec import Fleet
from magister.money import price, total
from magister.planner.budget import Cap
from magister.planner.conditions import Condition
from magister.reports import readiness
from magister.reports.dashboard import LATELY, Dashboard, dashboard
from magister.reports.instance_story import Life, told
from magister.reports.overview import Event, InstanceView
from magister.reports.pool_story import explained
from magister.states import LOOP, State
from magister.web.drops.queue import KeptDrops
from magister.web.transactions import Store

HTML = "text/html"
JSON = "application/json"

LOST = 10
"""Boxes shown of those that left the pool."""

TEMPLATES = Path(__file__).parent / "templates"

TONES = {State.VERIFIED: "good", State.CREATED: "busy", State.REQUESTED: "busy", State.DROPPING: "warn"}
HEADINGS = {
    About.CHOICE: "Why it was chosen",
    About.LIFE: "What it did",
    About.COST: "What it cost",
    About.END: "Why it went, or stays",
    About.AUTOPSY: "How it failed",
}
ORDER = (State.DROPPING, State.REQUESTED, State.CREATED, State.VERIFIED, State.DESTROYED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Show one figure; `share` is how much of a cap or a target is reached, from 0 to 1, None = of none."""

    name: str
    figure: str
    unit: str = "USD"
    share: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wrong:
    """Show what is wrong, and what would cure it, "" = not known; `grave` = the pool is not being kept."""

    what: str
    cure: str
    grave: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Show one instance in a line of the table."""

    id: int
    state: str
    tone: str
    gpu: str
    location: str
    machine: str
    contract: str
    price: str
    cost: str
    span: str
    why: str
    waits: str  # for what, "" = for nothing
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Hold what the pages need."""

    store: Store
    fleet: Fleet
    stale_after: timedelta
    kept: KeptDrops
    css: str
    js: str

    def pool(self) -> Response:
        """Show the pool: whether it is full, what it costs, what is wrong, and which boxes are suspicious."""
        now = self.store.clock()
        seen = self.store.read(
            lambda session: dashboard(session, self.fleet, now, self.stale_after, last=0, lost=LOST)
        )
        ready = seen.readiness
        if readiness.late(ready, self.stale_after):
            ready = readiness.obstructed(ready, self.store.obstacle())
        conditions = (*seen.overview.conditions, *self.kept.conditions())
        wrong, boxes = tuple(_wrong(seen, ready.why, conditions)), _boxes(seen)
        page = render_template(
            "pool.html",
            css=self.css,
            js=self.js,
            at=now,
            listed=_listed(seen),
            verified=seen.overview.states[State.VERIFIED],
            target=seen.overview.target,
            tone=_tone(seen, wrong),
            verdict=_verdict(seen, wrong),
            wrong=wrong,
            tiles=tuple(_tiles(seen)),
            why=tuple(_why(seen)),
            boxes=boxes,
            doubtful=sum(bool(box.doubts) for box in boxes),
            lost=[_gone(event) for event in seen.lost],
        )
        return self._page(page)

    def story(self, life: Life) -> Response:
        """Show the life of one instance."""
        page = render_template(
            "story.html",
            css=self.css,
            at=life.now,
            id=life.id,
            state=life.state,
            tone=TONES.get(life.state, "quiet"),
            names=_names(life),
            chapters=[
                {"heading": heading, "sentences": sentences}
                for about, heading in HEADINGS.items()
                if (sentences := [one for one in told(life) if one.about is about])
            ],
            log=life.autopsy,
        )
        return self._page(page)

    def _page(self, text: str) -> Response:
        """Allow the page its own style and script, and nothing else."""
        answer = Response(text, content_type=f"{HTML}; charset=utf-8")
        answer.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src {_hash(self.css)}; script-src {_hash(self.js)}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return answer


def pages(store: Store, fleet: Fleet, stale_after: timedelta, kept: KeptDrops) -> Pages:
    """Return the pages."""
    css, js = ((TEMPLATES / name).read_text() for name in ("page.css", "page.js"))
    return Pages(store=store, fleet=fleet, stale_after=stale_after, kept=kept, css=css, js=js)


def wanted() -> bool:
    """Say whether a page is wanted: a browser asks for one, and programs that say nothing want JSON."""
    return request.accept_mimetypes.best_match([JSON, HTML]) == HTML


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _wrong(seen: Dashboard, troubles: tuple[str, ...], conditions: tuple[Condition, ...]) -> Iterator[Wrong]:
    cure = "" if seen.overview.acting else "No loop acts: see that `magister serve` runs, and its log"
    for place, trouble in enumerate(troubles):
        yield Wrong(capital(trouble), "" if place else cure, grave=True)
    for condition in conditions:
        yield Wrong(capital(condition.what), capital(condition.cure), grave=False)


def _listed(seen: Dashboard) -> str:
    """Say how old what Vast said is; money and boxes are known from there."""
    age = seen.overview.listing_age_secs
    return "Vast not listed yet" if age is None else f"Vast listed {lasting(max(age, 0))} before"


def _tone(seen: Dashboard, wrong: tuple[Wrong, ...]) -> str:
    if any(one.grave for one in wrong):
        return "bad"
    full = seen.overview.states[State.VERIFIED] >= seen.overview.target
    return "warn" if wrong else "good" if full else "busy"


def _verdict(seen: Dashboard, wrong: tuple[Wrong, ...]) -> str:
    verified, target = seen.overview.states[State.VERIFIED], seen.overview.target
    said = f"{verified} of {target} verified, {price(seen.overview.cost)} USD per hour"
    return f"{said}: the pool is not being kept" if any(one.grave for one in wrong) else said


def _tiles(seen: Dashboard) -> Iterator[Tile]:
    caps = {cap.name.removeprefix("budget.usd_"): cap for cap in seen.caps}
    overview, spent = seen.overview, seen.spent
    verified, target = overview.states[State.VERIFIED], overview.target
    others = [f"{n} {state}" for state, n in overview.states.items() if n and state is not State.VERIFIED]
    yield Tile(
        name="Pool",
        figure=f"{verified} of {target}",
        unit="verified",
        share=min(verified / target, 1) if target else None,
        notes=tuple(others),
    )
    rate = price(overview.cost)
    yield _capped("Now", rate, caps.get("per_hour"), unit="USD/h")
    yield _capped("Today", total(spent.day), caps.get("per_day"))
    ever = f"{total(spent.total)} in all"
    yield _capped("This month", total(spent.month), caps.get("per_month"), notes=(ever,))
    if "total" in caps:
        yield _capped("In all", total(spent.total), caps["total"])
    hourly = seen.work.hourly
    yield Tile(
        name="Verified hour",
        figure="none yet" if hourly is None else price(hourly),
        unit="" if hourly is None else "USD",
        notes=(f"all that the last {LATELY} boxes cost, by their verified hours",),
    )
    credit, runway = seen.standing.credit, seen.runway
    yield Tile(
        name="Credit at Vast",
        figure="not known" if credit is None else total(credit),
        unit="" if credit is None else "USD",
        notes=() if runway is None else (f"enough for {runway:.1f} h",),
    )


def _capped(
    name: str, figure: str, cap: Cap | None, *, unit: str = "USD", notes: tuple[str, ...] = ()
) -> Tile:
    """Return the tile of a sum, with the room that its cap leaves; None = it has none."""
    if cap is None:
        return Tile(name=name, figure=figure, unit=unit, notes=notes)
    share = min(cap.spent / cap.limit, 1) if cap.limit else 1
    room = f"of {total(cap.limit)} allowed, {total(cap.room)} left for new boxes"
    return Tile(name=name, figure=figure, unit=unit, share=share, notes=(room, *notes))


def _why(seen: Dashboard) -> Iterator[str]:
    """Yield what the figures and the notices do not say already."""
    troubles = seen.standing.troubles
    for sentence in explained(seen.standing):
        repeated = sentence.about in {About.CONDITION, About.MONEY}
        if not repeated and not any(trouble in sentence.said for trouble in troubles):
            yield sentence.said


def _boxes(seen: Dashboard) -> list[Box]:
    """Return the boxes, those that are doubtful first."""
    boxes = sorted(
        seen.overview.instances,
        key=lambda view: (not _doubts(seen, view), ORDER.index(view.state), view.id),
    )
    return [_box(view, seen) for view in boxes]


def _box(view: InstanceView, seen: Dashboard) -> Box:
    several = f"{view.num_gpus}x " if view.num_gpus and view.num_gpus > 1 else ""
    return Box(
        id=view.id,
        state=view.state,
        tone=TONES.get(view.state, "quiet"),
        gpu=several + (view.gpu or "-"),
        location=(view.location or "").strip(" ,") or "-",
        machine="-" if view.machine_id is None else str(view.machine_id),
        contract="-" if view.instance_id is None else str(view.instance_id),
        price="-" if view.price is None else price(view.price),
        cost=total(seen.costs.get(view.id, 0)),
        span=lasting(max((seen.overview.at - view.moved_at).total_seconds(), 0)),
        why=view.why or spaced(view.reason),
        waits=_waits(view, seen.overview.at),
        doubts=_doubts(seen, view),
    )


def _waits(view: InstanceView, now: datetime) -> str:
    if view.state is State.CREATED and view.verify_by is not None and view.verify_by > now:
        return f"its worker has {lasting((view.verify_by - now).total_seconds())} left to call"
    return ""


def _doubts(seen: Dashboard, view: InstanceView) -> tuple[str, ...]:
    failed = f"the last call about it failed: {view.trouble}" if view.trouble else ""
    return tuple(filter(None, (*seen.doubts.get(view.id, ()), failed)))


def _gone(event: Event) -> dict[str, object]:
    reason = spaced(event.reason)
    by = "" if event.actor in {LOOP, reason} else f", by {event.actor}"
    return {"id": event.instance, "at": event.at, "reason": reason, "by": by, "why": event.detail}


def _names(life: Life) -> str:
    known = {
        "contract": life.contract_id,
        "offer": life.offer_id,
        "machine": life.machine_id,
        "host": life.host_id,
    }
    named = ", ".join(f"{name} {number}" for name, number in known.items() if number is not None)
    return f"{life.gpu}, {named}" if life.gpu else named
