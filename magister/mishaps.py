"""What went wrong on the wire, told in one short line."""

from collections.abc import Iterator

WORDS = 200
"""Characters that are shown to people."""

_KEPT = 4000  # characters that are looked at


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
    """Name what happened on the wire in one line, less the layers around it and less the secret."""
    *_, cause = causes(failure)
    return one_line(f"{type(cause).__name__}: {cause}", secret)
