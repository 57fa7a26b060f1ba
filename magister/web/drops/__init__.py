"""Drops that the database does not take at once: kept in memory or on disk until it does.

No drop is decided here. Begin with `queue`.
"""
