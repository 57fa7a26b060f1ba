"""Wait for what is going to happen, and no longer."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 45.0
"""Seconds after which something that did not happen is not waited for any more."""

LOOK_SECS = 0.02

T = TypeVar("T")


def until(look: Callable[[], T], what: str, *, patience: float = PATIENCE) -> T:
    """Look again and again until something is seen, and return it; raises TimeoutError."""
    deadline, pause = time.monotonic() + patience, threading.Event()
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience:g} s: {what}")
        pause.wait(LOOK_SECS)
    return seen
