"""Everything that is kept in SQL, and the one door for a move of an instance.

No calls to Vast, no decisions. Begin with `transitions` and `instances`.
"""
