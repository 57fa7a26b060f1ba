"""The workers inside the boxes.

They read their environment, connect, call `/verify` once, and are dropped at most once.
"""

import logging
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import requests

from magister.simulator.market.contracts import Contract, Worker
from magister.simulator.runtime.boxes import Boxes
from magister.simulator.runtime.shell import EXPORTED
from magister.simulator.runtime.simulation import Simulation

log = logging.getLogger(__name__)

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def on_loopback(url: str, host_map: Mapping[str, str]) -> str | None:
    """Give the URL to really call: itself if its host is loopback, else what the map makes of its host.

    Else None. The map's keys are `host` or `host:port`, its values base URLs such as `http://127.0.0.1:8555`.
    """
    parts = urlsplit(url)
    base = host_map.get(parts.netloc) or host_map.get(parts.hostname or "")
    if base is not None:
        other = urlsplit(base)
        parts = parts._replace(scheme=other.scheme, netloc=other.netloc)
    return urlunsplit(parts) if parts.scheme == "http" and parts.hostname in LOOPBACK else None


class Crew:
    """Run the workers of a simulation, each in a thread of its own, and deliver the coordinator's drops."""

    def __init__(self, sim: Simulation, boxes: Boxes, host_map: Mapping[str, str]) -> None:
        self._sim = sim
        self._boxes = boxes
        self._host_map = host_map

    def start(self, contract: Contract) -> None:
        """Start the worker of a box that has just come up."""
        work = (contract.id, contract.epoch, contract.onstart or "")
        threading.Thread(target=self._live, args=work, name=f"box-{contract.id}", daemon=True).start()

    def drop(self, contract_id: int, endpoint: str, reason: str) -> None:
        """Send the coordinator's one DELETE for a worker; its answer is ignored."""
        work = (contract_id, endpoint, reason)
        threading.Thread(target=self._drop, args=work, name=f"drop-{contract_id}", daemon=True).start()

    def _live(self, contract_id: int, epoch: int, onstart: str) -> None:
        outcome = self._boxes.run(contract_id, epoch, onstart)
        exported = {name: value for name, value in (outcome.environment or {}).items() if name in EXPORTED}
        endpoint = exported.get("MAGISTER_DROP_ENDPOINT")
        coordinator = exported.get("HIEROPHANT_WS_ADDRESS", "")
        with self._sim.lock:
            contract = self._sim.market.contracts[contract_id]
            for line in outcome.output.splitlines():
                contract.wrote(line)
            if contract.epoch != epoch or contract.worker is not Worker.STARTING:
                return
            contract.exported, contract.drop_endpoint = exported, endpoint
            if outcome.environment is None or not coordinator.startswith(("ws://", "wss://")):
                contract.wrote("contemplant: no environment, or no HIEROPHANT_WS_ADDRESS")
                self._move(contract, Worker.FAILED)
                return
            address = f"{self._sim.market.estate.under(contract).address}:{contract_id % 20_000 + 20_000}"
            self._sim.hierophant.connect(contract_id, address, exported, self._sim.advance())
            if endpoint is None:
                self._move(contract, Worker.MUTE)
                return
        accepted = self._verify(endpoint)
        with self._sim.lock:
            contract.wrote(f"contemplant: /verify {'accepted' if accepted else 'refused, exiting'}")
            if contract.epoch == epoch and contract.worker is Worker.STARTING:
                self._move(contract, Worker.VERIFIED if accepted else Worker.REFUSED)
                contract.verified_at = self._sim.advance() if accepted else None

    def _move(self, contract: Contract, worker: Worker) -> None:
        contract.worker = worker
        self._sim.market.changes += 1

    def _verify(self, endpoint: str) -> bool:
        """Call once and wait for as long as it takes, as the real one does."""
        url = endpoint.replace("drop", "verify")
        answer = self._call("GET", url, None)
        return answer is not None and 200 <= answer < 300

    def _drop(self, contract_id: int, endpoint: str, reason: str) -> None:
        status = self._call("DELETE", endpoint, reason)
        with self._sim.lock:
            self._sim.drops.append({"instance": contract_id, "endpoint": endpoint, "status": status})

    def _call(self, method: str, url: str, body: str | None) -> int | None:
        target = on_loopback(url, self._host_map)
        if target is None:
            log.warning("not called, since it is not on loopback: %s %s", method, urlsplit(url).netloc)
            return None
        try:
            data = None if body is None else body.encode()
            with requests.Session() as session:
                session.trust_env = False  # a proxy would lead off loopback
                # No timeout: the worker waits without end.
                answer = session.request(method, target, data=data, timeout=None, allow_redirects=False)
        except requests.RequestException as error:
            log.info("%s %s failed: %s", method, target, type(error).__name__)
            return None
        return answer.status_code
