"""Where settings come from: the environment, a .env file, a TOML file; raw values, each with its origin."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Original, parse_stream
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from magister.errors import BadSettings
from magister.settings.contemplant import BACKEND_VARIABLES, EVM_VARIABLE, GROTH16_VARIABLE, VMS_VARIABLE
from magister.settings.describe import Found, Known, known

PROVERS = "contemplant.provers"

RUST_LOG = "RUST_LOG"
"""The variable by which programs written in Rust are told what to log; MAGISTER_LOG wins over it."""

LEVELS_OF_RUST = frozenset({"off", "error", "warn", "info", "debug", "trace"})

Layer = Mapping[str, Found]
"""Raw values of one source by dotted setting name."""


class LayerSource(PydanticBaseSettingsSource):
    """Give pydantic-settings one layer; layers earlier in its list win."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        """Take what was found in one place."""
        super().__init__(settings_cls)
        self._nested: dict[str, object] = {}
        for name, found in layer.items():
            group, _, key = name.rpartition(".")
            table = self._nested.setdefault(group, {}) if group else self._nested
            if isinstance(table, dict):
                table[key] = found.value

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Return the raw value of a top-level field or table; None = not in this layer."""
        return self._nested.get(field_name), field_name, False

    def __call__(self) -> dict[str, object]:
        """Return every raw value of this layer."""
        return self._nested


@dataclass(frozen=True, slots=True)
class Variables:
    """Hold the variables of one place: the process environment, or a file of them."""

    values: Mapping[str, str] = field(repr=False)  # secrets among them
    place: str

    def found(self, name: str) -> Found | None:
        """Return a variable without its quotes; None = unset or empty, which is the same."""
        value = _unquoted(self.values.get(name, "").strip())
        if name == RUST_LOG:
            value = level_of_rust(value)
        return Found(value, f"{self.place} {name}") if value.strip() else None

    def layer(self, model: type[BaseModel]) -> dict[str, Found]:
        """Return the plain settings these variables set; the first variable of a setting wins."""
        rows: dict[str, Found] = {}
        for setting in known(model):
            named = (self.found(name) for name in setting.variables if setting.items is None)
            if first := next(filter(None, named), None):
                rows[setting.name] = first
        return rows


def level_of_rust(directives: str) -> str:
    """Return the level that RUST_LOG sets for Magister, such as in "info,magister=debug"; "" = none.

    Programs written in Rust share it, so a form that is not known here sets nothing and is no mistake.
    """
    found = [
        (target, level.strip().lower())
        for directive in directives.split(",")
        for target, _, level in (directive.strip().rpartition("="),)
        if target == "" or re.fullmatch(r"magister(::\w+)*", target)
    ]
    named = [level for _, level in sorted(found, key=lambda one: bool(one[0])) if level in LEVELS_OF_RUST]
    return named[-1] if named else ""


@dataclass(frozen=True, slots=True)
class File:
    """Hold what the TOML file said, and one problem line for each key that is not known."""

    layer: dict[str, Found]
    problems: tuple[str, ...] = ()


def variables_in(path: Path) -> Variables:
    """Read a .env file; a missing one is empty.

    Raises BadSettings if it is there but cannot be read, or holds lines that set nothing.
    """
    try:
        if problems := _broken_lines(path):
            raise BadSettings(problems)
        # as it is written: an environment that was put in for ${…} would reach rented instances
        read = dotenv_values(path, interpolate=False, encoding="utf-8") if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as reason:
        problem = f"{path}: cannot be read: {_short(reason)}"
    else:
        return Variables({name: value for name, value in read.items() if value is not None}, str(path))
    raise BadSettings((problem,))


def _broken_lines(path: Path) -> tuple[str, ...]:
    """Name the lines of a .env file that python-dotenv passes over, without any of their text."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8") as text:
        bindings = list(parse_stream(text))
    return tuple(
        f"{path}:{_line_of(binding.original)}: is not NAME=value, or a quote in it is not closed"
        for binding in bindings
        if binding.error or (binding.key and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", binding.key))
    )


def _line_of(original: Original) -> int:
    """Return the line that a binding is on: what it was read from begins with the empty lines before it."""
    text = original.string
    return original.line + text[: len(text) - len(text.lstrip())].count("\n")


def file_at(path: Path, model: type[BaseModel]) -> File:
    """Read a TOML file.

    Raises BadSettings if it is missing, cannot be read or is not TOML.
    """
    try:
        data: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as reason:
        problem = f"{path}: is not TOML: {reason}"
    except (OSError, ValueError, RecursionError) as reason:
        problem = f"{path}: cannot be read: {_short(reason)}"
    else:
        return _Reading(str(path), model).file(data)
    raise BadSettings((problem,))


def provers_in(places: Sequence[Variables]) -> Found | None:
    """Return the provers that variables describe, looking each up in `places` in order; None = none.

    Without CONTEMPLANT_VMS the machines are those for which a backend is named.
    """

    def first(name: str) -> Found | None:
        return next(filter(None, (place.found(name) for place in places)), None)

    backends = {vm: found for vm, name in BACKEND_VARIABLES.items() if (found := first(name))}
    vms = first(VMS_VARIABLE)
    switches = {
        "risc0": ("groth16_enabled", first(GROTH16_VARIABLE)),
        "openvm": ("evm_enabled", first(EVM_VARIABLE)),
    }
    listed = str(vms.value).split(",") if vms else list(backends)
    named = [part.strip().lower() for part in listed if part.strip()]
    used = [vms] if vms else []
    provers: list[dict[str, object]] = []
    for vm in named:
        prover: dict[str, object] = {"vm": vm}
        if vm in backends:
            prover["backend"] = backends[vm].value
            used.append(backends[vm])
        name, switch = switches.get(vm, ("", None))
        if switch is not None:
            prover[name] = switch.value
            used.append(switch)
        provers.append(prover)
    return Found(provers, ", ".join(found.origin for found in used)) if provers else None


class _Reading:
    """Sort the tables of one TOML file into settings that are known and problems."""

    def __init__(self, path: str, model: type[BaseModel]) -> None:
        self._path = path
        self._settings = {setting.name: setting for setting in known(model)}
        self._groups = {setting.group for setting in self._settings.values()} - {""}
        self._problems: list[str] = []

    def file(self, data: Mapping[str, object]) -> File:
        layer = dict(self._table(data, ""))
        return File(layer, tuple(self._problems))

    def _table(self, data: Mapping[str, object], group: str) -> Iterator[tuple[str, Found]]:
        for key, value in data.items():
            name = f"{group}.{key}" if group else key
            if name in self._groups and isinstance(value, dict):
                yield from self._table(value, name)
            elif name in self._groups:
                self._problems.append(f"{self._path}: {name} must be a table: write [{name}]")
            elif name not in self._settings:
                self._unknown(name, group)
            elif not (isinstance(value, str) and not value.strip()):
                yield name, Found(self._items(self._settings[name], value), self._path)

    def _items(self, setting: Known, value: object) -> object:
        """Drop unknown keys from an array of tables, each with a problem of its own."""
        if setting.items is None or not isinstance(value, list):
            return value
        names = [part.key for part in known(setting.items)]
        for index, item in enumerate(value):
            for key in item if isinstance(item, dict) else ():
                if key not in names:
                    self._say(f"{setting.name}[{index}].{key}", f"{setting.name}.{_nearest(key, names)}")
        return [_only(item, names) if isinstance(item, dict) else item for item in value]

    def _unknown(self, name: str, group: str) -> None:
        # a key written below a table's header falls into that table: say where it belongs
        key = name.rpartition(".")[2]
        elsewhere = [each.name for each in self._settings.values() if each.key == key]
        local = [each.key for each in self._settings.values() if each.group == group]
        local += [] if group else sorted(self._groups)
        near = _nearest(key, local)
        self._say(name, elsewhere[0] if elsewhere else f"{group}.{near}" if group else near)

    def _say(self, name: str, nearest: str) -> None:
        self._problems.append(f"{self._path}: {name} is not a setting; the nearest known name is {nearest}")


def _only(table: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    return {key: value for key, value in table.items() if key in names and value != ""}


def _nearest(word: str, names: Sequence[str]) -> str:
    return get_close_matches(word, names, n=1, cutoff=0)[0]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _short(reason: BaseException) -> str:
    """Say why without the path (it is said already) and without any of the text."""
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    return "it is not UTF-8 text" if isinstance(reason, UnicodeDecodeError) else type(reason).__name__
