"""Give clients an hour in every web process that has this directory on its PYTHONPATH.

So a test can tell by the answer alone, and not by how quickly it came, that nobody waited for another client.
"""

import sys

if {"web", "gunicorn"} & set(sys.orig_argv):
    from magister.web.server import worker

    worker.RECEIVE_SECS = worker.DELIVER_SECS = worker.LINGER_SECS = 3600.0
    sys.stderr.write("clients have an hour\n")  # which a test can see
