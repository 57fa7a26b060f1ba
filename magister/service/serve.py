"""The whole service: the socket, the migration, then the web and the loop side by side as processes."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from magister.errors import BadSettings
from magister.service import startup
from magister.service.supervisor import Role, supervisor
from magister.settings import reload
from magister.settings.model import DOTENV, Loaded, Settings

log = structlog.get_logger("magister.serve")


def serve(config: Path | None, *, parent: int | None = None) -> int:
    """Run the service until SIGTERM or SIGINT, and return the exit code; the rented boxes go on.

    1. Everything the operator may have got wrong is found before anything starts: settings, port, database.
    2. The database is brought up to date in a process that then ends, so that this one stays small.
    3. The socket stays open here, so that calls wait while the web side is being started again.
    4. On SIGHUP the settings are read again, and others take the places of those that run with the old ones.

    `parent` is the pipe to whoever started this, who takes it along when dying. Raises Unusable.
    """
    with supervisor(parent) as children:
        loaded = startup.begin(config)
        with startup.listen(loaded.settings) as listener:
            service = Service(config, listener.fileno(), loaded)
            code = children.finish(service.migration())
            if code is None:
                return 0
            if code != 0:
                return max(code, 1)  # a signal counts as a failure
            log.info(_greeting(loaded.settings))
            code = children.keep(service.roles(), service.reread)
        log.info("serve.ended", code=code, why="the rented boxes go on, and the next start takes them over")
        return code


@dataclass(slots=True)
class Service:
    """Hold the settings in force and the socket's descriptor; `config` None = ./magister.toml, if any."""

    config: Path | None
    descriptor: int
    loaded: Loaded

    def migration(self) -> Role:
        """Return who brings the database up to date."""
        return Role("migrate", ("migrate", "--quiet"), self._told())

    def roles(self) -> tuple[Role, ...]:
        """Return who is to run with the settings in force."""
        fd, told = self.descriptor, self._told()
        web = Role("web", ("web", "--fd", str(fd)), told, descriptors=(fd,), seamless=True)
        return web, Role("worker", ("worker",), told)

    def reread(self) -> tuple[Role, ...] | None:
        """Read the settings again, and return who is to run with them; None = nothing changes.

        All or none of them hold: half of them could be an address without the port behind it, or a target
        without its budget.
        """
        try:
            # a file that was there is not given up for the defaults because it is not there for a moment
            self._require_dotenv()
            fresh = startup.usable(self.config or self.loaded.config)
            changed = reload.between(self.loaded, fresh)
        except BadSettings as error:
            _refuse(error.problems)
            return None
        if not changed:
            log.info("reload.unchanged", why="the environment, .env and magister.toml say what they said")
            return None
        self.loaded = fresh
        startup.take_up(fresh)
        log.info("reload.accepted", changed="; ".join(map(str, changed)))
        return self.roles()

    def _require_dotenv(self) -> None:
        """Raise BadSettings if the .env is gone that settings in force come from."""
        lost = [name for name, origin in self.loaded.origins.items() if origin.startswith(f"{DOTENV} ")]
        if lost and not DOTENV.exists():
            line = f"{DOTENV}: is not there, and {', '.join(lost)} came from it; restart to do without it"
            raise BadSettings((line,))

    def _told(self) -> bytes:
        return startup.handed_down(self.loaded.settings)


def _refuse(problems: tuple[str, ...]) -> None:
    log.error("reload.refused", what="; ".join(problems), why="all goes on with the settings as they were")


def _greeting(settings: Settings) -> str:
    return (
        f"listening on http://{settings.web.bind}:{settings.http_port}, target {settings.number_instances}, "
        f"database {settings.database_url_shown}"
    )
