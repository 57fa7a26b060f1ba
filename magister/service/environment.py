"""What a process takes over from whoever started it: the standard streams and the environment variables."""

import io
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Literal, TextIO

FOREIGN = frozenset(
    {
        "FLASK_DEBUG",
        "FORWARDED_ALLOW_IPS",
        "GUNICORN_CMD_ARGS",
        "GUNICORN_FD",
        "GUNICORN_PID",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "PORT",
        "SCRIPT_NAME",
        "SENDFILE",
        "WEB_CONCURRENCY",
    }
)
"""Variables that gunicorn and Flask read on their own, and that Magister documents for nothing.

Hosting platforms set some of them for other programs. Each one could change how the web side listens, or keep
it from starting at all.
"""


def prepare() -> None:
    """Make the surroundings of this process safe, before anything opens a file or reads a variable.

    1. Open the standard streams that are closed on /dev/null, or the next file that is opened takes their
       place.
    2. Let a character that the terminal's encoding lacks be shown as an escape; it must not end the process.
    3. Forget the variables that are meant for other programs.
    """
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    forget_foreign(os.environ)


def open_standard_streams() -> None:
    """Open each of the descriptors 0, 1 and 2 that is closed on /dev/null, with its Python stream."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, and those below it are open by now
            os.set_inheritable(descriptor, True)
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def forget_foreign(environ: MutableMapping[str, str]) -> None:
    """Remove from `environ` what other programs' names for settings would do to gunicorn and Flask."""
    for name in FOREIGN:
        with suppress(KeyError):
            del environ[name]


def _stream(descriptor: int, mode: Literal["r", "w"]) -> TextIO:
    return open(descriptor, mode, encoding="utf-8", closefd=False)
