"""The workers in the boxes and the coordinator's drops, which call the web side in process."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import Flask

from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.runtime.simulation import Simulation
from magister.store import pool
from magister.store.db.engine import Sessions
from magister.web import liveness
from tests.simulation.clock import VirtualTime
from tests.simulation.death import Killed
from tests.simulation.journal import Journal

SIGNED_EVERY = pool.DEAF_AFTER.total_seconds() / liveness.SIGNS

AGAIN = 0.5
"""Virtual seconds after which a request that waits for the database looks again."""

CALLING = frozenset({Worker.VERIFIED, Worker.REFUSED, Worker.DEAD, Worker.DROPPED, Worker.FORGOTTEN})
"""What a worker is or has become whose instance runs, and the loop in it."""

_LOOP = re.compile(r'^url="([^"]*)"$.*?^while sleep ([0-9]+);', re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r'^export ([A-Z0-9_]+)="([^"]*)"', re.MULTILINE)


class Waiting(BaseException):
    """A request would wait: it is taken up again a little later, for time must pass outside it."""


def wait(secs: float) -> None:
    """Stand in for the nap of the web side."""
    raise Waiting


@dataclass(slots=True, kw_only=True)
class Workers:
    """Call the web side as the programs in the boxes and the coordinator do.

    `down_until` = the web side takes no connection before this moment of the true time. `heard` are those
    that said themselves that their worker lives, `heard_at` when an instance was answered 200 last, and
    `cut_off` until when none of its calls arrives. So many of the next workers that verify are `doomed` to
    die before they say more.
    """

    sim: Simulation
    web: Flask
    sessions: Sessions
    address: str
    time: VirtualTime
    journal: Journal
    patience: float
    down_until: float = 0.0
    heard: set[int] = field(default_factory=set)
    beats: dict[int, tuple[int, float]] = field(default_factory=dict)
    signed_at: float = 0.0
    heard_at: dict[int, float] = field(default_factory=dict)
    cut_off: dict[int, float] = field(default_factory=dict)
    doomed: int = 0

    def step(self) -> None:
        """Start the workers of the boxes that have come up, let the others beat, and the web side sign."""
        if self.time.now >= max(self.down_until, self.signed_at + SIGNED_EVERY):
            self.signed_at = self.time.now
            with suppress(Killed):
                liveness.sign(self.sessions, self.time.wall)
        for box in self.sim.due_workers():
            self._live(box)
        for box in self.sim.market.live():
            if box.worker in CALLING and self.time.now >= self.cut_off.get(box.id, 0.0):
                self._beat(box)

    def call_now(self, box: Contract) -> None:
        """Let the worker in an instance call at this moment, if it lives."""
        self.cut_off.pop(box.id, None)
        if box.worker is Worker.VERIFIED and self.sim.market.actual_status(box) != "offline":
            self.beats[box.id] = (box.epoch, self.time.now)
            self._beat(box)
        elif box.worker is Worker.WAITING:
            box.worker, box.worker_due = Worker.STARTING, None
            self._live(box)

    def drop(self, contract_id: int, endpoint: str, reason: str) -> None:
        """Send the coordinator's one DELETE for a worker."""
        self._ask("DELETE", endpoint, reason, self.time.now, lambda status: None)

    def working(self, box: Contract) -> bool:
        """Say whether the worker in a box lives, or can have ended without that anybody could tell."""
        return box.worker is Worker.VERIFIED or box.id not in self.heard

    def _live(self, box: Contract) -> None:
        exported = dict(_EXPORT.findall(box.onstart or ""))
        box.exported, box.drop_endpoint = exported, exported.get("MAGISTER_DROP_ENDPOINT")
        if not (box.drop_endpoint or "").startswith(self.address):
            box.worker = Worker.MUTE  # nobody told it where, or a Magister that is not here
            return
        self._announce(box)
        self.sim.hierophant.connect(box.id, f"192.0.2.1:{box.id % 20_000}", exported, self.time.now)
        url, epoch = str(box.drop_endpoint).replace("drop", "verify"), box.epoch

        def answered(status: int) -> None:
            if box.epoch == epoch and box.worker is Worker.STARTING:
                accepted = 200 <= status < 300
                box.worker = Worker.VERIFIED if accepted else Worker.REFUSED
                box.verified_at = self.time.now if accepted else None
                self._has_verified(box)

        self._ask("GET", url, "", self.time.now, answered)

    def _has_verified(self, box: Contract) -> None:
        if box.worker is not Worker.VERIFIED:
            return
        self.heard_at[box.id] = self.time.now
        if self.doomed > 0:
            self.doomed -= 1
            box.worker = Worker.DEAD
            self.journal.note(f"the worker in {box.id} dies before it says more")

    def _announce(self, box: Contract) -> None:
        """Let the loop say that it is there, which says nothing of the worker."""
        loop = _LOOP.search(box.onstart or "")
        if loop is not None and "/started" in (box.onstart or ""):
            path, _, query = loop[1].partition("?")
            self._ask(
                "GET",
                f"{path}/started?{query}",
                "",
                self.time.now,
                lambda status: self._is_there(box, status),
            )

    def _is_there(self, box: Contract, status: int) -> None:
        if status == 200:
            self.heard.add(box.id)

    def _beat(self, box: Contract) -> None:
        """Let the loop beside the worker call, if its onstart has one, until it is told to end.

        While there is no worker it says only that the loop is there.
        """
        loop = _LOOP.search(box.onstart or "")
        if loop is None or self.sim.market.actual_status(box) == "offline":
            return
        epoch, due = self.beats.get(box.id, (box.epoch, self.time.now + float(loop[2])))
        if epoch != box.epoch:
            due = self.time.now + float(loop[2])
        if self.time.now >= due:
            due = self.time.now + float(loop[2])
            if box.worker is Worker.VERIFIED:
                self._ask("GET", loop[1], "", self.time.now, lambda status: self._has_beaten(box, status))
            else:
                self._announce(box)
        self.beats[box.id] = (box.epoch, due)

    def _has_beaten(self, box: Contract, status: int) -> None:
        if status == 200:
            self.heard.add(box.id)
            self.heard_at[box.id] = self.time.now
        if status in (404, 410):
            self.beats[box.id] = (box.epoch, float("inf"))

    def _ask(self, method: str, url: str, body: str, began: float, then: Callable[[int], None]) -> None:
        """Ask once; while the web side waits for the database, so does the caller."""
        parts = urlsplit(url)
        status = 0
        try:
            if self.time.now >= self.down_until:
                answer = self.web.test_client().open(
                    parts.path, method=method, query_string=parts.query, data=body
                )
                status = answer.status_code
        except Waiting:
            if self.time.now < began + self.patience:
                again = self.time.now + AGAIN
                self.time.at(again, lambda: self._ask(method, url, body, began, then))
                return
            status = 503
        except Killed as death:
            self.journal.note(f"the web process dies {death}")
        if "beat" not in parts.query or status != 200:
            self.journal.note(f"{method} {parts.path}{'?' if parts.query else ''}{parts.query}: {status}")
        then(status)
