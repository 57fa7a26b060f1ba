"""The clients of the web process: a connection, what it waits for, and what a thread is given for it."""

import socket
from dataclasses import dataclass, field
from enum import Enum, auto

from gunicorn.config import Config
from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from magister.web.server.request_buffer import Arrival

_PIECE = 65_536


class Outbox:
    """Stand in for the socket while a thread works, and keep what is sent."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.kept = bytearray()

    def sendall(self, data: bytes) -> None:
        """Keep a part of the answer."""
        self.kept += data

    def send(self, data: bytes) -> int:
        """Pass over what gunicorn sends this way, the invitation to go on: the body is there already."""
        return len(data)

    def setblocking(self, flag: bool) -> None:
        """Do nothing, for nothing blocks."""

    def gettimeout(self) -> float:
        """Say that nothing blocks."""
        return 0.0


class Stage(Enum):
    """Say what a connection waits for."""

    ARRIVING = auto()  # its request
    WORKING = auto()  # a thread
    LEAVING = auto()  # the client to take the answer
    LINGERING = auto()  # the client to hang up


@dataclass(slots=True, eq=False)
class Guest:
    """Hold a connection; `since` is when it began to wait, by the monotonic clock."""

    sock: socket.socket
    client: tuple[str, int]
    server: tuple[str, int]
    since: float
    stage: Stage = Stage.ARRIVING
    arrival: Arrival = field(default_factory=Arrival)
    answer: memoryview = field(default_factory=lambda: memoryview(b""))
    discarded: int = 0

    def come(self) -> bytes | None:
        """Return what has come from the client; b"" = it hung up, None = nothing after all."""
        try:
            return self.sock.recv(_PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class Visit(TConn):
    """Be to gunicorn's thread the connection on which a whole request came."""

    def __init__(self, cfg: Config, guest: Guest) -> None:
        """Take what the guest has sent: after that there is nothing to wait for, but the end."""
        self.guest, self.outbox = guest, Outbox()
        super().__init__(cfg, self.outbox, guest.client, guest.server)  # type: ignore[arg-type] # no more of a socket is used
        self.parser = get_parser(cfg, iter((guest.arrival.request(),)), guest.client)
        self.data_ready = True
        self.kind = guest.arrival.kind
