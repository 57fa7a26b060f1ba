"""Pure: the callback URL of a worker, read back as the instance that it means."""

import re
from dataclasses import dataclass, field

from magister.domain.observed import LARGEST_ID

_CALLBACK = re.compile(r"https?://[^/?#\s]+(?:/[^?#\s]*)?/drop/([0-9]{1,19})(?:\?([^#\s]*))?")
_KEY = re.compile(r"(?:^|&)key=([0-9a-f]{1,64})(?=&|$)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Hold what a callback URL says; `key` is its callback key, None = it carries none."""

    offer_id: int
    key: str | None = field(repr=False)


def key_in(start_text: str, offer_id: int) -> str | None:
    """Return the callback key that an instance on an offer was started with; None = none is to be seen."""
    found = re.search(rf"/drop/{offer_id}\?key=([0-9a-f]{{1,64}})(?![0-9a-f])", start_text)
    return found[1] if found else None


def read(address: str) -> Endpoint | None:
    """Return the offer and the callback key of a drop endpoint; None = it is none.

    The host does not count: an instance keeps the address it was rented with when settings change. An offer
    may be rented again at once, so only the key tells its instances apart.
    """
    found = _CALLBACK.fullmatch(address)
    if found is None or not 0 < int(found[1]) <= LARGEST_ID:
        return None
    key = _KEY.search(found[2] or "")
    return Endpoint(int(found[1]), key[1] if key else None)
