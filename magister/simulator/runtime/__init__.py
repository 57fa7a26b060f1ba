"""What makes a market into a running simulation: faults, limits, workers, the coordinator.

No routes here. Begin with `simulation`.
"""
