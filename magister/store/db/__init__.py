"""The database itself: engines, tables, views, migrations, the lease.

It knows nothing of what the rows mean. Begin with `models`.
"""
