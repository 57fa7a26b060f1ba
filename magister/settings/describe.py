"""Which settings exist, where a value came from, and the words for both."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from magister.settings.types import Allowed, Env, Unshown

DEFAULT = "default"
MASK = "***"
LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Found:
    """Hold a raw value and where it was found."""

    value: object = field(repr=False)  # it may be a secret
    origin: str


@dataclass(frozen=True, slots=True)
class Known:
    """Hold one setting: its dotted name, its variables, its table ("" = top level) and its field."""

    name: str
    variables: tuple[str, ...]
    group: str
    field: FieldInfo

    @property
    def key(self) -> str:
        """Return the name within its table."""
        return self.name.rpartition(".")[2]

    @property
    def secret(self) -> bool:
        """Say whether the value must never be shown."""
        return SecretStr in (self.field.annotation, *get_args(self.field.annotation))

    @property
    def unshown(self) -> bool:
        """Say whether a value that is refused must not be shown."""
        return self.secret or any(isinstance(mark, Unshown) for mark in self.field.metadata)

    @property
    def items(self) -> type[BaseModel] | None:
        """Return the model of each table of an array of tables; None = a plain value."""
        return next((kind for kind in get_args(self.field.annotation) if _is_model(kind)), None)

    @property
    def allowed(self) -> str | None:
        """Return the words for what may be set; None = nothing beyond the kind of value."""
        return next((mark.words for mark in self.field.metadata if isinstance(mark, Allowed)), None)


@dataclass(frozen=True, slots=True)
class Described:
    """Describe one setting for people: `default` and `example` in TOML, "" = none; `env` may be empty."""

    name: str
    env: tuple[str, ...]
    default: str
    example: str
    description: str
    secret: bool
    required: bool
    group: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Show the value in force, secrets masked, and where it came from."""

    name: str
    value: str
    origin: str


def known(model: type[BaseModel], group: str = "") -> Iterator[Known]:
    """Yield every setting of `model` in order, those of its tables under dotted names."""
    for key, info in model.model_fields.items():
        name = f"{group}.{key}" if group else key
        if _is_model(info.annotation):
            yield from known(info.annotation, name)
        else:
            mark = next((mark for mark in info.metadata if isinstance(mark, Env)), None)
            names = mark.names if mark else (name.replace(".", "_").upper(),)
            yield Known(name, names, group, info)


def described(model: type[BaseModel]) -> tuple[Described, ...]:
    """Describe every setting of `model`; the keys of an array of tables follow it, without variables."""
    rows: list[Described] = []
    for setting in known(model):
        rows.append(_described(setting, setting.variables))
        if setting.items is not None:
            rows += [_described(part, ()) for part in known(setting.items, setting.name)]
    return tuple(rows)


def shown(value: object, *, secret: bool = False) -> str:
    """Show a value as TOML would write it, a secret as ***, passwords in URLs too; None as "not set"."""
    if value is None:
        return "not set"
    if secret or isinstance(value, SecretStr):
        return MASK
    text = re.sub(r"(?<=://).*@", f"{MASK}@", toml(value))
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def toml(value: object) -> str:
    """Write a value as TOML does."""
    if isinstance(value, SecretStr):
        return toml(value.get_secret_value())
    if isinstance(value, BaseModel):
        return toml({key: part for key, part in value if part is not None})
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, frozenset):
        return toml(sorted(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(part) for part in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def problems(
    error: ValidationError, model: type[BaseModel], found: Mapping[str, Found], file: str
) -> tuple[str, ...]:
    """Word every problem: the setting, its value (secrets masked), where from and what is allowed."""
    settings = {setting.name: setting for setting in known(model)}
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        name, rest = _place(detail["loc"], settings)
        line = _problem(settings[name], rest, detail, found.get(name), file)
        lines.setdefault(line, line)
    return tuple(lines)


def _described(setting: Known, variables: tuple[str, ...]) -> Described:
    info = setting.field
    blank = info.is_required() or info.default in (None, (), frozenset())
    return Described(
        name=setting.name,
        env=variables,
        default="" if blank else toml(info.default),
        example=toml(info.examples[0]) if info.examples else "",
        description=info.description or "",
        secret=setting.secret,
        required=info.is_required(),
        group=setting.group,
    )


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _place(loc: tuple[int | str, ...], settings: Mapping[str, Known]) -> tuple[str, tuple[int | str, ...]]:
    for length in range(len(loc), 0, -1):
        name = ".".join(str(part) for part in loc[:length])
        if name in settings:
            return name, loc[length:]
    raise LookupError(f"no setting at {loc}")


def _problem(
    setting: Known, rest: tuple[int | str, ...], detail: ErrorDetails, found: Found | None, file: str
) -> str:
    part, name = setting, setting.name
    if setting.items is not None and len(rest) > 1:
        name = f"{setting.name}[{rest[0]}].{rest[1]}"
        part = next(each for each in known(setting.items) if each.name == rest[1])
    origin = found.origin if found else DEFAULT
    if detail["type"] == "missing":
        if part is not setting:
            return f"{name} is required in each prover ({origin})"
        return f"{name} is required: set {name} in {file} or {' or '.join(part.variables)} in the environment"
    whole = found is not None and part is setting
    value = found.value if found is not None and whole else detail["input"]
    return f"{name} = {shown(value, secret=part.unshown)} from {origin}: {_allowed(part, detail)}"


def _allowed(setting: Known, detail: ErrorDetails) -> str:
    """Prefer the words of our own check, then those of the setting; pydantic's come last."""
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, ValueError) and str(cause):
        return str(cause)
    return f"must be {setting.allowed}" if setting.allowed else detail["msg"]
