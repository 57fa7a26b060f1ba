"""What the service does when it is asked to read its settings again."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from magister.service import startup
from magister.service.serve import Service
from tests.unit.service.test_startup import SETTINGS


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service whose cap stands in its .env, and its target in its magister.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(startup, "set_up_log", lambda settings: None)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    Path(".env").write_text("BUDGET_USD_PER_DAY=20\n")
    Path("magister.toml").write_text("[web]\nthreads = 8\n")
    return Service(None, 0, startup.begin(None))


@pytest.mark.parametrize("file", [".env", "magister.toml"])
def test_a_file_that_is_gone_for_a_moment_takes_no_cap_away(service: Service, file: str) -> None:
    Path(file).unlink()
    with capture_logs() as lines:
        assert service.reread() is None
    assert [line["event"] for line in lines] == ["reload.refused"]
    assert file in lines[0]["what"]
    assert service.loaded.settings.budget.usd_per_day == 20


def test_a_line_taken_from_the_env_file_is_a_change(service: Service) -> None:
    Path(".env").write_text("BUDGET_USD_PER_DAY=\n")
    assert service.reread() is not None
    assert service.loaded.settings.budget.usd_per_day is None
