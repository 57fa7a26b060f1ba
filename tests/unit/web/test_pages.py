"""The pages say what is true: their generated parts, links and tables, and every command that they show."""

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from magister.cli.main import main
from magister.planner import conditions
from magister.states import Reason
from magister.store.db.engine import Sessions
from magister.web import openapi
from magister.web.api import ENDPOINTS
from magister.web.drops import queue
from tests.pages import DOCS, MARKS, PAGES, README, ROOT, Block, anchors, blocks, links
from tests.readme import PARTS, written

GOALS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ANSWERS = {"summary": "Summary", "verify": "Answer", "drop": "Answer", "readyz": "Readiness"}
"""The schemas of what is answered, by the first part of the path."""

SHOWN = [block for page in PAGES for block in blocks(page, "sh", "console")]


@pytest.mark.parametrize("page", PARTS, ids=lambda page: page.name)
def test_the_generated_parts_are_as_the_code_has_them(page: Path) -> None:
    assert written(page) == page.read_text(), "run: make readme"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_a_page_for_newcomers() -> None:
    unfolded = re.sub(r"<details>.*?</details>", "", README.read_text(), flags=re.DOTALL)
    assert len(unfolded.splitlines()) <= 200


def test_every_page_is_reached_from_readme() -> None:
    linked = {(README.parent / link.partition("#")[0]).resolve() for link in links(README)}
    assert set(DOCS.glob("*.md")) <= linked


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_every_command_is_run_or_says_what_it_needs(block: Block) -> None:
    assert block.needy or block.mark in MARKS


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_every_command_of_ours_exists_with_its_options(block: Block) -> None:
    for words in commands(block.text):
        match words:
            case ["make", *goals]:
                assert {goal for goal in goals if re.fullmatch("[a-z][a-z-]+", goal)} <= GOALS
            case [program, *rest] if Path(program).name == "magister":
                assert unknown(rest) == []


def test_the_code_between_words_names_nothing_that_does_not_exist() -> None:
    for page in PAGES:
        for code in re.findall(r"`((?:\S*/)?(?:magister|make) [^`\n]+)`", page.read_text()):
            program, *rest = code.split()
            if program == "make":
                assert {goal for goal in rest if re.fullmatch("[a-z][a-z-]+", goal)} <= GOALS, code
            else:
                assert unknown([word for word in rest if word.islower() or word.startswith("-")]) == [], code


def test_the_conditions_are_all_explained() -> None:
    assert first_column("operations.md", "| condition |") == kinds()


def test_the_reasons_are_all_explained() -> None:
    assert first_column("operations.md", "| reason |") == {str(reason) for reason in Reason}


def test_the_requests_are_all_explained() -> None:
    assert first_column("http.md", "| request |") == set(ENDPOINTS)


def test_the_sql_that_they_show_works(sqlite_sessions: Sessions) -> None:
    shown = [block.text for page in PAGES for block in blocks(page, "sql")]
    statements = re.sub(r"--.*", "", "".join(shown)).split(";")
    with sqlite_sessions.read() as session:
        for statement in filter(str.strip, statements):
            session.execute(text(statement)).all()
    assert len(statements) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_answers_that_they_show_have_what_such_answers_have(page: Path) -> None:
    schemas = openapi.document("1")["components"]["schemas"]  # type: ignore[index] # it is JSON
    for block in blocks(page, "console"):
        for example in block.text.split("$ curl ")[1:]:
            command, _, said = example.partition("\n")
            path = command.rpartition("localhost:8555/")[2].partition("/")[0]
            answer = json.loads(said.replace("\n", " "))
            name = "Problem" if "status" in answer else ANSWERS[path]
            assert set(schemas[name]["required"]) <= set(answer), block


def test_make_without_a_goal_lists_the_goals() -> None:
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert "make demo" in shown
    assert "make test" in shown


def commands(text: str) -> Iterator[list[str]]:
    """Split shell text into the words of each command, less what only surrounds it."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) <= set("|&;<>()"):
                    yield words
                    words = []
                else:
                    words.append(word)
        except ValueError:  # a quotation that ends in another line
            return
        yield words


def unknown(words: list[str]) -> list[str]:
    """Return the commands and options of `magister` among words that it does not know."""
    if not words or words == ["--version"]:
        return []
    command = main.commands.get(words[0])
    if command is None:
        return words[:1]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return [word for word in words[1:] if word.startswith("-") and word not in known]


def kinds() -> set[str]:
    """Return the kinds of all conditions that the code can make."""
    found = set()
    for module in (conditions, queue):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Condition"), args=[_, _, ast.Constant(value=kind), *_]):
                    found.add(str(kind))
                case ast.Call(func=ast.Name(id="Condition"), args=[_, _, ast.Name(id=name), *_]):
                    found.add(str(getattr(module, name)))
    assert len(found) >= len(conditions.BREAKERS)
    return found


def first_column(page: str, head: str) -> set[str]:
    """Return the code in the first cells of the table that begins with `head`, each cell's or cells'."""
    _, found, rest = (DOCS / page).read_text().partition(head)
    assert found, head
    table, _, _ = rest.partition("\n\n")
    return {code for line in table.splitlines()[2:] for code in re.findall(r"`([^`]+)`", line.split("|")[1])}
