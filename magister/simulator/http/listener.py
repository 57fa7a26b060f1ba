"""An HTTP server on loopback in a thread of its own."""

import ipaddress
import socket
import struct
import threading

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

AT_ONCE = struct.pack("ii", 1, 0)
POLL_SECS = 0.05


class QuietHandler(WSGIRequestHandler):
    """Serve a connection without a line in the log; the journal has it all."""

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        """End with a reset; a connection cut on purpose ends here too."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""


class Listener:
    """Serve an app on a loopback address; port 0 takes a free one.

    Raises ValueError for another address and OSError, naming address and port, when it cannot be had.
    """

    def __init__(self, app: Flask, host: str, port: int) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the simulator listens on loopback only, not on {host}")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Bound here, because werkzeug ends the process when a port is taken.
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(128)
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self._server = make_server(
            host, self.port, app, threaded=True, request_handler=QuietHandler, fd=self._socket.fileno()
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECS,), name=f"http-{self.port}", daemon=True
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections; what is being answered ends by itself."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        else:
            self._server.server_close()
        self._socket.close()
