"""Pure: the drop endpoint of a worker, read back as the offer it says."""

import re

from magister.facts import LARGEST_ID

_PATH = re.compile(r"https?://[^/?#\s]+(?:/[^?#\s]*)?/drop/([0-9]{1,19})(?:\?[^#\s]*)?")


def offer_of(endpoint: str) -> int | None:
    """Return the offer id that a drop endpoint bears; None = it is none.

    Only the path counts: a box keeps the address and the key it was rented with when settings change, and
    an offer is rented once at a time, by us or by another.
    """
    found = _PATH.fullmatch(endpoint)
    return int(found[1]) if found and 0 < int(found[1]) <= LARGEST_ID else None
