"""The whole controller in one process, against the seeded market, under a clock that only moves by itself.

`clock` is the time, `network` and `database` are where a process can die, `workers` live in the boxes, `laws`
must hold whatever happens, `script` is what happens, drawn from one integer, and `world` lets it happen.
"""
