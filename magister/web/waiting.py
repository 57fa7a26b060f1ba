"""Who may wait for a busy database or a first listing, and who has to give up the place.

A call that waits keeps a thread, so only so many wait at a time. Places are shared out fairly among the
addresses that calls come from: whoever sends many calls competes with itself and not with others.
"""

import ipaddress
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

KNOWN_PLACES = 64
"""Calls about an instance that is known, or whose key is a good one, that wait at a time."""

OTHER_PLACES = 32
"""Calls of which nothing is known that wait at a time."""

PAUSE = 0.25
"""Seconds between two tries of one call."""

TRIES_PER_SEC = 60
"""Tries of all waiting calls together in a second: the database has others to serve."""

SAME_SITE = 64
"""Leading bits of an IPv6 address that one client can choose nothing of."""


@dataclass(slots=True, eq=False)
class Place:
    """Allow one call to wait until the monotonic clock says `until`, unless the place is `lost` before."""

    client: str
    until: float
    lost: bool = False


class WaitingRoom:
    """Give out places to wait in."""

    def __init__(self, places: int) -> None:
        """Begin empty, with room for `places` calls at a time."""
        self._room = places
        self._taken: list[Place] = []
        self._lock = threading.Lock()

    @contextmanager
    def place(self, client: str, until: float) -> Iterator[Place | None]:
        """Yield a place for a call from `client`, an address; None = there is none, so it must not wait."""
        place = self._take(Place(_site(client), until))
        try:
            yield place
        finally:
            if place is not None:
                self._leave(place)

    def pause(self) -> float:
        """Return the seconds between two tries of a call: more while many wait."""
        with self._lock:
            return max(PAUSE, len(self._taken) / TRIES_PER_SEC)

    def _take(self, place: Place) -> Place | None:
        with self._lock:
            if len(self._taken) >= self._room and not self._make_room(place.client):
                return None
            self._taken.append(place)
            return place

    def _make_room(self, client: str) -> bool:
        """Take a place from the address that has most, and say whether that is fairer than to refuse."""
        places = Counter(place.client for place in self._taken)
        most, count = places.most_common(1)[0]
        if count <= places[client] + 1:
            return False
        loser = next(place for place in reversed(self._taken) if place.client == most)
        loser.lost = True
        self._taken.remove(loser)
        return True

    def _leave(self, place: Place) -> None:
        with self._lock:
            if not place.lost:
                self._taken.remove(place)


def _site(address: str) -> str:
    """Return what calls of one client have in common: of IPv6, a client has a whole network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.ipv4_mapped is not None:
        return address
    return str(ipaddress.IPv6Network((int(parsed), SAME_SITE), strict=False))
