"""What the tests tally comes out as a table."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.readme import README, put
from tests.table import PART, SEEDS, proof
from tests.tally import tally

AT = datetime(2026, 11, 24, tzinfo=UTC)


def line(boundary: str, fault: str, engine: str, runs: int = 1, violations: int = 0) -> str:
    return json.dumps(
        {"boundary": boundary, "fault": fault, "engine": engine, "runs": runs, "violations": violations}
    )


def test_runs_are_added_up_by_boundary_fault_and_engine() -> None:
    told = proof(
        [
            line("before a commit", "nothing", "sqlite"),
            line("before a commit", "nothing", "sqlite", 1200),
            line("before a commit", "nothing", "postgresql", 3),
            line("after a commit", "an outage", "sqlite"),
            line(SEEDS, "", "sqlite", 7),
        ],
        AT,
    )
    assert told.startswith("On 24 November 2026: 7 seeds of the simulation, 1,205 trials")
    assert "**0 violations**" in told
    rows = [row for row in told.splitlines() if row.startswith("| ")]
    assert rows[1:] == ["| after a commit | an outage | 1 |  |", "| before a commit | nothing | 1,201 | 3 |"]


def test_a_violation_is_not_hidden() -> None:
    told = proof([line("before a commit", "nothing", "sqlite", 5, 2), line(SEEDS, "", "sqlite", 1, 1)], AT)
    assert "**3 violations**" in told
    assert "| 5 (**2 broken**) |" in told


def test_the_table_takes_the_place_of_the_old_one_and_no_other() -> None:
    text = "before\n<!-- proof -->\nold\n<!-- /proof -->\nafter"
    assert put(text, PART, "new\n") == "before\n<!-- proof -->\nnew\n<!-- /proof -->\nafter"
    with pytest.raises(ValueError, match="proof"):
        put("nothing", PART, "new\n")


def test_readme_has_a_place_for_it_and_shows_no_violation() -> None:
    text = README.read_text()
    assert put(text, PART, "") != text
    assert "broken**)" not in text


def test_nothing_is_tallied_unless_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAGISTER_TEST_TABLE", raising=False)
    tally("a", "b", "sqlite")
    monkeypatch.setenv("MAGISTER_TEST_TABLE", str(tmp_path / "table"))
    tally("a", "b", "sqlite", runs=2)
    assert json.loads((tmp_path / "table").read_text()) == json.loads(line("a", "b", "sqlite", 2))
