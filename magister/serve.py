"""The whole service: the socket, the migration, then the web and the loop side by side as processes."""

from pathlib import Path

import structlog

from magister import startup
from magister.settings import Settings
from magister.supervisor import Role, supervisor

log = structlog.get_logger("magister.serve")


def serve(config: Path | None, *, parent: int | None = None) -> int:
    """Run the service until SIGTERM or SIGINT, and return the exit code; the rented boxes go on.

    1. Everything the operator may have got wrong is found before anything starts: settings, port, database.
    2. The database is brought up to date in a process that then ends, so that this one stays small.
    3. The socket stays open here, so that calls wait while the web side is being started again.

    `parent` is the pipe to whoever started this, who takes it along when dying. Raises Unusable.
    """
    settings = startup.begin(config).settings
    same = () if config is None else ("--config", str(config))
    with startup.listen(settings) as listener, supervisor(parent) as children:
        code = children.finish(Role("migrate", ("migrate", "--quiet", *same)))
        if code is None:
            return 0
        if code != 0:
            return max(code, 1)  # a signal counts as a failure
        log.info(_greeting(settings))
        descriptor = listener.fileno()
        code = children.keep(
            Role("web", ("web", "--fd", str(descriptor), *same), (descriptor,)),
            Role("worker", ("worker", *same)),
        )
        log.info("serve.ended", code=code, why="the rented boxes go on, and the next start takes them over")
        return code


def _greeting(settings: Settings) -> str:
    return (
        f"listening on http://{settings.web.bind}:{settings.http_port}, target {settings.number_instances}, "
        f"database {settings.database_url_shown}"
    )
