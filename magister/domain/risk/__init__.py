"""What earlier rentals say of machines, hosts and templates, and how boldly to rent after them.

Pure: it is given the history and never reads it. Begin with `reputation`.
"""
