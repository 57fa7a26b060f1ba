"""Calls that a web page makes an operator's browser send: no page may verify or drop anything.

A page of anybody's can make a browser that stands behind the firewall send a GET, and after it has let its
own name lead to the address of Magister (DNS rebinding) any other call as well. Programs send none of what
browsers always send, so a call with it is refused whatever page it comes from: Magister's own only shows.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from magister.errors import FromBrowser


def refuse_pages(headers: Mapping[str, str], *, method: str, address: str) -> None:
    """Raise FromBrowser for a verify or a drop that a page has made a browser send.

    1. `Origin` and `Sec-Fetch-Site` are sent by browsers alone, and no page can leave them out.
    2. Neither is sent with a plain GET over HTTP; the User-Agent of every browser begins with Mozilla/.
    3. A page that has rebound its name can choose its User-Agent in some browsers, but not the Host.
       `address` is where workers reach Magister.
    """
    if headers.get("Origin") is not None or headers.get("Sec-Fetch-Site") is not None:
        raise FromBrowser
    if method == "GET" and headers.get("User-Agent", "").startswith("Mozilla/"):
        raise FromBrowser
    if headers.get("Accept-Language") is not None and not _trusted(headers.get("Host", ""), address):
        raise FromBrowser


def _trusted(host: str, address: str) -> bool:
    """Say whether no page of a stranger can have been loaded from `host`."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        own = urlsplit(address).hostname
    except ValueError:
        return False
    return name == own or ("." not in name and ":" not in name) or _literal(name)


def _literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
