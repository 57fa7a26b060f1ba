"""What the operator may set: environment over .env over magister.toml over default; nothing unknown."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from magister.domain.observed import BEATS
from magister.errors import BadSettings
from magister.settings import addresses, describe
from magister.settings.contemplant import PROVER_VARIABLES, Contemplant
from magister.settings.describe import Described, Found, Known, Shown
from magister.settings.policy import Billing, Budget, Caution, Health, Placement
from magister.settings.runtime import Hierophant, Lease, Pace, VastQuery, Web
from magister.settings.sources import (
    PROVERS,
    RUST_LOG,
    File,
    Layer,
    LayerSource,
    Variables,
    file_at,
    provers_in,
    variables_in,
)
from magister.settings.types import (
    Address,
    Allowed,
    Database,
    Env,
    Hash,
    Ids,
    Interval,
    Key,
    Label,
    LogLevel,
    Many,
    Port,
    Token,
    Url,
    Wait,
)

FILE = Path("magister.toml")
DOTENV = Path(".env")
ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)


class Settings(BaseSettings):
    """Hold every setting; made directly it reads nothing from outside, `load` is what does."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )
    layers: ClassVar[tuple[Layer, ...]] = ()

    http_port: Port = Field(default=8555, description="Port Magister listens on.")
    this_magister_addr: Annotated[str, Allowed("http(s)://host or http(s)://host:port")] = Field(
        description="Address to reach Magister at, scheme://host; http_port is added unless it names one.",
        examples=["http://203.0.113.7"],
    )
    hierophant_ip: Address = Field(
        description="Host name or IP address under which workers reach Hierophant.", examples=["203.0.113.8"]
    )
    hierophant_http_port: Port = Field(description="HTTP port of Hierophant.", examples=[9010])
    vast_api_key: Key = Field(
        description="API key of the Vast account; never shown and never sent into a box.",
        examples=[""],
    )
    template_hash: Annotated[Hash, Env(("TEMPLATE_HASH", "VAST_TEMPLATE_HASH"))] = Field(
        description="Hash of the Vast template every box is made from.",
        examples=["819fdf2e42fc8ceb32f295465b5bb21e"],
    )
    number_instances: Many = Field(description="Boxes to keep rented, 0 to 10000.", examples=[4])
    vast_api_call_backoff_secs: Interval = Field(
        default=10, description="Wait after a 429 that names none, longer each time in a row, seconds."
    )
    task_polling_interval_secs: Wait = Field(
        default=30, description="How often all instances are listed at Vast, seconds."
    )
    contemplant_verification_timeout_secs: Wait = Field(
        default=180, description="How long a new box has until its worker calls /verify, seconds."
    )
    bad_hosts: Ids = Field(
        default=frozenset(), description="Vast host ids never to rent from.", examples=[[213498, 74292]]
    )
    bad_machines: Ids = Field(
        default=frozenset(), description="Vast machine ids never to rent.", examples=[[12217, 19571]]
    )
    good_hosts: Ids = Field(
        default=frozenset(), description="Vast host ids to take first.", examples=[[207289, 1276]]
    )
    good_machines: Ids = Field(
        default=frozenset(), description="Vast machine ids to take first.", examples=[[13428, 8218]]
    )
    vast_api_url: Url = Field(default="https://console.vast.ai", description="Where Vast's API is.")
    database_url: Database = Field(
        default=SecretStr("sqlite:///magister.db"),
        description="Database: an SQLite file, or postgresql+psycopg://… for several hosts.",
    )
    instance_label: Label = Field(
        default="magister",
        description="Tag before the colon in the label of each box, by which ours are known.",
    )
    api_token: Token = Field(
        default=None,
        description="Secret, 16 characters or more, that signed callback URLs before they had own keys.",
        examples=[""],
    )
    log_level: Annotated[LogLevel, Env(("MAGISTER_LOG", RUST_LOG))] = Field(
        default="info", description="How much is logged: debug, info, warning or error."
    )
    vast_query: VastQuery = VastQuery()
    contemplant: Contemplant = Contemplant()
    pace: Pace = Pace()
    health: Health = Health()
    caution: Caution = Caution()
    placement: Placement = Placement()
    budget: Budget = Budget()
    billing: Billing = Billing()
    lease: Lease = Lease()
    hierophant: Hierophant = Hierophant()
    web: Web = Web()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what is given and the layers, nothing else; the first to know a value wins."""
        return (init_settings, *(LayerSource(settings_cls, layer) for layer in cls.layers))

    @field_validator("this_magister_addr")
    @classmethod
    def _with_port(cls, value: str, known: ValidationInfo) -> str:
        """Normalise to scheme://host:port."""
        parts = ADDRESS.fullmatch(value)
        if parts is None or not 0 < int(parts["port"] or 1) <= 65535:
            raise ValueError
        if "drop" in value.lower():
            raise ValueError(
                'must not contain "drop": the worker turns that into "verify" wherever it stands'
            )
        return f"{parts['scheme'].lower()}://{parts['host']}:{parts['port'] or known.data.get('http_port')}"

    @property
    def hierophant_ws_address(self) -> str:
        """Return the WebSocket address workers connect to."""
        return f"ws://{self.hierophant_ip}:{self.hierophant_http_port}/ws"

    @property
    def hierophant_url(self) -> str:
        """Return where Magister itself reaches Hierophant, without a slash at the end."""
        return self.hierophant.url or f"http://{self.hierophant_ip}:{self.hierophant_http_port}"

    @property
    def beat_timeout_secs(self) -> float:
        """Return for how long a box that used to beat may be silent: never less than some beats."""
        return max(self.health.beat_timeout_secs, float(BEATS * self.contemplant.beat_secs))

    @property
    def database_url_shown(self) -> str:
        """Return the database URL with any password masked."""
        url = re.sub(r"^([^:]+://[^:/@]*):.*@", rf"\1:{describe.MASK}@", self.database_url.get_secret_value())
        return re.sub(r"(?i)((?:password|passfile)=)[^&]*", rf"\1{describe.MASK}", url)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Hold the settings, the origin of each, what is doubtful, and the file read (None = none)."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    config: Path | None


def load(
    config: Path | None, environ: Mapping[str, str] | None = None, *, dotenv: Path | None = None
) -> Loaded:
    """Load the settings: `environ` over `dotenv` over the TOML file over the defaults.

    None means: for `config` ./magister.toml if it exists, for `environ` that of the process, for
    `dotenv` ./.env; a missing .env is never a problem.
    Raises BadSettings with every problem found.
    """
    path = config if config is not None else FILE if FILE.exists() else None
    file = file_at(path, Settings) if path is not None else File({})
    places = (
        Variables(os.environ if environ is None else environ, "environment"),
        variables_in(dotenv or DOTENV),
    )
    described_by_variables = provers_in(places)
    layers = [place.layer(Settings) for place in places]
    if described_by_variables and not _has_provers(file.layer):
        layers.insert(0, {PROVERS: described_by_variables})
    layers.append(file.layer)
    found = {name: value for layer in reversed(layers) for name, value in layer.items()}
    read = _read(layers, found, file.problems, str(path or FILE))
    names = [setting.name for setting in describe.known(Settings)]
    origins = {name: found[name].origin if name in found else describe.DEFAULT for name in names}
    warnings = (*_conflicts(places, file.layer, origins[PROVERS]), *_doubts(read))
    return Loaded(read, origins, warnings, path)


def described() -> tuple[Described, ...]:
    """Describe every setting, for the README, the example and `magister check`."""
    return describe.described(Settings)


def effective(loaded: Loaded) -> tuple[Shown, ...]:
    """Show every setting in force with its origin, secrets masked."""
    settings = loaded.settings
    rows: list[Shown] = []
    for setting in describe.known(Settings):
        if setting.name == "database_url":
            text = describe.toml(settings.database_url_shown)
        else:
            text = describe.shown(value(settings, setting), secret=setting.secret)
        rows.append(Shown(setting.name, text, loaded.origins[setting.name]))
    return tuple(rows)


def value(settings: Settings, setting: Known) -> object:
    """Return the value of a setting."""
    holder = getattr(settings, setting.group) if setting.group else settings
    found: object = getattr(holder, setting.key)
    return found


def _read(sources: Sequence[Layer], found: Layer, refused: tuple[str, ...], file: str) -> Settings:
    class Layered(Settings):
        layers = tuple(sources)

    problems = refused
    try:
        read = Layered.model_validate({})
    except ValidationError as error:
        problems += describe.problems(error, Settings, found, file)
    # raised out here so that no traceback carries pydantic's error, which holds the raw values
    if problems:
        raise BadSettings(problems)
    # a plain Settings again: it compares equal to one made directly, and it pickles
    return Settings.model_construct(**dict(read))


def _has_provers(layer: Layer) -> bool:
    return PROVERS in layer and layer[PROVERS].value != []


def _conflicts(places: tuple[Variables, ...], file: Layer, provers: str) -> tuple[str, ...]:
    """Say where two sources disagree in a way that is easily overlooked."""
    said: list[Found] = [
        found
        for place in places
        for name in ("TEMPLATE_HASH", "VAST_TEMPLATE_HASH")
        if (found := place.found(name))
    ]
    said += [file["template_hash"]] if "template_hash" in file else []
    lines: list[str] = []
    if len({describe.toml(found.value) for found in said}) > 1:
        others = "; ".join(f"{found.origin} says {describe.shown(found.value)}" for found in said[1:])
        lines.append(
            f"template_hash: {describe.shown(said[0].value)} from {said[0].origin} is used, though {others}"
        )
    given = [name for name in PROVER_VARIABLES if any(place.found(name) for place in places)]
    if idle := [name for name in given if not re.search(rf" {name}(,|$)", provers)]:
        lines.append(f"{', '.join(idle)}: without effect, for {PROVERS} comes from {provers}")
    return tuple(lines)


def _address_doubts(settings: Settings) -> Iterator[str]:
    """Say which address no worker can call as it stands; what is merely local is for `magister check`."""
    ours = settings.this_magister_addr
    if why := addresses.unencrypted(ours, settings.http_port):
        yield f"this_magister_addr = {ours} {why}"
    for name, host in (
        ("this_magister_addr", urlsplit(ours).hostname or ""),
        ("hierophant_ip", settings.hierophant_ip),
    ):
        if why := addresses.malformed(host):
            yield f"{name} = {host} {why}"


def _doubts(settings: Settings) -> tuple[str, ...]:
    """Say what is allowed but seldom meant."""
    lines = list(_address_doubts(settings))
    used = settings.contemplant.provers_used
    if settings.vast_query.cost_per_hour is None:
        lines.append("vast_query.cost_per_hour is not set: a box may cost ANY price per hour")
    if settings.web.open_callbacks:
        lines.append("web.open_callbacks = true: whoever reaches http_port can drop every instance")
    if not used:
        lines.append("contemplant.provers is not set: whether workers prove anything is left to the template")
    if settings.contemplant.moongate_endpoint is not None and all(prover.vm != "sp1" for prover in used):
        lines.append("contemplant.moongate_endpoint: without effect, for no sp1 prover is set")
    for kind in ("hosts", "machines"):
        bad: frozenset[int] = getattr(settings, f"bad_{kind}")
        good: frozenset[int] = getattr(settings, f"good_{kind}")
        if both := sorted(bad & good):
            lines.append(f"bad_{kind} and good_{kind} both name {', '.join(map(str, both))}: bad wins")
    return tuple(lines)
