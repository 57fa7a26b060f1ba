"""The pages that people read: their fenced blocks, what becomes of the commands in them, and their links.

A block of `sh` is run as it stands, by a test, in a copy of the checkout beside a simulated market, while the
service keeps a small pool there if the block names it or calls it. A comment on the line before it says where
that is otherwise:

- `<!-- stopped -->`: it is run while the service does not;
- `<!-- fresh -->`: it is run in a fresh clone, without settings and without a database;
- `<!-- on a release -->`, `<!-- beside a release -->`: tests/release runs it, among the files of a release
  or in the clone that has them;
- `<!-- needs … -->`: it is not run, since it needs what the comment names.

A single line that ends in `# needs …` is not run either. Goals of make that take long are asked for with
`make -n`. A block of `console` shows what comes of a command; its `$ ` lines are not run for themselves.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / ".github/pull_request_template.md")

RELEASE_MARKS = frozenset({"on a release", "beside a release"})
MARKS = RELEASE_MARKS | {"", "stopped", "fresh"}
"""What the comment before a block may say, beside what it needs."""

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>[^\n]+?) -->\n *)?```(?P<language>[a-z]+)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"# needs \w.*$")


@dataclass(frozen=True, slots=True)
class Block:
    """Hold a fenced block; `mark` is the comment before it, "" = none."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def needy(self) -> bool:
        """Say whether it needs what no test has."""
        return self.mark.startswith("needs ")

    @property
    def runnable(self) -> str:
        """Return the commands that are run: all but the lines that need what no test has."""
        return "".join(f"{line}\n" for line in self.text.splitlines() if not _NEEDS.search(line))

    def __str__(self) -> str:
        """Say where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page in these languages, in their order; none named = in any."""
    return [found for found in _blocks(page) if not languages or found.language in languages]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        commands = textwrap.dedent(found["text"])
        yield Block(page, line, found["language"], found["mark"] or "", commands)


def links(page: Path) -> list[str]:
    """Return the targets of the links of a page."""
    return _LINK.findall(_FENCED.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return what a link to a heading of the page may be called by, as GitHub makes it."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    plain = (re.sub(r"[`*]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}
