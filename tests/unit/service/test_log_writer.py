"""Log lines to a reader who does not read."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from magister.service import logging as telemetry
from magister.service.log_writer import QueuedHandler, can_block
from tests.waiting import PATIENCE, until


class Pipe:
    """A pipe with a stream to write to, which is read only when a test says so."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        self.stream = os.fdopen(write, "w", encoding="utf-8")

    def fill(self) -> int:
        """Fill the pipe until a write would wait, and return how many bytes that took."""
        descriptor, filled = self.stream.fileno(), 0
        os.set_blocking(descriptor, False)
        try:
            while True:
                filled += os.write(descriptor, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(descriptor, True)
            return filled

    def read(self, size: int) -> bytes:
        return os.read(self._read, size)

    def hang_up(self) -> None:
        os.close(self._read)
        self._read = -1

    def close(self) -> None:
        if self._read >= 0:
            os.close(self._read)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    opened = Pipe()
    yield opened
    opened.close()


def record(words: str) -> logging.LogRecord:
    return logging.LogRecord("magister", logging.INFO, __file__, 0, words, args=None, exc_info=None)


def test_a_line_reaches_its_reader(pipe: Pipe) -> None:
    handler = QueuedHandler(pipe.stream)
    handler.handle(record("pool.full"))
    handler.flush(PATIENCE)
    assert pipe.read(4096) == b"pool.full\n"


def test_nobody_waits_for_a_reader_who_does_not_read_and_what_was_dropped_is_counted(pipe: Pipe) -> None:
    filled = pipe.fill()
    handler = QueuedHandler(pipe.stream, lines=2)
    handler.handle(record("first"))
    until(lambda: handler.waiting == 0, "the writer waits with the first line")
    for words in ("second", "third", "lost", "lost too"):
        handler.handle(record(words))
    handler.flush(0)  # it does not wait either
    assert pipe.read(filled) == b"." * filled
    handler.flush(PATIENCE)
    assert pipe.read(4096).splitlines() == [b"first", b"second", b"log.lines_dropped", b"third"]


def test_a_reader_who_is_gone_costs_nothing_but_the_lines(pipe: Pipe) -> None:
    handler = QueuedHandler(pipe.stream)
    pipe.hang_up()
    handler.handle(record("into the void"))
    handler.flush(PATIENCE)


def test_a_child_writes_its_own_lines_and_none_of_its_parent(pipe: Pipe) -> None:
    filled = pipe.fill()
    handler = QueuedHandler(pipe.stream)
    handler.handle(record("of the parent"))
    child = os.fork()
    if child == 0:
        handler.handle(record("of the child"))
        handler.flush(PATIENCE)
        os._exit(0)
    pipe.read(filled)
    os.waitpid(child, 0)
    handler.flush(PATIENCE)
    assert sorted(pipe.read(4096).splitlines()) == [b"of the child", b"of the parent"]


def test_only_what_somebody_has_to_read_is_queued(pipe: Pipe, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert not can_block(file)
    assert not can_block(io.StringIO())
    assert can_block(pipe.stream)


def test_a_service_says_in_its_own_form_how_many_lines_were_dropped(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magister.service.log_writer.QUEUE_LINES", 1)
    filled = pipe.fill()
    telemetry.set_up("info", stream=pipe.stream, terminal=False, environ={})
    for number in range(4):
        logging.getLogger("magister").info("line %s", number)
    pipe.read(filled)
    telemetry.flush()
    lines = [json.loads(line) for line in pipe.read(65536).splitlines()]
    dropped = [line["lines"] for line in lines if line["event"] == "log.lines_dropped"]
    assert sum(dropped) + sum(line["event"].startswith("line") for line in lines) == 4
    assert sum(dropped) >= 2
