"""The values that all of Magister speaks in: offers, instances, actions, moments, costs.

Pure: no I/O, no clock, no database. Begin with `instance` and `spec`.
"""
