"""A wire that a test can cut: TCP connections are passed on, reset, or met with silence."""

import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

AT_ONCE = struct.pack("ii", 1, 0)
PIECE = 64 * 1024

Address = tuple[str, int]


class Relay:
    """Pass connections on to the first of `targets` that takes them, from a port of its own on loopback."""

    def __init__(self, targets: Iterable[Address]) -> None:
        self.targets = list(targets)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._condition = threading.Condition()
        self._silent = False
        self._refusing = False
        self._open: set[socket.socket] = set()
        self._pairs: list[threading.Thread] = []
        self._accepting = self._start(self._accept)

    def close(self) -> None:
        """End all connections, and take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.cut()
        for pair in self._pairs:
            pair.join()
        self._listener.close()

    def cut(self) -> None:
        """Reset every connection, and each new one, until mended."""
        with self._condition:
            self._refusing, self._silent = True, False
            for end in self._open:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                    end.shutdown(socket.SHUT_RDWR)
            self._condition.notify_all()

    def silence(self) -> None:
        """Let nothing through in either direction, and close nothing, until mended or cut."""
        with self._condition:
            self._silent = True

    def mend(self) -> None:
        """Pass on again; what was said during a silence arrives now."""
        with self._condition:
            self._refusing = self._silent = False
            self._condition.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self._pairs = [pair for pair in self._pairs if pair.is_alive()]
            self._pairs.append(self._start(self._connect, caller))

    def _start(self, work: Callable[..., None], *ends: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=work, args=ends, name="relay", daemon=True)
        thread.start()
        return thread

    def _connect(self, caller: socket.socket) -> None:
        """Pair a caller with a target, and carry what it says; one that finds none is reset."""
        with caller:
            callee = self._reached() if self._passing() else None
            if callee is None:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                return
            with callee:
                with self._condition:
                    self._open |= {caller, callee}
                back = self._start(self._carry, callee, caller)
                self._carry(caller, callee)
                back.join()
                with self._condition:
                    self._open -= {caller, callee}

    def _reached(self) -> socket.socket | None:
        for target in self.targets:
            with suppress(OSError):
                return socket.create_connection(target, timeout=None)
        return None

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while (said := source.recv(PIECE)) and self._passing():
                sink.sendall(said)
        except OSError:
            pass
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _passing(self) -> bool:
        """Wait while there is silence, and say whether anything may pass now."""
        with self._condition:
            self._condition.wait_for(lambda: not self._silent)
            return not self._refusing
