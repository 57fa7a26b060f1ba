"""The files an operator starts from say what there is, with the defaults there are."""

import re
import tomllib
from pathlib import Path

import pytest
from dotenv import dotenv_values

from magister.errors import BadSettings
from magister.onstart import script
from magister.settings.describe import Described
from magister.settings.model import described, load

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "magister.example.toml").read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines()
REQUIRED = [row for row in described() if row.required and not row.group]


def switched_on() -> str:
    """Return the example with every setting in force, the required ones by their examples."""
    text = re.sub(r"(?m)^#(?=\[\[|[a-z0-9_]+ = )", "", EXAMPLE)
    for row in REQUIRED:
        filled = '"some-key"' if row.secret else row.example
        text = re.sub(rf'(?m)^{row.name} = ""', f"{row.name} = {filled}", text)
    return text


def flat(data: object, name: str = "") -> dict[str, object]:
    """Return each value under its dotted name, those of an array of tables merged."""
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return {key: value for table in reversed(data) for key, value in flat(table, name).items()}
    if isinstance(data, dict):
        parts = [flat(value, f"{name}.{key}" if name else key) for key, value in data.items()]
        return {key: value for part in parts for key, value in part.items()}
    return {name: data}


def values(text: str) -> dict[str, object]:
    return flat(tomllib.loads(text))


def test_the_example_lists_exactly_the_settings_there_are() -> None:
    assert set(values(switched_on())) == {row.name for row in described()} - {"contemplant.provers"}


@pytest.mark.parametrize("row", [row for row in described() if row.name != "contemplant.provers"], ids=str)
def test_the_example_shows_the_default_or_an_example_that_it_calls_one(row: Described) -> None:
    if row.required:
        return
    shown = values(switched_on())[row.name]
    if row.default:
        assert values(f"{row.name} = {row.default}")[row.name] == shown
    else:
        assert values(f"{row.name} = {row.example}")[row.name] == shown


@pytest.mark.parametrize("row", described(), ids=str)
def test_the_example_describes_each_setting_in_the_line_above(row: Described) -> None:
    key = (
        r"\[\[contemplant\.provers\]\]" if row.name == "contemplant.provers" else row.name.rpartition(".")[2]
    )
    above = [
        LINES[number - 1] for number, line in enumerate(LINES) if re.match(rf"#?{key}( =|$)", line) and number
    ]
    assert f"# {row.description}" in above


def test_the_example_with_everything_switched_on_loads(tmp_path: Path) -> None:
    path = tmp_path / "magister.toml"
    path.write_text(switched_on(), encoding="utf-8")
    read = load(path, {}, dotenv=tmp_path / ".env")
    assert read.settings.contemplant.provers[1].groth16_enabled
    assert script.problems(read.settings) == ()


def test_fresh_copies_of_both_files_ask_for_exactly_what_is_missing() -> None:
    with pytest.raises(BadSettings) as caught:
        load(ROOT / "magister.example.toml", {}, dotenv=ROOT / ".env.example")
    names = [line.split(" is required: ")[0] for line in caught.value.problems]
    assert names == [row.name for row in REQUIRED]


def test_the_variables_of_the_other_example_are_known_empty_and_commented() -> None:
    path = ROOT / ".env.example"
    known = {name for row in described() for name in row.env}
    read = dotenv_values(path)
    assert set(read) <= known
    assert {row.env[-1] for row in REQUIRED} <= set(read)
    assert set(read.values()) == {""}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        assert line in ("",) or line.startswith("#") or lines[number - 1].startswith("# "), line
