"""What the operator sets: the names, the types, where each value came from.

Nothing here asks anybody over the network or reads the database. Begin with `model.Settings`.
"""
