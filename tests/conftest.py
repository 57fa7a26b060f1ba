"""Fixtures for all tests: a clean environment, and a migrated empty database on each engine."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import event, text

from magister.service import logging as telemetry
from magister.store.db.engine import Sessions, open_database
from magister.store.db.migrations import migrate
from tests import postgres
from tests.waiting import PATIENCE

KEPT = {
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "CI",
    "COVERAGE_PROCESS_START",
}

hypothesis_settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


TESTS = Path(__file__).parent
TRACED = {"unit", "contract", "integration", "migrations"}
"""The folders whose tests show what is run of the modules that handle money.

Traced, a test takes nearly twice as long.
"""

LENGTHY = {
    "test_backups",
    "test_boundaries",
    "test_credit",
    "test_lost_workers",
    "test_other_account",
    "test_put_back",
    "test_single_faults",
    "test_taken_back",
    "test_unanswered",
    "test_worker",
}
"""Modules in these folders that let a pool live for hours: others run the same lines."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave untraced what shows no line that another test does not show, such as the second engine."""
    if config.getoption("no_cov", default=True):  # then pytest-cov cannot be told to pause
        return
    for item in items:
        call = getattr(item, "callspec", None)
        second = call is not None and call.params.get("sessions") == "postgres"
        folder = item.path.relative_to(TESTS).parts[0]
        if folder not in TRACED or item.path.stem in LENGTHY or second:
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the operator's own settings from every test."""
    for name in set(os.environ) - KEPT:
        if not name.startswith(("PYTEST", "HYPOTHESIS", "MAGISTER_TEST", "COV")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back what a command did to the log of this process, wherever it was run."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in telemetry.NOISY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one migrated SQLite file, which the tests copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    sessions = open_database(f"sqlite:///{path}", busy_timeout=5)
    migrate(sessions)
    with sessions.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    sessions.engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database, or skip where no server is installed."""
    with postgres.server() as url:
        if url is None:
            pytest.skip("no PostgreSQL server on this machine; .ci/run installs one")
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> Iterator[Sessions]:
    """Migrate a PostgreSQL database once; `sessions` empties it before each test."""
    sessions = open_database(postgres_url, busy_timeout=PATIENCE)
    migrate(sessions)
    yield sessions
    sessions.engine.dispose()


@pytest.fixture
def sqlite_sessions(sqlite_template: Path, tmp_path: Path) -> Iterator[Sessions]:
    """Open a fresh copy of the migrated SQLite file."""
    path = tmp_path / "magister.db"
    shutil.copy(sqlite_template, path)
    sessions = open_database(f"sqlite:///{path}", busy_timeout=5)
    # no machine loses power here, and the tests' PostgreSQL does not wait for the disk either
    event.listen(
        sessions.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
    )
    yield sessions
    sessions.engine.dispose()


@pytest.fixture
def postgres_sessions(migrated_postgres: Sessions) -> Sessions:
    """Empty the PostgreSQL database."""
    with migrated_postgres.engine.begin() as connection:
        connection.execute(text("TRUNCATE bills, bans, pool_hours, instances RESTART IDENTITY CASCADE"))
        connection.execute(
            text("UPDATE lease SET holder = '', fence = 0, locked = false, expires_at = '1970-01-01'")
        )
        connection.execute(text("DELETE FROM pool"))
        connection.execute(text("INSERT INTO pool (id) VALUES (1)"))
    return migrated_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    """Give an empty, migrated database: each test that asks runs on both engines."""
    found = request.getfixturevalue(f"{request.param}_sessions")
    assert isinstance(found, Sessions)
    return found
