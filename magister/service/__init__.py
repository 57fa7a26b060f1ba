"""How the processes start, are watched and end.

No rule of the pool stands here. Begin with `serve` and `wiring`.
"""
