"""Write log lines from a thread of their own, so that a reader who does not read never stops the program.

A log goes to a pipe or a terminal that somebody else empties. When nobody does, a write waits for ever: that
costs the loop its lease, a request its answer, and SIGTERM its effect. Here the program only puts a line into
a queue. When the queue is full it drops the line, and logs how many it dropped once there is room.
"""

import logging
import os
import stat
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

QUEUE_LINES = 4096
"""Lines that wait for a slow reader at most; more are dropped."""

FLUSH_WITHIN = 1.0
"""Seconds that a process which ends waits for its last lines to be read."""


class QueuedHandler(logging.Handler):
    """Take each record's line into a bounded queue, and write it to a descriptor from a daemon thread.

    The thread writes to the descriptor itself: Python's stream has a lock that the interpreter takes when it
    ends, and a thread that waits in it would end the process by a fatal error.
    """

    def __init__(self, stream: TextIO, *, lines: int | None = None) -> None:
        """Take a stream that has a descriptor, and room for `lines` (None = QUEUE_LINES)."""
        super().__init__()
        self._stream = stream
        self._descriptor = stream.fileno()
        self._limit = QUEUE_LINES if lines is None else lines
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin with an empty queue: after a fork the lines are the parent's, who also has the thread."""
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._writing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Count the lines that are still to be written, less the one that is being written."""
        return len(self._lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line, or count it if there is no room; never waits for the reader."""
        try:
            line = self._line(record)
        except Exception:  # what a formatter may raise is anybody's guess, and a log must not end its program
            self.handleError(record)
            return
        with self._changed:
            if len(self._lines) >= self._limit:
                self._dropped += 1
                return
            self._lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(self._stream.encoding or "utf-8", "backslashreplace")

    def flush(self, within: float = FLUSH_WITHIN) -> None:
        """Wait until all lines are written, for at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, within)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
                lost, self._dropped = self._dropped, 0
                self._writing = True
            self._write(line)
            if lost:
                self._write(self._line(_about_dropped(lost)))

    def _write(self, line: bytes) -> None:
        with suppress(OSError):  # the reader is gone: there is nobody left to tell
            while line:
                line = line[os.write(self._descriptor, line) :]


def can_block(stream: TextIO) -> bool:
    """Say whether a write to `stream` may wait for a reader: it has a descriptor that is no plain file."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _about_dropped(lines: int) -> logging.LogRecord:
    record = logging.LogRecord(
        "magister.log", logging.WARNING, __file__, 0, "log.lines_dropped", args=None, exc_info=None
    )
    record.__dict__ |= {"lines": lines, "why": "nobody read the log fast enough"}
    return record
