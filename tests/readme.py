"""Write the parts of the pages that follow from the code: the diagram, the settings, the commands."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import click

from magister.cli.main import main as magister
from magister.settings.describe import Described
from magister.settings.model import described
from magister.states import diagram
from tests.pages import DOCS, README, ROOT

__all__ = ["README", "put", "written"]


def written(page: Path) -> str:
    """Return the text of a page with every generated part made anew."""
    text = page.read_text()
    for name, part in PARTS[page].items():
        text = put(text, name, part())
    return text


def put(text: str, name: str, part: str) -> str:
    """Put a part between its markers; raises ValueError if the text lacks them."""
    before, opening, rest = text.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not closing:
        raise ValueError(f"the page has no part named {name}")
    return before + opening + part + closing + after


def states() -> str:
    """Return the table of moves as a Mermaid block."""
    return f"```mermaid\n{diagram()}\n```\n"


def settings() -> str:
    """Return a table of settings for each group of the file."""
    parts = []
    for group, members in groupby(described(), key=lambda setting: setting.group):
        heading = f"`[{group}]`" if group else "Top level"
        rows = "\n".join(row(setting) for setting in members)
        parts.append(
            f"## {heading}\n\n| setting | environment | default | meaning |\n|---|---|---|---|\n{rows}\n"
        )
    return "\n" + "\n".join(parts)


def row(setting: Described) -> str:
    """Return one line of a table."""
    name = setting.name.removeprefix(f"{setting.group}.") if setting.group else setting.name
    variables = ", ".join(f"`{variable}`" for variable in setting.env)
    default = "required" if setting.required else f"`{setting.default}`" if setting.default else ""
    return f"| `{name}` | {variables} | {default} | {setting.description} |"


def commands() -> str:
    """Return what each command says of itself, with its options."""
    return "\n" + "\n".join(command(name, told) for name, told in magister.commands.items())


def command(name: str, told: click.Command) -> str:
    """Return the section of one command."""
    with click.Context(told, info_name=f"magister {name}") as context:
        pieces = (piece for piece in told.collect_usage_pieces(context) if piece != "[OPTIONS]")
        heading = f"## `{' '.join((context.command_path, *pieces))}`"
        options = list(_options(told, context))
    said = [textwrap.fill(" ".join(part.split()), 116) for part in (told.help or "").split("\n\n")]
    table = ["| option | |\n|---|---|\n" + "\n".join(options)] if options else []
    return "\n\n".join((heading, *said, *table)) + "\n"


def _options(told: click.Command, context: click.Context) -> Iterator[str]:
    options = [
        option for option in told.params if isinstance(option, click.Option) and option.name != "config"
    ]
    for record in (option.get_help_record(context) for option in options):
        if record is not None:
            name, meaning = record
            yield f"| `{name}` | {' '.join(meaning.split())} |"


PARTS: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"states": states},
    DOCS / "settings.md": {"settings": settings},
    DOCS / "commands.md": {"commands": commands},
}
"""The generated parts of each page by their names."""


def main() -> None:
    """Write them all, and say which pages are new."""
    for page in PARTS:
        now, then = page.read_text(), written(page)
        page.write_text(then)
        said = "is as it was" if now == then else "was rewritten"
        sys.stdout.write(f"{page.relative_to(ROOT)} {said}\n")


if __name__ == "__main__":
    main()
