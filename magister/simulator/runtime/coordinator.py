"""A stand-in for the coordinator.

It lists its workers, gives up on some, and forgets all when it restarts.
"""

import json
from dataclasses import asdict, dataclass

from flask import Response

from magister.simulator.runtime.replies import Cut

UNWELL = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(slots=True, kw_only=True)
class Listed:
    """Hold one worker as the coordinator knows it; `since` is simulated time."""

    contract_id: int
    address: str
    name: str
    vms: list[str]
    groth16: bool
    drop_endpoint: str | None
    since: float
    strikes: int = 0

    def shown(self, now: float, *, dead: bool) -> list[object]:
        """Give the pair of address and facts of which the coordinator's lists consist."""
        proofs = int(max(0.0, now - self.since) // 40)
        idle = dead or (proofs + self.contract_id) % 3 == 0
        busy = {"Busy": {"request_id": f"{self.contract_id:032x}", "proof": proofs}}
        facts: dict[str, object] = {
            "name": self.name,
            "status": "Idle" if idle else busy,
            "supported_vms": self.vms,
            "groth16_enabled": self.groth16,
            "strikes": self.strikes,
            "num_completed_span_proofs": proofs,
            "average_span_proof_time": 40.0 if proofs else 0.0,
            "magister_drop_endpoint": self.drop_endpoint,
        }
        return [self.address, facts]


class Hierophant:
    """Keep the workers that connected; a worker that died stays among the living until proofs come and go.

    `away` is what is the matter with its HTTP side: None = nothing, 0 = connections are closed without an
    answer, 200 = a page instead of a list, else a status. `trims` False = no proofs come, so the dead stay
    among the living.
    """

    def __init__(self) -> None:
        self.alive: dict[int, Listed] = {}
        self.dead: list[Listed] = []
        self.away: int | None = None
        self.trims = True

    def connect(self, contract_id: int, address: str, exported: dict[str, str], now: float) -> None:
        """Take in a worker by what it exports."""
        vms = exported.get("CONTEMPLANT_VMS", "sp1").split(",")
        self.alive[contract_id] = Listed(
            contract_id=contract_id,
            address=address,
            name=exported.get("CONTEMPLANT_NAME") or f"contemplant-{contract_id}",
            vms=[vm for vm in vms if vm],
            groth16=exported.get("CONTEMPLANT_RISC0_GROTH16", "").lower() == "true",
            drop_endpoint=exported.get("MAGISTER_DROP_ENDPOINT"),
            since=now,
        )

    def give_up(self, contract_id: int) -> str | None:
        """Put a worker among the dead and give the endpoint its one DELETE goes to."""
        listed = self.alive.pop(contract_id, None)
        if listed is None:
            return None
        listed.strikes += 3
        self.dead.append(listed)
        return listed.drop_endpoint

    def forget(self, contract_id: int) -> None:
        """Lose a worker without a word: it is listed nowhere any more, and no DELETE is sent."""
        self.alive.pop(contract_id, None)

    def trim(self, living: set[int]) -> None:
        """Move those whose worker is gone to the dead, as the real one does now and then."""
        if not self.trims:
            return
        for contract_id in self.alive.keys() - living:
            self.dead.append(self.alive.pop(contract_id))

    def restart(self) -> list[int]:
        """Forget everything; gives the contracts whose workers now exit."""
        forgotten = list(self.alive)
        self.alive.clear()
        self.dead.clear()
        return forgotten

    def saved(self) -> dict[str, object]:
        """Give its lists as plain JSON values."""
        return {
            "alive": [asdict(listed) for listed in self.alive.values()],
            "dead": [asdict(listed) for listed in self.dead],
        }

    def restore(self, alive: list[Listed], dead: list[Listed]) -> None:
        """Take over saved lists."""
        self.alive = {listed.contract_id: listed for listed in alive}
        self.dead = dead

    def lists(self, now: float) -> tuple[list[object], list[object]]:
        """Give the living and the dead in the coordinator's shape."""
        living: list[object] = [listed.shown(now, dead=False) for listed in self.alive.values()]
        dead: list[object] = [listed.shown(now, dead=True) for listed in self.dead]
        return living, dead

    def answer(self, index: int, now: float) -> Response:
        """Answer for the living (0) or the dead (1), unless it is away; raises `Cut` to close."""
        if self.away == 0:
            raise Cut
        if self.away is not None:
            return Response(UNWELL, status=self.away, content_type="text/html")
        return json_response(self.lists(now)[index])


def json_response(value: object, status: int = 200) -> Response:
    """Answer with JSON under exactly `application/json`."""
    return Response(json.dumps(value), status=status, content_type="application/json")
