"""The file of the database is removed, moved or replaced while it is in use: nobody acts on two of them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from magister.errors import DatabaseReplaced
from magister.settings.runtime import Web
from magister.states import Reason, State
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import kernel_lock
from magister.store.db.migrations import migrate
from magister.web import create_app
from tests.builders import ADDRESS, a_fleet, a_row, an_offer, some_settings
from tests.controller import Controller


@pytest.fixture
def file(tmp_path: Path, sqlite_template: Path) -> Path:
    shutil.copy(sqlite_template, tmp_path / "magister.db")
    return tmp_path / "magister.db"


@pytest.fixture
def service(file: Path) -> Iterator[Controller]:
    """Run a loop that is bound to its file, as the service's is, with a full pool."""
    sessions = open_database(f"sqlite:///{file}", busy_timeout=5, bound=True)
    pool = Controller(sessions, fleet=a_fleet(target=3), lock=kernel_lock(sessions))
    pool.vast.stock(an_offer() for _ in range(20))
    yield pool.filled()
    sessions.engine.dispose()


@pytest.fixture
def successor(service: Controller, file: Path) -> Iterator[Callable[[], Controller]]:
    """Give a way to start a second service on whatever the path leads to then."""
    opened: list[Sessions] = []

    def start() -> Controller:
        sessions = open_database(f"sqlite:///{file}", busy_timeout=5)
        opened.append(sessions)
        migrate(sessions)
        pool = Controller(sessions, clock=service.clock, fleet=service.fleet, lock=kernel_lock(sessions))
        pool.vast = service.vast
        pool.restart()
        return pool

    yield start
    for sessions in opened:
        sessions.engine.dispose()


def removed(file: Path) -> None:
    file.unlink()


def removed_with_all_beside_it(file: Path) -> None:
    for path in file.parent.glob("magister.db*"):
        path.unlink()


def moved(file: Path) -> None:
    file.rename(file.with_name("elsewhere.db"))


def replaced(file: Path) -> None:
    other = file.with_name("other.db")
    sessions = open_database(f"sqlite:///{other}", busy_timeout=5)
    migrate(sessions)
    sessions.engine.dispose()
    other.replace(file)


WAYS = [removed, removed_with_all_beside_it, moved, replaced]


@pytest.mark.parametrize("strike", WAYS)
def test_a_loop_acts_no_more_once_its_file_is_not_the_one_it_opened(
    service: Controller, file: Path, strike: Callable[[Path], None]
) -> None:
    service.vast.change(service.rows()[0].contract_id or 0, actual_status="exited")
    strike(file)
    calls = len(service.vast.calls)
    for _ in range(5):
        with pytest.raises(DatabaseReplaced, match="nothing is rented or given up any more") as raised:
            service.step(31)
        assert "\n" not in str(raised.value)
        assert str(file) in str(raised.value)
    assert len(service.vast.calls) == calls
    assert file.exists() == (strike is replaced), "no empty one is made in its place"


@pytest.mark.parametrize("strike", WAYS)
def test_a_second_service_takes_the_pool_over_and_nothing_is_doubled(
    service: Controller, successor: Callable[[], Controller], file: Path, strike: Callable[[Path], None]
) -> None:
    before = dict(service.vast.boxes)
    service.clock.advance(600)
    strike(file)
    other = successor()
    for _ in range(12):  # both live on side by side
        with pytest.raises(DatabaseReplaced):
            service.step(31)
        other.step(5)
    assert service.vast.boxes == before
    assert len(service.vast.named("create")) == 3
    # beside a file that was replaced SQLite may find the log of the old one, and so the old rows
    assert {(row.contract_id, row.state) for row in other.rows()} == {
        (contract, State.VERIFIED) for contract in before
    }


@pytest.mark.parametrize("moment", ["create", "created"])
def test_a_create_under_way_when_the_file_goes_is_found_by_the_next_service(
    service: Controller, successor: Callable[[], Controller], file: Path, moment: str
) -> None:
    (lost, *_) = service.rows()
    service.drop(lost)
    service.vast.boundary = lambda name: removed(file) if name == moment and file.exists() else None
    with pytest.raises(DatabaseReplaced):
        service.run(120)
    service.vast.boundary = lambda name: None
    assert len(service.vast.boxes) == 3, "the create that was under way came through"
    other = successor()
    other.run(120)
    other.verify_all()
    other.run(600, every=20)
    assert len(service.vast.named("create")) == 4
    assert len(service.vast.boxes) == len(other.rows(State.VERIFIED)) == 3


def test_a_call_under_way_is_told_in_a_line_and_not_as_an_error_nobody_thought_of(
    service: Controller, file: Path
) -> None:
    service.drop(service.rows()[0])
    service.vast.boundary = lambda name: removed(file) if name == "destroyed" else None
    with capture_logs() as lines, pytest.raises(DatabaseReplaced):
        service.run(60)
    assert [line for line in lines if "exc_info" in line] == []
    assert [line for line in lines if line["event"] == "call.database_trouble"]


def test_a_backup_in_the_place_of_the_file_is_gone_on_with_by_a_new_start(
    service: Controller, successor: Callable[[], Controller], file: Path
) -> None:
    copy = file.with_name("copy.db")
    with service.sessions.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(file, copy)
    before = dict(service.vast.boxes)
    copy.replace(file)
    with pytest.raises(DatabaseReplaced, match="replaced by another"):
        service.step(5)
    service.sessions.engine.dispose()
    other = successor()
    other.run(300, every=20)
    assert service.vast.boxes == before
    assert {row.reason for row in other.rows()} == {Reason.CALLED}


# the web side follows the path


def test_the_web_side_goes_on_with_the_file_that_is_there(file: Path) -> None:
    sessions = open_database(f"sqlite:///{file}", busy_timeout=1)
    settings = some_settings(this_magister_addr=ADDRESS, api_token=None, web=Web(busy_timeout_secs=0.01))
    clock = Controller(sessions).clock
    app = create_app(settings, sessions, clock=clock.wall, nap=lambda secs: None)
    client = app.test_client()
    with sessions.write() as session:
        row = a_row(session, state=State.CREATED)
    assert client.get("/summary").get_json()["num_instances"] == 1
    removed_with_all_beside_it(file)
    assert client.get("/summary").status_code == 503
    assert client.get("/readyz").status_code == 503
    assert client.get(f"/verify/{row.offer_id}").status_code == 503, "it would be written where nobody reads"
    assert not file.exists(), "no empty one is made in its place"
    replaced(file)
    assert client.get("/summary").get_json()["num_instances"] == 0
    with sessions.write() as session:
        a_row(session, state=State.CREATED)
    assert client.get("/summary").get_json()["num_instances"] == 1
    sessions.engine.dispose()
