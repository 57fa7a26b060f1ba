"""Whether the service that runs here answers, as the health check of a container asks."""

from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click

from magister.settings.model import Settings, load

PATIENCE = 8.0
"""Seconds within which the service has to answer."""

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not where to listen
"""Where to ask a service that listens on every address."""


def run(config: Path | None) -> int:
    """Ask /healthz where these settings let it listen, and return the exit code: 0 = it answers.

    Raises BadSettings.
    """
    settings = load(config).settings
    if trouble := found(settings):
        click.echo(f"magister: {trouble}", err=True)
        return 1
    return 0


def found(settings: Settings) -> str | None:
    """Return what is wrong with the service in a line; None = it answers as it should."""
    bind = settings.web.bind.strip("[]")
    connection = HTTPConnection(EVERYWHERE.get(bind, bind), settings.http_port, timeout=PATIENCE)
    where = f"http://{settings.web.bind}:{settings.http_port}/healthz"
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"{where} does not answer: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"{where} answers {status}"
