"""A request as the effects of the routes see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from magister.simulator.market.contracts import FIRST_ACCOUNT
from magister.simulator.market.errors import invalid_args
from magister.simulator.runtime.replies import Reply
from magister.simulator.runtime.simulation import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Hold one request: the id in its path, its query parameters, its JSON body and the URL of the server.

    `account` is that of its key.
    """

    route: str
    method: str
    path: str
    ident: str
    parameters: Mapping[str, str]
    body: object
    server: str
    account: int = FIRST_ACCOUNT

    def number(self) -> int:
        """Read the id in the path; raises `Refused` with 400 `invalid_args`."""
        if not (self.ident.isascii() and self.ident.isdigit()):
            offer = "'id' is required and must be a valid offer ID"
            raise invalid_args(offer if self.route == "create" else "invalid instance_id")
        return int(self.ident)


Effect = Callable[[Simulation, Call], Reply]
