"""The workers in the boxes and the coordinator's drops, which call the web side in process."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Flask

from magister.simulator.contracts import Contract, Worker
from magister.simulator.simulation import Simulation
from tests.simulation.clock import VirtualTime
from tests.simulation.death import Killed
from tests.simulation.journal import Journal

AGAIN = 0.5
"""Virtual seconds after which a request that waits for the database looks again."""

_EXPORT = re.compile(r'^export ([A-Z0-9_]+)="([^"]*)"', re.MULTILINE)


class Waiting(BaseException):
    """A request would wait: it is taken up again a little later, for time must pass outside it."""


def wait(secs: float) -> None:
    """Stand in for the nap of the web side."""
    raise Waiting


@dataclass(slots=True, kw_only=True)
class Workers:
    """Call the web side as the programs in the boxes and the coordinator do, each once.

    `down_until` = no connection is taken before this moment of the true time.
    """

    sim: Simulation
    web: Flask
    address: str
    time: VirtualTime
    journal: Journal
    patience: float
    down_until: float = 0.0

    def come_up(self) -> None:
        """Start the workers of the boxes that have just come up."""
        for box in self.sim.due_workers():
            self._live(box)

    def drop(self, contract_id: int, endpoint: str, reason: str) -> None:
        """Send the coordinator's one DELETE for a worker."""
        self._ask("DELETE", endpoint, reason, self.time.now, contract_id, box=None)

    def _live(self, box: Contract) -> None:
        exported = dict(_EXPORT.findall(box.onstart or ""))
        box.exported, box.drop_endpoint = exported, exported.get("MAGISTER_DROP_ENDPOINT")
        if not (box.drop_endpoint or "").startswith(self.address):
            box.worker = Worker.MUTE  # nobody told it where, or a Magister that is not here
            return
        self.sim.hierophant.connect(box.id, f"192.0.2.1:{box.id % 20_000}", exported, self.time.now)
        url = str(box.drop_endpoint).replace("drop", "verify")
        self._ask("GET", url, "", self.time.now, box.id, box=(box, box.epoch))

    def _ask(
        self,
        method: str,
        url: str,
        body: str,
        began: float,
        contract_id: int,
        box: tuple[Contract, int] | None,
    ) -> None:
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
                self.time.at(again, lambda: self._ask(method, url, body, began, contract_id, box))
                return
            status = 503
        except Killed as death:
            self.journal.note(f"the web process dies {death}")
        self.journal.note(f"{method} {parts.path} for {contract_id}: {status}")
        if box is not None:
            self._answered(*box, accepted=200 <= status < 300)

    def _answered(self, box: Contract, epoch: int, *, accepted: bool) -> None:
        if box.epoch != epoch or box.worker is not Worker.STARTING:
            return
        box.worker = Worker.VERIFIED if accepted else Worker.REFUSED
        if accepted:
            box.verified_at = self.time.now
