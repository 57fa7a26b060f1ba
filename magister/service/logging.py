"""Logs as events with fields: readable on a terminal, a JSON object a line elsewhere, secrets in neither."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TextIO
from urllib.parse import quote, quote_plus, unquote

import structlog
from pydantic import SecretStr
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from magister.service.log_writer import QueuedHandler, can_block

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
MASK = "***"

SHORTEST_SECRET = 4
"""Characters: to mask anything shorter would tear words apart and so betray it."""

NOISY = ("alembic", "sqlalchemy", "urllib3")
"""Libraries that tell of every step they take."""

OWN_HANDLERS = ("gunicorn.error", "gunicorn.access")
"""Loggers to which gunicorn gives handlers of its own."""

_KEY_IN_URL = re.compile(r"([?&]key=)[0-9A-Fa-f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class _Handler(logging.StreamHandler[TextIO]):
    """Bear a name of our own, so that a second set-up finds what the first one left."""


def set_up(
    level: str,
    *,
    stream: TextIO,
    terminal: bool,
    secrets: Sequence[SecretStr] = (),
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send every log line of this process to `stream` in one form; doing it again replaces the form.

    gunicorn gives its loggers handlers when it starts, so set up again after that. NO_COLOR is looked
    for in `environ`, None = that of the process. `level` is one of LEVELS.
    """
    number = LEVELS[level]
    colors = terminal and not (os.environ if environ is None else environ).get("NO_COLOR")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_facts(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = QueuedHandler(stream) if can_block(stream) else _Handler(stream)
    handler.setFormatter(_formatter(secrets, terminal=terminal, colors=colors))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler | QueuedHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else max(number, logging.WARNING))
    for name in OWN_HANDLERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def flush() -> None:
    """Write the lines that still wait, for at most a second; for a process that ends at once."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def masker(secrets: Sequence[SecretStr]) -> Callable[[str], str]:
    """Return what masks `secrets` in a text, as they are and escaped, and the key of a drop address."""
    raw = [secret.get_secret_value() for secret in secrets]
    forms = {form for text in raw for form in _forms(text)}
    masked = sorted((form for form in forms if len(form) >= SHORTEST_SECRET), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in masked:
            text = text.replace(secret, MASK)
        return _KEY_IN_URL.sub(rf"\1{MASK}", text)

    return clean


def redactor(secrets: Sequence[SecretStr]) -> Processor:
    """Return a processor that masks `secrets` in every field, however deep.

    Control characters are masked as well, for they could forge lines.
    """
    mask = masker(secrets)

    def clean(text: str) -> str:
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask(text))

    def process(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        return {clean(key): _cleaned(value, clean) for key, value in event.items()}

    return process


def _forms(text: str) -> tuple[str, ...]:
    """Return how a text may stand in a log line: as it is, to or from a URL, in JSON within a string."""
    return (text, quote(text, safe=""), quote_plus(text), unquote(text), json.dumps(text)[1:-1])


def _cleaned(value: object, clean: Callable[[str], str]) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return clean(str(value))
        case Mapping():
            return {clean(str(key)): _cleaned(inner, clean) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_cleaned(inner, clean) for inner in value]
        case BaseException():
            return clean(f"{type(value).__name__}: {value}")
        case _:
            return clean(str(value))  # whatever it is, it will be shown as text


def _facts() -> list[Processor]:
    """Return what every line is given, whether it comes from here or from a library."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(secrets: Sequence[SecretStr], *, terminal: bool, colors: bool) -> logging.Formatter:
    renderer: Processor = structlog.processors.JSONRenderer()
    if terminal:
        # plain, because the traceback was made into text before it was masked
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)
    return ProcessorFormatter(
        foreign_pre_chain=[*_facts(), structlog.stdlib.ExtraAdder()],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redactor(secrets),
            _ordered,
            renderer,
        ],
    )


def _ordered(logger: WrappedLogger, name: str, event: EventDict) -> MutableMapping[str, object]:
    """Put first what a reader looks for first."""
    first = ("timestamp", "level", "logger", "event")
    return {key: event[key] for key in (*first, *event) if key in event}
