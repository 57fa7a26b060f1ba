"""Write the parts of README.md that follow from the code: the diagram, the settings, the commands."""

import sys
from itertools import groupby
from pathlib import Path

from magister.provenance import Described
from magister.settings import described
from magister.states import diagram

README = Path(__file__).parent.parent / "README.md"


def written(text: str) -> str:
    """Return README's text with every generated part made anew."""
    for name, part in {"states": states(), "settings": settings()}.items():
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if not closing:
            raise ValueError(f"README.md has no part named {name}")
        text = before + opening + part + closing + after
    return text


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
            f"**{heading}**\n\n| setting | environment | default | meaning |\n|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def row(setting: Described) -> str:
    """Return one line of a table."""
    name = setting.name.removeprefix(f"{setting.group}.") if setting.group else setting.name
    variables = ", ".join(f"`{variable}`" for variable in setting.env)
    default = "required" if setting.required else f"`{setting.default}`" if setting.default else ""
    return f"| `{name}` | {variables} | {default} | {setting.description} |"


if __name__ == "__main__":
    now = README.read_text()
    then = written(now)
    README.write_text(then)
    sys.stdout.write("README.md is as it was\n" if now == then else "README.md was rewritten\n")
