"""What instances cost: invoices of Vast, sums for caps, reservations for traffic.

Money only; what is decided by it stands in the planner. Begin with `spending`.
"""
