"""The loop that acts: observe, plan, send each action once, take in what came of it.

It decides nothing. Begin with `reconciler`.
"""
