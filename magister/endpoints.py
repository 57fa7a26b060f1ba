"""Pure: the drop endpoint of a worker, read back as what it says."""

from urllib.parse import parse_qsl

from magister.settings_types import LARGEST_ID


def offer_of(endpoint: str, drop_prefix: str) -> tuple[int, str | None] | None:
    """Return the offer id and the mac that a drop endpoint of ours bears; None = it is not ours.

    `drop_prefix` is the endpoint up to the offer id. A mac of None = it bears none.
    """
    digits, _, query = endpoint.removeprefix(drop_prefix).partition("?")
    if not endpoint.startswith(drop_prefix) or not (digits.isascii() and digits.isdigit()):
        return None
    # the length first: Python refuses to read a number of thousands of digits
    if len(digits) > len(str(LARGEST_ID)) or not 0 < int(digits) <= LARGEST_ID:
        return None
    return int(digits), next((value for name, value in parse_qsl(query) if name == "key"), None)
