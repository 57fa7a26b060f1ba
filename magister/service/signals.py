"""How a process hears that it is to end: by SIGTERM or SIGINT, or by the death of the one that started it.

The service as a whole also hears SIGHUP, which ends nothing.

Whoever starts a process keeps the writing end of a pipe open and hands the reading end down. The kernel
closes it when the starter dies, however it dies, so nothing goes on unseen.
"""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)

_SPARE = 4096  # bytes: far more signals than can wait between two looks


@dataclass(slots=True)
class Inbox:
    """Gather what concerns a process that waits for its children: `ending` = it was asked to end."""

    _receive: int
    _parent: int | None
    ending: bool = False
    _hangup: bool = False

    def took_hangup(self) -> bool:
        """Say whether SIGHUP came since this was last asked; several count as one."""
        came, self._hangup = self._hangup, False
        return came

    def wait(self, timeout: float, *pipes: int) -> None:
        """Wait for a signal, the death of a child or of the parent, or a word in one of `pipes`.

        At most `timeout` seconds.
        """
        watched = [self._receive, *pipes] + ([] if self._parent is None else [self._parent])
        ready, _, _ = select.select(watched, [], [], max(timeout, 0.0))
        if self._receive in ready:
            os.read(self._receive, _SPARE)
        if self._parent in ready:
            self.ending, self._parent = True, None

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._hangup = True


@contextmanager
def inbox(parent: int | None = None) -> Iterator[Inbox]:
    """Yield the inbox of this process; `parent` is the pipe to its starter.

    To be called from the main thread. SIGHUP ends nothing from here on: the service outlives its terminal.
    """
    receive, send = os.pipe()
    os.set_blocking(send, False)
    box = Inbox(receive, parent)
    before = {number: signal.signal(number, box._end) for number in ENDING}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _noted)
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, box._hang_up)
    woken = signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    try:
        yield box
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(receive)
        os.close(send)


def when_ending(end: Callable[[], None], *, parent: int | None = None) -> None:
    """Call `end` once, from a thread of its own, when this process is to end.

    To be called from the main thread. A handler must not call it: it could interrupt the very lock that `end`
    would wait for.
    """
    receive, send = os.pipe()
    os.set_blocking(send, False)
    signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    for number in ENDING:
        signal.signal(number, _noted)
    watched = [receive] + ([] if parent is None else [parent])

    def watch() -> None:
        select.select(watched, [], [])
        end()

    threading.Thread(target=watch, name="ending", daemon=True).start()


def closed(pipe: int | None) -> bool:
    """Say whether the other end of `pipe` is gone; None = there is no pipe."""
    return pipe is not None and readable(pipe)


def readable(pipe: int) -> bool:
    """Say whether there is a word in `pipe`, or its end."""
    return bool(select.select([pipe], [], [], 0)[0])


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: that the signal came is written to the wakeup pipe."""
