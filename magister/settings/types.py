"""The kinds of value a setting may hold, each with the words for what it allows."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from magister.domain.countries import objection
from magister.domain.observed import LARGEST_ID

YEAR = 366 * 86400

PUBLIC_KEY = re.compile(
    r"""((?:[^\s"\x00-\x1f\x7f]|"(?:[^"\\\x00-\x1f\x7f]|\\.)*")+[ \t]+)?"""  # options, such as no-pty
    r"(ssh-(rsa|dss|ed25519|ed448)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)(-cert-v01@openssh\.com)?"
    r"[ \t]+AAAA[0-9A-Za-z+/]+={0,2}([ \t][^\x00-\x08\x0a-\x1f\x7f]*)?"
)
"""A line of authorized_keys, by sshd(8): options, kind of key, key in base64, comment."""

RUST_LEVELS = {"trace": "debug", "warn": "warning", "off": "error"}
"""Levels of RUST_LOG that have another name here; nothing switches errors off."""


@dataclass(frozen=True, slots=True)
class Env:
    """Name the environment variables of a setting that are not named after its place; the first wins."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Say what a setting must be, to follow "must be"."""

    words: str


@dataclass(frozen=True, slots=True)
class Unshown:
    """Keep a value that is refused out of the message: it may be a secret that was put in the wrong place."""


class Group(BaseModel):
    """Hold the settings of one table: frozen, nothing unknown, no NaN, no values in errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )


def _number(value: object) -> object:
    # true is 1 to pydantic; an operator who writes it for a number has the wrong line
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic reads ValueError only
    return value


def _listed(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


def _exportable(value: str) -> str:
    # the worker's entrypoint hands its environment through two more shells without quoting it again
    if re.search(r"""['"$`\\\x00-\x1f\x7f]""", value):
        raise ValueError("must not contain ' \" $ ` \\ or a control character: two more shells would read it")
    return value


def _keys(value: str) -> str:
    """Keep the lines that are public keys and drop comments; whatever else it is may be a secret."""
    lines = [line.strip() for line in value.replace("\\n", "\n").splitlines()]
    kept = [line for line in lines if line and not line.startswith("#")]
    for number, line in enumerate(kept, 1):
        if PUBLIC_KEY.fullmatch(line) is None:
            raise ValueError(
                f"must be public SSH keys, one a line, such as ssh-ed25519 AAAA… name; key {number} is none. "
                "Never put a private key or a path here: this text goes into every rented instance"
            )
    return "\n".join(kept)


def _level(value: object) -> object:
    """Take a level of the log by its own name, or by the one that programs written in Rust have for it."""
    word = value.lower() if isinstance(value, str) else value
    return RUST_LEVELS.get(word, word) if isinstance(word, str) else word


def _ipv6(value: str) -> str:
    try:
        return str(IPv6Address(value))
    except ValueError:
        raise ValueError from None  # its own words would repeat the value


def _host(value: str) -> str:
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if ":" in bare:
        return f"[{_ipv6(bare)}]"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", bare):
        raise ValueError
    return bare


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?(/[^\s?#@]*)?", value):
        raise ValueError
    return value.rstrip("/")


def _header(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise ValueError
    return value


def _long(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value()) < 16:
        raise ValueError
    return None if value is None else _header(value)


def _database(value: SecretStr) -> SecretStr:
    # hosting platforms hand out the two short forms, which do not name the driver that is installed
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", value.get_secret_value())
    server = r"(.*@)?(\[[^]]*\]|[^]:/?@[]*)(:[0-9]*)?([/?].*)?"  # a port that is no number breaks the driver
    if not re.fullmatch(rf"sqlite(\+pysqlite)?://.*|postgresql\+psycopg://{server}", url):
        raise ValueError
    return SecretStr(url)


def _country(value: str) -> str:
    code = value.upper()
    if (wrong := objection(code)) is not None:
        raise ValueError(wrong)
    return code


def _model_name(value: str) -> str:
    # Vast's own command line writes RTX_4090; its API knows only the form with spaces
    return value.replace("_", " ")


Whole = Annotated[int, BeforeValidator(_number)]
Id = Annotated[Whole, Field(ge=1, le=LARGEST_ID)]
Ids = Annotated[
    frozenset[Id], BeforeValidator(_listed), Allowed("a list of ids, each a whole number above 0")
]
Port = Annotated[Whole, Field(ge=1, le=65535), Allowed("a port, 1 to 65535")]
Few = Annotated[Whole, Field(ge=1, le=64), Allowed("a whole number, 1 to 64")]
Many = Annotated[Whole, Field(ge=0, le=10_000), Allowed("a whole number, 0 to 10000")]
Counted = Annotated[Whole, Field(ge=1, le=2**31 - 1), Allowed("a whole number, 1 to 2147483647")]

Real = Annotated[float, BeforeValidator(_number)]
Interval = Annotated[Real, Field(ge=0, le=YEAR), Allowed("a number of seconds, 0 or more and at most a year")]
Wait = Annotated[Real, Field(gt=0, le=YEAR), Allowed("a number of seconds, more than 0 and at most a year")]
Waits = Annotated[
    tuple[Annotated[Real, Field(ge=0, le=YEAR)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    Allowed("a list of at least one number of seconds, each 0 or more and at most a year"),
]
Amount = Annotated[Real, Field(ge=0, le=1_000_000_000)]
Share = Annotated[Real, Field(ge=0, le=1)]

Address = Annotated[
    str, AfterValidator(_host), Allowed("a host name or IP address without scheme, port or path")
]
Url = Annotated[
    str, AfterValidator(_url), Allowed("http(s)://host[:port][/path] without credentials or query")
]
Key = Annotated[SecretStr, AfterValidator(_header), Allowed("printable ASCII without spaces")]
Token = Annotated[SecretStr | None, AfterValidator(_long), Allowed("16 or more printable ASCII characters")]
Database = Annotated[
    SecretStr,
    AfterValidator(_database),
    Allowed("sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME"),
]
Label = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._-]{1,64}$"),
    Allowed("1 to 64 letters, digits, dots, underscores or hyphens"),
]
Hash = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{1,128}$"),
    Allowed("the hash Vast shows for a template: letters, digits, underscores or hyphens"),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(_level),
    Allowed("debug, info, warning or error"),
]
Exported = Annotated[str, AfterValidator(_exportable)]
SshKeys = Annotated[str, AfterValidator(_keys)]
Country = Annotated[str, Field(pattern=r"^[A-Za-z]{2}$"), AfterValidator(_country)]
ModelName = Annotated[str, AfterValidator(_model_name), Field(min_length=1)]
Countries = Annotated[
    tuple[Country, ...], BeforeValidator(_listed), Allowed("a list of two-letter country codes")
]
ModelNames = Annotated[
    tuple[ModelName, ...], BeforeValidator(_listed), Allowed("one GPU name or a list of them")
]
