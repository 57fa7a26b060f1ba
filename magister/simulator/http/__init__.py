"""Vast's HTTP interface in front of a simulation.

It answers and keeps nothing. Begin with `server`.
"""
