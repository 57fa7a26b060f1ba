"""A market of machines, offers and contracts as a pure machine: the time is an argument.

No HTTP and no clock. Begin with `market`.
"""
