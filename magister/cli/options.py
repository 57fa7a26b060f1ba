"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from magister.domain.observed import LARGEST_ID

Command = TypeVar("Command", bound=Callable[..., object])

NUMBER = click.IntRange(1, LARGEST_ID)


class RowId(click.ParamType[int]):
    """Take the id of a row as it is shown, #7, or as a number."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; fails with a usage error."""
        return int(NUMBER(str(value).removeprefix("#"), param, ctx))


def _config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Take the file named after the command, else the one named before it."""
    before = context.find_root().params.get("config")
    return value if value is not None else before if isinstance(before, Path) else None


def configured(command: Command) -> Command:
    """Add --config to a command."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=_config,
        help="Settings file instead of ./magister.toml.",
    )(command)


def indifferent(command: Command) -> Command:
    """Take --config as every command does, and make nothing of it."""
    return click.option("--config", type=click.Path(path_type=Path), hidden=True, expose_value=False)(command)


def leashed(command: Command) -> Command:
    """Add the pipe by which a process learns that the one that started it is no more."""
    return click.option("--parent-fd", "parent", type=int, hidden=True)(command)
