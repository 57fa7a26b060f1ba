"""What each process of the service does first: read the settings, set up its log, open its socket.

The supervisor stays small, so nothing here may import the database, the web or the client of Vast.
"""

import errno
import pickle
import re
import socket
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import structlog
from pydantic import SecretStr

from magister.errors import BadSettings, PortTaken, Unusable
from magister.onstart import script
from magister.service import logging
from magister.settings.model import Loaded, Settings, load

PORT_PATIENCE = 2.0
"""Seconds for which a port that is in use is asked for again."""

BACKLOG = 512
"""Connections that may wait while the web side is being restarted."""

log = structlog.get_logger("magister")


def begin(config: Path | None, *, warn: bool = True) -> Loaded:
    """Read the settings, set up the log and, if `warn`, write there what is doubtful.

    Raises BadSettings with every problem found.
    """
    loaded = usable(config)
    take_up(loaded, warn=warn)
    return loaded


def take_up(loaded: Loaded, *, warn: bool = True) -> None:
    """Set up the log for these settings and, if `warn`, write there what is doubtful."""
    set_up_log(loaded.settings)
    for warning in (*loaded.warnings, *script.doubts(loaded.settings)) if warn else ():
        log.warning("settings.doubtful", what=warning)


def handed_down(settings: Settings) -> bytes:
    """Return the settings in the form in which a child is told them."""
    return pickle.dumps(settings)


def inherit() -> Settings:
    """Take the settings from the supervisor, who writes them to stdin, and set up the log.

    So that all processes have the same ones, those that were accepted, whatever becomes of the files.
    """
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301 - nobody but the supervisor has the other end
    if not isinstance(settings, Settings):
        raise TypeError("the supervisor wrote no settings")
    set_up_log(settings)
    return settings


def usable(config: Path | None) -> Loaded:
    """Read the settings; raises BadSettings also when Vast would refuse the onstart they give."""
    loaded = load(config)
    if problems := script.problems(loaded.settings):
        raise BadSettings(problems)
    return loaded


def set_up_log(settings: Settings) -> None:
    """Write the log to stderr, at the level that is set and without the secrets."""
    terminal = sys.stderr.isatty()
    logging.set_up(settings.log_level, stream=sys.stderr, terminal=terminal, secrets=secrets(settings))


def secrets(settings: Settings) -> tuple[SecretStr, ...]:
    """Return what no line of the log may hold: the keys, and the password in the database's URL."""
    url = settings.database_url.get_secret_value()
    passwords = re.findall(r"://[^:/@?]*:(.+)@|[?&]password=([^&]+)", url)
    parts = [SecretStr(unquote(part)) for found in passwords for part in found if part]
    keys = (settings.vast_api_key, settings.api_token)
    return (*(key for key in keys if key is not None), *parts)


def listen(settings: Settings) -> socket.socket:
    """Open the socket the web side answers on.

    Raises PortTaken if another program has the port, Unusable if the address or the port cannot be had.
    """
    bind, port = settings.web.bind.strip("[]"), settings.http_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as reason:
        raise Unusable(f"web.bind = {bind} cannot be resolved: {reason.strerror}") from reason
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(listener, address)
        listener.listen(BACKLOG)
    except OSError as reason:
        listener.close()
        raise _refused(reason, settings.web.bind, port) from reason
    return listener


def _bind(listener: socket.socket, address: tuple[object, ...]) -> None:
    """Bind, and wait a moment for a port: what is left of a service that was killed may still be ending."""
    until = time.monotonic() + PORT_PATIENCE
    while True:
        try:
            listener.bind(address)
        except OSError as reason:
            if reason.errno != errno.EADDRINUSE or time.monotonic() >= until:
                raise
            time.sleep(0.1)
        else:
            return


def _refused(reason: OSError, bind: str, port: int) -> Unusable:
    match reason.errno:
        case errno.EADDRINUSE:
            return PortTaken(
                f"http_port = {port} is in use by another program (on {bind}): "
                "end that one, or set http_port to a free port"
            )
        case errno.EACCES | errno.EPERM:
            return Unusable(f"http_port = {port} may not be used by this user: take one above 1023")
        case errno.EADDRNOTAVAIL:
            return Unusable(f"web.bind = {bind} is not an address of this machine")
        case _:
            return Unusable(f"cannot listen on web.bind = {bind}, http_port = {port}: {reason.strerror}")
