"""The HTTP server under gunicorn: one thread a request, slow clients wait outside.

Nothing here knows of instances. Begin with `worker`.
"""
