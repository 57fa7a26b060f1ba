"""What strangers can cause again and again is written so many times a minute, and then counted."""

from structlog.testing import capture_logs

from magister.web.server.limited_log import LINES, SECS, LimitedLog
from tests.fakes import FakeClock


def test_so_many_lines_of_a_kind_are_written_and_the_rest_is_counted() -> None:
    clock = FakeClock()
    log = LimitedLog(clock=clock.monotonic)
    with capture_logs() as lines:
        for number in range(LINES + 300):
            log.info("web.refused", path=f"/verify/{number}")
        assert len(lines) == LINES
        assert "further" in lines[-1]
        clock.advance(SECS)
        log.info("web.refused", path="/verify/1")
        clock.advance(SECS)
        log.info("web.refused", path="/verify/2")
    assert [line.get("left_out") for line in lines[LINES:]] == [300, None]


def test_one_kind_takes_no_room_of_another() -> None:
    log = LimitedLog(clock=lambda: 0.0)
    with capture_logs() as lines:
        for _ in range(LINES * 2):
            log.info("web.refused", per=404)
        log.info("web.refused", per=403)
        log.error("web.failed")
        log.warning("web.database_trouble")
    assert len(lines) == LINES + 3
    assert [line["log_level"] for line in lines[-2:]] == ["error", "warning"]


def test_kinds_of_long_ago_are_forgotten_but_not_those_that_still_count() -> None:
    clock = FakeClock()
    log = LimitedLog(clock=clock.monotonic)
    with capture_logs() as lines:
        for number in range(2000):
            log.info("drop.heard", per=number)
        for _ in range(LINES * 2):
            log.info("drop.heard", per="one")
    assert len(lines) == 2000 + LINES
