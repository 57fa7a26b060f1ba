"""Wait for what is going to happen, and no longer."""

from tests.waiting import PATIENCE, until

__all__ = ["PATIENCE", "until"]
