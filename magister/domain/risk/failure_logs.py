"""Pure: what the logs of a box that failed tell: their last lines, without secrets, and how it failed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from magister.states import Failure, Reason

FAILED = frozenset({Reason.UNVERIFIED, Reason.STARTED_STOPPED, Reason.EXITED, Reason.SILENT})
"""Reasons for which the logs are asked for before a box is destroyed.

Not for what a person or the coordinator asked, which waits for nothing, nor for a host that is offline.
"""

WITHIN = timedelta(seconds=20)
"""The longest time from the move to dropping for which the logs may hold a destroy up."""

PATIENCE = timedelta(seconds=10)
"""How long the logs of one box are waited for: Vast's own client waits 9 seconds."""

LINES = 40
LIMIT = 4000
"""Lines and characters that are kept, the last ones."""

WIDEST = 400
"""Characters of one line that are kept, the first ones: one endless line must not be all there is."""

MASK = "***"

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_SECRETS = (
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"), MASK),
    (re.compile(r"\b((?:ssh|ecdsa|sk)-[a-z0-9@.-]+) [A-Za-z0-9+/=]{20,}"), rf"\1 {MASK}"),
    (re.compile(r"(?i)\b(bearer|basic) [A-Za-z0-9._~+/=-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"(://[^\s/:@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
    (
        re.compile(
            r"""(?i)((?:key|token|secret|passw(?:or)?d|passphrase|credentials?|authorization|signature)"""
            r"""(?:s|[_-][\w-]*)?["']?\s*[=:]\s*["']?)[^\s"'&,;]+"""
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"), MASK),
    (re.compile(r"\b[0-9A-Fa-f]{24,}\b"), MASK),
    (re.compile(r"(?<![\w/+.-])(?=[\w+-]*[0-9])(?=[\w+-]*[A-Za-z])[\w+-]{32,}={0,2}(?![\w/+.-])"), MASK),
)
"""What looks like a secret, and what is left of it."""

_TELLING = (
    (
        Failure.IMAGE_PULL,
        re.compile(
            r"manifest (?:for \S+ )?(?:unknown|not found)|pull access denied|repository does not exist"
            r"|unauthorized: |failed to resolve reference|toomanyrequests"
        ),
    ),
    (
        Failure.DRIVER_OCI,
        re.compile(
            r"oci runtime create failed|nvidia-container-cli|driver/library version mismatch"
            r"|cuda driver version is insufficient|could not select device driver|unsatisfied condition: cuda"
            r"|no cuda-capable device"
        ),
    ),
    (Failure.DISK_FULL, re.compile(r"no space left on device")),
)
"""Words by which a box that never worked tells how it failed; the first that is found counts."""

_REFINED = frozenset({Failure.NEVER_BOOTED, Failure.NEVER_VERIFIED})


@dataclass(frozen=True, slots=True)
class Findings:
    """Hold what is kept of the logs; `failure` None = they do not tell more than was known."""

    words: str
    failure: Failure | None


def findings(log: str, failure: Failure | None, mask: Callable[[str], str]) -> Findings:
    """Return what the last part of a log tells of a box that failed in the way `failure`.

    `mask` takes the secrets out that are known; what only looks like one goes as well.
    """
    return Findings(_last(legible(log, mask)), refined(failure, log))


def refined(failure: Failure | None, said: str | None) -> Failure | None:
    """Return the finer way in which a box failed that never worked, if what was said of it tells one."""
    if failure not in _REFINED or not said:
        return failure
    words = " ".join(said.lower().split())
    return next((kind for kind, telling in _TELLING if telling.search(words)), failure)


def legible(log: str, mask: Callable[[str], str]) -> str:
    """Return a log without secrets, colours and control characters."""
    plain = _ANSI.sub("", log).replace("\r\n", "\n").replace("\r", "\n")
    plain = "".join(char for char in plain if char.isprintable() or char in "\n\t")
    plain = mask(plain)
    for secret, left in _SECRETS:
        plain = secret.sub(left, plain)
    return plain


def _last(log: str) -> str:
    lines = [line.rstrip()[:WIDEST] for line in log.splitlines() if line.strip()][-LINES:]
    while len(lines) > 1 and len("\n".join(lines)) > LIMIT:
        del lines[0]
    return "\n".join(lines)


def in_a_line(words: str | None, most: int = 160) -> str:
    """Return the line of `words` that tells most: the last with a known cause, else the last; "" = none."""
    lines = [line for line in (words or "").splitlines() if line.strip()]
    telling = [line for line in lines if any(sign.search(line.lower()) for _, sign in _TELLING)]
    line = " ".join((telling or lines or [""])[-1].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
