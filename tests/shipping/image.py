"""The image, really built and really run: `make image-test`, which needs root and takes minutes.

The container runs with a read-only root, without a capability, beside a simulated market on loopback.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from magister import __version__
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from tests.acceptance.market import Market
from tests.ports import free_port
from tests.shipping.checkout import ROOT, copied
from tests.shipping.engine import BASE, PLACE, Engine, ready
from tests.waiting import until

pytestmark = pytest.mark.timeout(1500)

TARGET = 3
PATIENCE = 120.0
"""Seconds that a container may take for what takes an installed service two or three."""

NAME = "magister-image-test"
PLAN = MarketPlan(machines=20, dud_share=0.0, unverified_share=0.0, odd_share=0.0)

TOML = """
hierophant_http_port = 9010
[vast_query]
cost_per_hour = 5.0
"""
"""What the operator's file says; the rest comes from an .env that other programs read as well."""

ENV = """
THIS_HIEROPHANT_IP=127.0.0.1
HIEROPHANT_IP=127.0.0.1
THIS_MAGISTER_ADDR=http://127.0.0.1
VAST_API_KEY=simulated-key
VAST_TEMPLATE_HASH={template}
NUMBER_INSTANCES={target}
CONTEMPLANT_VMS=sp1,risc0
CONTEMPLANT_SP1_BACKEND=cuda
CONTEMPLANT_RISC0_BACKEND=cuda
CONTEMPLANT_RISC0_GROTH16=true
MOONGATE_ENDPOINT=http://127.0.0.1:3000/twirp/
RUST_LOG=info
DATABASE_URL=
HTTP_PORT={port}
VAST_API_URL={market}
TASK_POLLING_INTERVAL_SECS=1
PACE_LIST_SECS=0.1
PACE_CREATE_SECS=0.1
"""

BASH_HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/{port}; "
    r"printf 'GET /summary HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3; "
    "head -1 <&3 | grep -q '200 OK'"
)
"""How the published compose file asks whether it is well."""

BUILDERS = ("cc", "gcc", "g++", "make", "ld", "pip", "pip3", "git")
PREBUILT = f"{NAME}:prebuilt"
HARD = "--read-only --read-only-tmpfs=false --cap-drop=all --security-opt=no-new-privileges --network=host"

OWN = {
    "ENGINE": "podman",
    "MAGISTER_NAME": NAME,
    "IMAGE_TAG": "prebuilt",
    "DOCKER_RUN_ARGS": HARD,
    "SOURCE_DATE_EPOCH": "1700000000",  # the checkout is no repository
}


@dataclass
class World(Market):
    """Look at the market, and ask the service on `port` what it knows."""

    port: int = field(default_factory=free_port)

    def get(self, path: str) -> dict[str, object] | None:
        """Return what the service answers; None = it does not, or not with 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return dict(json.load(answer)) if answer.status == 200 else None
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def states(self) -> dict[str, int]:
        """Return how many boxes the service has in each state; none = it does not answer."""
        counted = (self.get("/summary") or {}).get("states", {})
        assert isinstance(counted, dict)
        return counted

    def full(self) -> bool:
        """Say whether the service counts a full pool as verified, and the market as well."""
        return self.states().get("verified") == TARGET == len(self.verified())

    def known(self) -> bool:
        """Say whether the service counts each box; one that it adopts young is `created` to it."""
        return sum(self.states().values()) == TARGET == len(self.live())


@dataclass
class Ran:
    """Hold what was seen: of the container that `make run` makes, and of one as others have published."""

    user: str = ""
    wrote_root: bool = True
    well: bool = False
    builders: str = ""
    grew: int = 0
    stop_secs: float = 0.0
    code: str = ""
    resumed: int = 0
    start_secs: float = 0.0
    bash_well: bool = False
    adopted: int = 0
    rented: int = 0


@pytest.fixture(scope="module")
def engine() -> Engine:
    return ready()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    options = SimulatorOptions(port=0, hierophant_port=0, speed=20.0, rate_scale=0.0, plan=PLAN)
    with SimulatorServer(options) as simulator:
        yield World(simulator)


@pytest.fixture(scope="module")
def source(engine: Engine) -> str:
    """Build the image from the source, and return its name."""
    engine.make(ROOT, "docker", ENGINE="buildah", MAGISTER_NAME=NAME, IMAGE_TAG="source")
    return f"{NAME}:source"


@pytest.fixture(scope="module")
def ran(engine: Engine, world: World, checkout: Path) -> Iterator[Ran]:
    """Let `make run` make and fill a pool; stop it, go on with its volume, and then without any."""
    _forget(engine)
    try:
        engine.make(checkout, "run", **OWN)
        ran = Ran()
        _watch(ran, engine, world)
        _stop_and_resume(ran, engine, world)
        engine.make(checkout, "stop", **OWN)
        _run_as_published(ran, engine, world, checkout)
        ran.rented = len(world.boxes())
        yield ran
    finally:
        _forget(engine)


@pytest.fixture(scope="module")
def checkout(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with the settings of an operator, so that no real ones are ever read."""
    checkout = copied(tmp_path_factory.mktemp("checkout"))
    place = {"port": world.port, "market": world.simulator.url}
    (checkout / ".env").write_text(ENV.format(template=KNOWN_TEMPLATE, target=TARGET, **place))
    (checkout / "magister.toml").write_text(TOML)
    (checkout / "magister.toml").chmod(0o644)
    return checkout


def _forget(engine: Engine) -> None:
    """Take away what an earlier run may have left."""
    engine("podman", "rm", "--force", "--ignore", "--volumes", NAME)
    engine("podman", "volume", "rm", "--force", f"{NAME}-data", check=False)


def _listed_again(world: World) -> None:
    """Wait until every box is known and listed more than once from now on."""
    before = world.asked("list")
    until(lambda: world.known() and world.asked("list") > before + 2, "a known pool", patience=PATIENCE)


def _watch(ran: Ran, engine: Engine, world: World) -> None:
    until(world.full, "a full pool", patience=PATIENCE)
    ran.grew = len(world.live())
    ran.user = engine.inside(NAME, "id").stdout
    ran.wrote_root = engine.inside(NAME, "touch", "/opt/magister/x").returncode == 0
    ran.well = engine("podman", "healthcheck", "run", NAME, check=False).returncode == 0
    ran.builders = engine.inside(NAME, "bash", "-c", f"command -v {' '.join(BUILDERS)}").stdout


def _stop_and_resume(ran: Ran, engine: Engine, world: World) -> None:
    begun = time.monotonic()
    engine("podman", "stop", NAME)
    ran.stop_secs = time.monotonic() - begun
    ran.code = engine.told("container", NAME, "{{.State.ExitCode}}")
    engine("podman", "start", NAME)
    _listed_again(world)
    ran.resumed = len(world.live())


def _run_as_published(ran: Ran, engine: Engine, world: World, checkout: Path) -> None:
    """Run the image as the published compose file does: without a volume, in the network of the host."""
    file = f"{checkout}/magister.toml:/home/magister/magister.toml:ro"
    begun = time.monotonic()
    engine(
        *("podman", "run", "--detach", "--name", NAME, "--network", "host", "--volume", file),
        *("--env-file", str(checkout / ".env"), PREBUILT),
    )
    until(lambda: world.get("/healthz"), "an answer", patience=PATIENCE)
    ran.start_secs = time.monotonic() - begun
    question = BASH_HEALTH.format(port=world.port)
    ran.bash_well = engine.inside(NAME, "bash", "-c", question).returncode == 0
    _listed_again(world)
    ran.adopted = len(world.live())


@pytest.fixture(scope="module", autouse=True)
def figures(engine: Engine, source: str, ran: Ran) -> Iterator[None]:
    """Write what was measured, once all is told."""
    yield
    rows = {
        "base image": f"{engine.size(BASE)} MB",
        "image from the source": f"{engine.size(source)} MB",
        "image from the wheel": f"{engine.size(PREBUILT)} MB",
        "from `run` to `/healthz`, database made": f"{ran.start_secs:.1f} s",
        "SIGTERM to the end": f"{ran.stop_secs:.1f} s, exit code {ran.code}",
        "user": ran.user.split()[0],
        "root file system": "written to" if ran.wrote_root else "read-only",
    }
    lines = ["| image | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    (PLACE / "figures.md").write_text("\n".join(lines) + "\n")


def test_the_image_from_the_source_is_that_from_the_wheel(engine: Engine, source: str, ran: Ran) -> None:
    said = [engine("podman", "run", "--rm", image, "--version").stdout for image in (source, PREBUILT)]
    assert said == [f"magister {__version__}\n"] * 2
    assert abs(engine.size(source) - engine.size(PREBUILT)) <= 1


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("{{.Config.User}}", "magister"),
        ("{{.Config.WorkingDir}}", "/home/magister"),
        ("{{json .Config.Volumes}}", '{"/home/magister":{}}'),
        ("{{json .HealthCheck.Test}}", '["CMD","magister","health"]'),
        ('{{index .Labels "org.opencontainers.image.licenses"}}', "AGPL-3.0-only"),
        ('{{index .Labels "org.opencontainers.image.version"}}', __version__),
        (
            '{{index .Labels "org.opencontainers.image.source"}}',
            "https://github.com/unattended-backpack/magister",
        ),
        ('{{index .Labels "org.opencontainers.image.vendor"}}', "Unattended Backpack, Inc."),
        ('{{index .Labels "org.opencontainers.image.base.name"}}', BASE),
    ],
)
def test_the_image_says_how_it_is_to_be_run(engine: Engine, ran: Ran, form: str, value: str) -> None:
    assert engine.told("image", PREBUILT, form) == value


def test_make_run_fills_a_pool(ran: Ran) -> None:
    assert ran.grew == TARGET


def test_nobody_in_the_container_is_root(ran: Ran) -> None:
    assert ran.user == "uid=1000(magister) gid=1000(magister) groups=1000(magister)\n"


def test_its_root_file_system_is_read_only(ran: Ran) -> None:
    assert not ran.wrote_root


def test_its_health_check_finds_it_well(ran: Ran) -> None:
    assert ran.well


def test_nothing_in_it_can_build(ran: Ran) -> None:
    assert ran.builders == ""


def test_it_speaks_to_postgresql(engine: Engine, ran: Ran) -> None:
    asked = ("--entrypoint", "python", PREBUILT, "-c", "import psycopg; print(psycopg.pq.__impl__)")
    assert engine("podman", "run", "--rm", *asked).stdout == "binary\n"


def test_sigterm_ends_it_in_good_order(ran: Ran) -> None:
    assert ran.code == "0"
    assert ran.stop_secs < 12


def test_it_goes_on_with_its_volume(ran: Ran) -> None:
    assert ran.resumed == TARGET


def test_the_published_compose_file_needs_only_another_image_name(ran: Ran) -> None:
    assert ran.bash_well
    assert ran.adopted == TARGET


def test_no_box_was_rented_twice_for_all_that(ran: Ran) -> None:
    assert ran.rented == TARGET


def test_a_setting_that_is_missing_is_told_in_lines(engine: Engine, ran: Ran) -> None:
    done = engine("podman", "run", "--rm", PREBUILT, check=False)
    assert done.returncode == 2
    assert "vast_api_key" in done.stderr
    assert "Traceback" not in done.stderr
