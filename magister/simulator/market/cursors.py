"""Cursors of keyset pagination, in the form Vast's documentation shows."""

import base64
import binascii
import json
from collections.abc import Mapping

from magister.simulator.market.errors import Refused


def token_for(values: Mapping[str, object]) -> str:
    """Encode the sort values of the last row of a page."""
    return base64.b64encode(json.dumps({"values": dict(values)}).encode()).decode()


def values_of(token: str) -> dict[str, object]:
    """Decode a cursor; raises `Refused` with 400 `invalid_token`."""
    try:
        decoded: object = json.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        decoded = None
    values = decoded.get("values") if isinstance(decoded, dict) else None
    if not isinstance(values, dict) or "id" not in values:
        raise Refused(400, "invalid_token", "Invalid pagination token")
    return values


def value_of(token: str, name: str) -> object:
    """Decode one value of a cursor; raises `Refused` with 400 `invalid_token`."""
    return values_of(token).get(name)
