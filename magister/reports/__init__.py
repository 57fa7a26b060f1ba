"""What people read of the pool, as values and sentences.

It reads and never writes. Begin with `overview` and `pool_story`.
"""
