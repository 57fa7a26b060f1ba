"""Decide what to do next: observed facts in, actions out.

Pure: the clock is an argument, and nothing is read or sent. Begin with `plan.plan`.
"""
