"""Vast.ai as the rest of Magister sees it: what may be asked, and the client that asks it over HTTP."""

from magister.vast.access import Access
from magister.vast.client import HttpVast
from magister.vast.protocol import Vast
from magister.vast.rate_limiter import Pacer

__all__ = ["Access", "HttpVast", "Pacer", "Vast"]
