"""What the tests of the goals have in common."""

from pathlib import Path

import pytest

from tests.shipping.checkout import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", ".env.maintainer", ".env.example", "magister.example.toml", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "container.py").write_bytes((ROOT / ".ci" / "container.py").read_bytes())
    (tmp_path / "magister").mkdir()
    (tmp_path / "magister" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "requirements-dev.lock").touch()
    return tmp_path
