"""How long a test waits for what is going to happen, and how it looks for it."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 240.0
"""Seconds after which something that did not happen is not waited for any more.

Far more than it takes, for a machine may be slow or stand still for seconds: no test says by this how fast
something is.
"""

LOOK_SECS = 0.05

T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, *, patience: float = PATIENCE) -> T:
    """Look again and again until something is seen, and return it; raises TimeoutError."""
    deadline, pause = time.monotonic() + patience, threading.Event()
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:g} s: {what}")
        pause.wait(LOOK_SECS)
    return seen
