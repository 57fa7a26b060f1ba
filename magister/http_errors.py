"""What went wrong on the wire, told in one short line."""

from collections.abc import Iterator

WORDS = 200
"""Characters that are shown to people."""

_KEPT = 4000  # characters that are looked at

_WORDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"ConnectTimeout", "ConnectTimeoutError"}), "no connection was made in time"),
    (frozenset({"NameResolutionError"}), "the name of the host is not known"),
    (frozenset({"ConnectionRefusedError"}), "the connection was refused"),
    (frozenset({"ReadTimeout", "ReadTimeoutError", "TimeoutError"}), "no answer came in time"),
    (frozenset({"ProxyError"}), "the proxy did not take the call"),
    (frozenset({"ChunkedEncodingError", "IncompleteRead"}), "the answer broke off"),
    (frozenset({"JSONDecodeError"}), "the answer is not JSON"),
    (frozenset({"ContentDecodingError", "DecodeError"}), "the answer cannot be unpacked"),
)
"""What happened, by the names of the kinds of error that say it, the more exact first."""

_SIGNS = (
    ("refused", "the connection was refused"),
    ("unreachable", "the network does not reach the host"),
    ("no route", "the network does not reach the host"),
    ("certificate verify failed", "the certificate of the host is not accepted"),
    ("reset", "the connection broke off"),
    ("aborted", "the connection broke off"),
    ("closed connection", "the connection broke off"),
    ("closed without response", "the connection broke off"),
    ("broken pipe", "the connection broke off"),
    ("timed out", "no answer came in time"),
)
"""What happened, by the words of an error that has no kind of its own."""


def causes(failure: BaseException) -> Iterator[BaseException]:
    """Unwrap an error of requests down to what happened on the wire."""
    inner: object = failure
    while isinstance(inner, BaseException):
        yield inner
        wrapped: object = inner.args[0] if inner.args else None
        inner = next(
            (
                cause
                for cause in (getattr(inner, "reason", None), getattr(inner, "original_error", None), wrapped)
                if isinstance(cause, BaseException)
            ),
            None,
        )


def one_line(said: str, secret: str = "") -> str:
    """Make words fit to show: one short line, no control characters, the secret masked."""
    flat = "".join(char if char.isprintable() else " " for char in said[:_KEPT])
    if secret:
        flat = flat.replace(secret, "***")
    flat = " ".join(flat.split())
    return flat if len(flat) <= WORDS else f"{flat[: WORDS - 1]}…"


def told(failure: BaseException, secret: str = "") -> str:
    """Say in plain words what happened on the wire, in one line without the secret."""
    found = tuple(causes(failure))
    names = {type(cause).__name__ for cause in found}
    for kinds, words in _WORDS:
        if kinds & names:
            return words
    *_, cause = found
    said = one_line(str(cause), secret)
    for sign, words in _SIGNS:
        if sign in said.lower():
            return words
    return said or f"an error without words ({type(cause).__name__})"
