"""Hierophant as the rest of Magister sees it: whom it lists, and the client that asks it over HTTP."""

from magister.hierophant.client import HttpHierophant
from magister.hierophant.protocol import Hierophant

__all__ = ["Hierophant", "HttpHierophant"]
