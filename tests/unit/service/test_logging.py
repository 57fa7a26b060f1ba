"""Logs: one form for all, at the level that was asked for, and never a secret."""

import io
import json
import logging
from datetime import datetime

import pytest
import structlog
from pydantic import SecretStr

from magister.service import logging as telemetry

SECRET = SecretStr("s3cr3t/of the+pool")


def a_log(level: str = "info", *, terminal: bool = False, no_color: str = "") -> io.StringIO:
    stream = io.StringIO()
    telemetry.set_up(
        level, stream=stream, terminal=terminal, secrets=(SECRET,), environ={"NO_COLOR": no_color}
    )
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(words: str) -> None:
    raise RuntimeError(words)


def test_an_event_is_one_json_object_with_its_fields() -> None:
    stream = a_log()
    structlog.get_logger("magister.worker").info("instance.created", contract=9, cost=0.31)
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "logger", "event", "contract", "cost"]
    assert (line["event"], line["logger"], line["level"]) == ("instance.created", "magister.worker", "info")
    assert (line["contract"], line["cost"]) == (9, 0.31)


def test_timestamps_are_utc() -> None:
    stream = a_log()
    structlog.get_logger("magister").info("a")
    stamp = str(lines(stream)[0]["timestamp"])
    assert stamp.endswith("Z")
    assert datetime.fromisoformat(stamp).tzinfo is not None


@pytest.mark.parametrize("name", ["gunicorn.error", "alembic.runtime", "sqlalchemy.engine", "magister.vast"])
def test_lines_of_the_standard_library_have_the_same_form(name: str) -> None:
    stream = a_log()
    logging.getLogger(name).warning("listening at %s", "here", extra={"port": 8555})
    (line,) = lines(stream)
    assert line["event"] == "listening at here"
    assert (line["logger"], line["level"], line["port"]) == (name, "warning", 8555)


def test_bound_context_reaches_every_line() -> None:
    stream = a_log()
    structlog.contextvars.bind_contextvars(role="web")
    structlog.get_logger("magister").info("a")
    logging.getLogger("magister.vast").info("b")
    assert [line["role"] for line in lines(stream)] == ["web", "web"]


def test_a_traceback_is_one_field() -> None:
    stream = a_log()
    try:
        fail("broken")
    except RuntimeError:
        structlog.get_logger("magister").exception("call.failed")
        logging.getLogger("magister.vast").exception("call failed")
    for line in lines(stream):
        assert str(line["exception"]).startswith("Traceback (most recent call last)")
        assert str(line["exception"]).endswith("RuntimeError: broken")


@pytest.mark.parametrize("form", ["s3cr3t/of the+pool", "s3cr3t%2Fof%20the%2Bpool", "s3cr3t%2Fof+the%2Bpool"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_secret_is_masked_wherever_it_stands(form: str, terminal: bool) -> None:
    stream = a_log(terminal=terminal)
    log = structlog.get_logger("magister")
    log.info(f"event {form}", plain=form, deep={"a": [("x", f"<{form}>")], form: 1}, error=ValueError(form))
    log.info("bytes", raw=form.encode(), wrapped=SECRET)
    logging.getLogger("urllib3").warning("GET %s", form, extra={"token": form})
    try:
        fail(form)
    except RuntimeError:
        log.exception("call.failed")
        logging.getLogger("magister.vast").exception("call failed")
    assert form not in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()
    assert stream.getvalue().count(telemetry.MASK) >= 8


def test_a_secret_given_as_it_stands_in_a_url_is_masked_when_decoded() -> None:
    stream = io.StringIO()
    telemetry.set_up("info", stream=stream, terminal=False, secrets=(SecretStr("p%40ssword"),), environ={})
    structlog.get_logger("magister").info("no entry for p@ssword")
    assert "p@ssword" not in stream.getvalue()


def test_the_key_of_a_drop_address_is_masked() -> None:
    stream = a_log()
    logging.getLogger("gunicorn.access").info('"DELETE /drop/5?key=0123abcdef HTTP/1.1" 200')
    assert lines(stream)[0]["event"] == '"DELETE /drop/5?key=*** HTTP/1.1" 200'


def test_a_secret_too_short_to_be_one_does_not_tear_words_apart() -> None:
    stream = io.StringIO()
    telemetry.set_up("info", stream=stream, terminal=False, secrets=(SecretStr("e"),), environ={})
    structlog.get_logger("magister").info("event")
    assert lines(stream)[0]["event"] == "event"


def test_numbers_and_nothing_stay_what_they_are() -> None:
    stream = a_log()
    structlog.get_logger("magister").info("a", count=1, share=0.5, none=None, yes=True)
    line = lines(stream)[0]
    assert [line[name] for name in ("count", "share", "none", "yes")] == [1, 0.5, None, True]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_readable_lines_in_colour_unless_unwanted(no_color: str, coloured: bool) -> None:
    stream = a_log(terminal=True, no_color=no_color)
    structlog.get_logger("magister").info("instance.created", contract=9)
    assert "instance.created" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert not stream.getvalue().startswith("{")


def test_what_hosts_say_cannot_drive_a_terminal() -> None:
    stream = a_log(terminal=True, no_color="1")
    structlog.get_logger("magister").info("a", said="\x1b[2Jgone\x07")
    assert "\x1b" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_text_that_is_no_unicode_is_logged_all_the_same() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    telemetry.set_up("info", stream=stream, terminal=False, environ={})
    structlog.get_logger("magister").info("a", said="\ud800 …")
    stream.seek(0)
    assert json.loads(stream.read())["said"] == "\ufffd …"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_decides_what_is_shown(level: str, shown: list[str]) -> None:
    stream = a_log(level)
    for name in telemetry.LEVELS:
        structlog.get_logger("magister").log(telemetry.LEVELS[name], name)
    assert [line["event"] for line in lines(stream)] == shown


@pytest.mark.parametrize("name", ["alembic.runtime", "sqlalchemy.engine", "urllib3.connectionpool"])
@pytest.mark.parametrize(("level", "heard"), [("info", False), ("debug", True)])
def test_chatty_libraries_are_heard_when_debugging_only(name: str, level: str, heard: bool) -> None:
    stream = a_log(level)
    logging.getLogger(name).info("step")
    assert bool(stream.getvalue()) is heard


def test_handlers_that_gunicorn_made_give_way_at_the_next_set_up() -> None:
    own = io.StringIO()
    gunicorn = logging.getLogger("gunicorn.error")
    gunicorn.addHandler(logging.StreamHandler(own))
    gunicorn.propagate = False
    stream = a_log()
    gunicorn.warning("booting")
    assert own.getvalue() == ""
    assert [line["event"] for line in lines(stream)] == ["booting"]


def test_a_second_set_up_replaces_the_first() -> None:
    first, second = a_log(), a_log()
    structlog.get_logger("magister").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
