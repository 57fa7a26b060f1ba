"""The directory of a demo: its ports, its settings, its logs; whoever starts it again there goes on."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from magister.errors import Unusable
from magister.settings.describe import toml
from magister.settings.model import Settings, load
from magister.settings.policy import Caution, Health
from magister.settings.runtime import Pace
from magister.simulator.market.config import KNOWN_TEMPLATE
from magister.simulator.runtime.simulation import DEFAULT_KEY

TARGET = 5

SPEED = 20
"""How much faster than life the demo runs: the simulated market and every interval of the settings alike."""

SEED = 12
"""A market in which one of the five cheapest machines never works."""

MACHINES = 40

DUD_SHARE = 0.1

UNHURRIED = frozenset({"timeout_secs", "connect_timeout_secs", "clock_jump_secs", "tick_secs"})
"""Settings that concern this computer, which is no faster than in life."""

MARKER = "demo.json"


@dataclass(frozen=True, slots=True)
class Ports:
    """Hold the ports of a demo: rented boxes report to the first, so they stay the same."""

    magister: int
    vast: int
    hierophant: int


@dataclass(frozen=True, slots=True)
class Place:
    """Hold where a demo lives, as an absolute path, and its ports."""

    directory: Path
    ports: Ports

    @property
    def config(self) -> Path:
        """Return the settings file of the service."""
        return self.directory / "magister.toml"

    @property
    def database(self) -> Path:
        """Return the service's database."""
        return self.directory / "magister.db"

    @property
    def market(self) -> Path:
        """Return the file in which the simulator keeps its market."""
        return self.directory / "market.json"

    @property
    def settings(self) -> Settings:
        """Return the settings as the service reads them."""
        return load(self.config, {}, dotenv=self.directory / "none").settings

    def log(self, name: str) -> Path:
        """Return the log of one process."""
        return self.directory / f"{name}.log"


def open_place(directory: Path) -> Place:
    """Make a directory a demo's, or find one that is; its settings are written anew.

    Raises Unusable if it cannot be written, or holds something else: the demo must never take a real
    magister.toml or database for its own.
    """
    marker = directory.absolute() / MARKER
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not marker.exists() and any(directory.iterdir()):
            raise Unusable(f"{directory} is not empty and not a demo's: choose another with --dir")
        if not marker.exists():
            marker.write_text(json.dumps(asdict(_free_ports())))
        place = Place(marker.parent, Ports(**json.loads(marker.read_text())))
        place.config.write_text("\n".join(_lines(place)) + "\n")
    except OSError as error:
        raise Unusable(f"{directory} cannot be used for the demo: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise Unusable(f"{marker} cannot be read: remove {directory} to begin anew") from error
    return place


def _free_ports() -> Ports:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return Ports(*(each.getsockname()[1] for each in sockets))


def _lines(place: Place) -> Iterator[str]:
    """Write the settings: a pool as anybody might keep it, only that its time passes faster."""
    yield "# Written by `magister demo` at each start."
    top: dict[str, object] = {
        "this_magister_addr": "http://127.0.0.1",
        "http_port": place.ports.magister,
        "hierophant_ip": "127.0.0.1",
        "hierophant_http_port": place.ports.hierophant,
        "vast_api_url": f"http://127.0.0.1:{place.ports.vast}",
        "vast_api_key": DEFAULT_KEY,
        "template_hash": KNOWN_TEMPLATE,
        "number_instances": TARGET,
        "database_url": f"sqlite:///{place.database}",
        "task_polling_interval_secs": 30 / SPEED,
        "contemplant_verification_timeout_secs": 180 / SPEED,
        "vast_api_call_backoff_secs": 10 / SPEED,
    }
    tables: dict[str, dict[str, object]] = {
        "vast_query": {"gpu_name": ["RTX 4090", "RTX 5090"], "disk_space": 32, "cost_per_hour": 0.6},
        "web": {"bind": "127.0.0.1"},
        "pace": {**_hurried(Pace()), "tick_secs": 0.1},
        "health": _hurried(Health()),
        "caution": _hurried(Caution()),
    }
    yield from _assigned(top)
    for name, table in tables.items():
        yield f"\n[{name}]"
        yield from _assigned(table)
    yield '\n[[contemplant.provers]]\nvm = "sp1"\nbackend = "cuda"'


def _hurried(group: Pace | Health | Caution) -> dict[str, object]:
    """Divide every interval of a group by the speed of the demo."""
    hurried: dict[str, object] = {}
    for key, value in group:
        if key.endswith("_secs") and key not in UNHURRIED:
            several = isinstance(value, tuple)
            hurried[key] = [part / SPEED for part in value] if several else value / SPEED
    return hurried


def _assigned(table: dict[str, object]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{key} = {toml(value)}"
