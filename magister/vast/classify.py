"""What an answer of Vast means, as one of the errors a caller can act on; pure.

Vast's statuses alone say little: a bad key is a 404, a taken offer a 400, 404 or 410, and lack of credit
a 200 or a 400.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

from magister.errors import (
    Ambiguous,
    BadKey,
    NoCredit,
    OfferGone,
    RateLimited,
    Refused,
    StartedStopped,
    Transient,
    VastError,
)
from magister.vast.response import Answer
from magister.vast.values import identity, number

Explained = TypeVar("Explained", BadKey, NoCredit)

DAY = 86_400.0
"""Seconds after which a quota opens again at the latest; a longer wait is not believed."""

_UNSURE = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
_QUOTA = "search_quota_exceeded"
_LIMITED = frozenset({_QUOTA, "rate_limit_exceeded"})
_BAD_KEY = re.compile(r"auth_error|invalid user key|session expired|action requires login")
_BROKEN = re.compile(r"server_error|something went wrong")
_NO_CREDIT = re.compile(r"insufficient[_ ]credit|lacks? (?:of )?credit|missing_billing|spend_rate_limit")
_OFFER_GONE = re.compile(r"no_such_ask|\b(?:3603|3907)\b|no longer available|not available")
_GONE_PLAINLY = re.compile(r"no_such_ask|\b4\d\d/(?:3603|3907)\b")


def limited(answer: Answer) -> RateLimited | None:
    """Say whether the route is closed: by the status, or by Vast's own error word under another status."""
    too_soon = answer.said.startswith("api requests too frequent")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.code in _LIMITED or too_soon:
        return RateLimited(str(answer), retry_after=_retry_after(answer))
    return None


def absent(answer: Answer) -> bool:
    """Say whether Vast said in so many words that the instance does not exist; a bare 404 does not."""
    known_status = answer.good or answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
    return known_status and answer.code == "no_such_instance"


def destroyed(answer: Answer) -> bool:
    """Say whether a destroy found nothing left to destroy, in either of the two documented wordings."""
    missing = answer.status == HTTPStatus.NOT_FOUND and answer.code == "not_found"
    return absent(answer) or (missing and "instance" in answer.said)


def no_templates(answer: Answer) -> bool:
    """Say whether a search of templates found none, which Vast words as a failure."""
    return answer.good and answer.denied and "no templates found" in answer.said


def problem(answer: Answer) -> VastError | None:
    """Say what is wrong with the answer to a read or a destroy; None = its fields may be read."""
    if closed := limited(answer):
        return closed
    if _key_unknown(answer):
        return _explained(BadKey, answer)
    if answer.good and answer.fields is None:
        return Transient(f"{answer} (not a JSON object)")
    if answer.good and not answer.denied:
        return None
    own_words = answer.good or (_client_error(answer) and answer.worded)
    if not own_words or answer.status in _UNSURE or _BROKEN.search(answer.said):
        return Transient(str(answer))
    return _refusal(answer)


def contract(answer: Answer) -> int:
    """Return the contract that a create made.

    Raises RateLimited, BadKey, NoCredit, OfferGone or Refused when Vast said that nothing was made,
    StartedStopped when it made a stopped box, and Ambiguous for every answer that leaves it open.
    """
    if closed := limited(answer):
        raise closed
    made = identity((answer.fields or {}).get("new_contract"))
    if made is not None and answer.denied:
        raise StartedStopped(made)
    if made is not None and answer.good:
        return made
    if made is None and _definite(answer):
        raise _explained(BadKey, answer) if _key_unknown(answer) else _refusal(answer)
    raise Ambiguous(str(answer))


def _definite(answer: Answer) -> bool:
    """Say whether a create without a contract certainly made nothing."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return True
    if answer.status in _UNSURE or _BROKEN.search(answer.said):
        return False
    if (answer.fields or {}).get("new_contract") is not None:
        return False
    if answer.good:
        return answer.denied and answer.worded
    if not _client_error(answer):
        return False
    return answer.worded or bool(_GONE_PLAINLY.search(answer.said))


def _key_unknown(answer: Answer) -> bool:
    if answer.status == HTTPStatus.UNAUTHORIZED or answer.code == "auth_error":
        return True
    return _client_error(answer) and bool(_BAD_KEY.search(answer.said))


def _client_error(answer: Answer) -> bool:
    return HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR


def _refusal(answer: Answer) -> Refused:
    """Name a refusal by its words; the status is not told apart by Vast."""
    if _NO_CREDIT.search(answer.said) or answer.status == HTTPStatus.PAYMENT_REQUIRED:
        return _explained(NoCredit, answer)
    return OfferGone(str(answer)) if _OFFER_GONE.search(answer.said) else Refused(str(answer))


def _explained(kind: type[Explained], answer: Answer) -> Explained:
    """Put what to do about it before Vast's words."""
    return kind(f"{' '.join((kind.__doc__ or '').split())} {answer}")


def _retry_after(answer: Answer) -> float | None:
    """Return the seconds until the route opens, at most a day; None = the answer does not tell."""
    waits = (wait for wait in _waits(answer) if wait is not None)
    wait = next(waits, None)
    return None if wait is None else min(max(wait, 0.0), DAY)


def _waits(answer: Answer) -> Iterator[float | None]:
    said = answer.headers.get("retry-after")
    yield number(said)
    opens = _date(said)
    yield (opens - (_date(answer.headers.get("date")) or answer.at)).total_seconds() if opens else None
    if answer.code == _QUOTA:
        reset = number(answer.headers.get("x-ratelimit-reset"))
        yield reset - answer.at.timestamp() if reset is not None else None


def _date(said: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(said or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
