"""Copies of the database made while it is in use, and what becomes of a pool when an old one is put back."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from magister.cli.main import main
from magister.domain.instance import Held
from magister.errors import Ambiguous, Transient, Unusable
from magister.service import wiring
from magister.states import LIVE, Reason, State
from magister.store import instances, rental_history
from magister.store.db import migrations, sqlite_backup
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import kernel_lock
from tests.builders import ADDRESS, NOW, a_fleet, a_row, an_offer
from tests.controller import Controller
from tests.fakes import FakeClock, FakeVast
from tests.unit.cli.test_main import SETTINGS
from tests.waiting import PATIENCE

DATABASE = Path("magister.db")
BACKUP = Path("backup.db")


@pytest.fixture(autouse=True)
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Stand beside the database of `sqlite_sessions`, with settings; the commands read this clock."""
    monkeypatch.chdir(tmp_path)
    Path("magister.toml").write_text(SETTINGS.replace("http://magister.example", ADDRESS))
    clock = FakeClock()
    monkeypatch.setattr(wiring, "now", clock.wall)
    return clock


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="magister")


def contracts(file: Path) -> set[int]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        return {row[0] for row in connection.execute("SELECT contract_id FROM instances")}


def files() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"magister.toml", "magister.db.loop"}


# backup


def test_a_backup_made_amid_writes_is_of_one_moment(sqlite_sessions: Sessions) -> None:
    enough, stop = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 2
            with sqlite_sessions.write() as session:  # two rows at a time: a torn copy would hold one
                a_row(session, contract_id=number)
                a_row(session, contract_id=number + 1)
            if number > 10:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert enough.wait(PATIENCE)
        results = [run("backup", f"backup-{number}.db") for number in range(5)]
    finally:
        stop.set()
        writer.join()
    assert [result.exit_code for result in results] == [0] * 5
    counts = [len(contracts(Path(f"backup-{number}.db"))) for number in range(5)]
    assert counts == sorted(counts)
    assert all(count > 10 and count % 2 == 0 for count in counts)
    assert files() == {f"backup-{number}.db" for number in range(5)} | {
        "magister.db",
        "magister.db-wal",
        "magister.db-shm",
    }


def test_a_backup_says_what_it_holds(sqlite_sessions: Sessions) -> None:
    with sqlite_sessions.write() as session:
        a_row(session)
        a_row(session, state=State.DESTROYED)
    result = run("backup", "backup.db")
    assert result.exit_code == 0
    done = f"backed up sqlite:///magister.db to backup.db: revision {migrations.head()}"
    assert result.stdout.startswith(f"{done}, never used, 1 instances kept, ")
    assert BACKUP.stat().st_mode & 0o077 == 0, "it holds addresses and machines of the operator"


def test_a_backup_overwrites_nothing_unless_told_to(sqlite_sessions: Sessions) -> None:
    BACKUP.write_text("precious")
    refused = run("backup", "backup.db")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "magister: backup.db is there already: --force overwrites it\n",
    )
    assert BACKUP.read_text() == "precious"
    assert run("backup", "--force", "backup.db").exit_code == 0
    assert contracts(BACKUP) == set()


def test_a_file_that_appears_meanwhile_is_not_overwritten_either(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER)")
    BACKUP.write_text("precious")
    with pytest.raises(Unusable, match="--force"):
        sqlite_backup.publish(copy, BACKUP, force=False)
    assert BACKUP.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("magister.db",), "magister.db is the database itself"),
        (("--force", "magister.db"), "magister.db is the database itself"),
        (("nowhere/backup.db",), "there is no folder nowhere"),
        (("--force", "."), ". is not a file"),
    ],
)
def test_a_backup_that_cannot_be_is_told_in_a_line(
    sqlite_sessions: Sessions, arguments: tuple[str, ...], words: str
) -> None:
    before = DATABASE.read_bytes()
    result = run("backup", *arguments)
    assert (result.exit_code, result.stderr) == (2, f"magister: {words}\n")
    assert DATABASE.read_bytes() == before


def test_no_database_is_made_to_be_backed_up() -> None:
    result = run("backup", "backup.db")
    assert result.exit_code == 2
    assert "there is no database magister.db" in result.stderr
    assert files() == set()


@pytest.mark.parametrize(
    ("command", "tool"),
    [
        (
            "backup",
            "pg_dump --format=custom --file=backup.db --dbname='postgresql://me@db:5433/m?sslmode=prefer'",
        ),
        (
            "restore",
            "pg_restore --clean --if-exists --single-transaction "
            "--dbname='postgresql://me@db:5433/m?sslmode=prefer' backup.db && magister restore --by-hand",
        ),
    ],
)
def test_postgresql_has_its_own_tools_and_they_are_named_without_the_password(
    monkeypatch: pytest.MonkeyPatch, command: str, tool: str
) -> None:
    url = "postgresql+psycopg://me:secret-word@db:5433/m?sslmode=prefer&password=secret-word"
    monkeypatch.setenv("DATABASE_URL", url)
    result = run(command, "backup.db")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"by its own tools: {tool}\n")
    assert "secret-word" not in result.stderr


def test_the_line_for_postgresql_names_the_settings_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://me@db/m")
    Path("magister.toml").rename("the pool.toml")
    result = run("restore", "backup.db", "--config", "the pool.toml")
    assert result.stderr.endswith(" && magister restore --by-hand --config 'the pool.toml'\n")


# restore


@pytest.fixture
def backed_up(sqlite_sessions: Sessions) -> Sessions:
    """Give a database with contract 2 whose backup knows contract 1 only; nobody has it open."""
    with sqlite_sessions.write() as session:
        a_row(session, contract_id=1)
    assert run("backup", "backup.db").exit_code == 0
    with sqlite_sessions.write() as session:
        a_row(session, contract_id=2)
    sqlite_sessions.engine.dispose()
    return sqlite_sessions


def test_a_restored_backup_is_the_database_and_the_one_before_is_kept(backed_up: Sessions) -> None:
    result = run("restore", "backup.db")
    assert result.exit_code == 0, result.stderr
    aside = Path(f"magister.db.{NOW:%Y%m%dT%H%M%SZ}")
    assert f"the one before is kept as {aside}" in result.stdout
    assert (contracts(DATABASE), contracts(aside)) == ({1}, {1, 2})
    assert files() == {"magister.db", "backup.db", aside.name}


def test_two_restores_within_a_second_keep_both(backed_up: Sessions) -> None:
    assert run("restore", "backup.db").exit_code == run("restore", "backup.db").exit_code == 0
    assert len(list(Path().glob(f"magister.db.{NOW:%Y%m%d}*"))) == 2


def test_a_backup_can_be_restored_where_there_is_no_database(backed_up: Sessions) -> None:
    DATABASE.unlink()
    result = run("restore", "backup.db")
    assert result.exit_code == 0
    assert "there was none before" in result.stdout
    assert contracts(DATABASE) == {1}


def test_a_restore_keeps_owner_and_permissions(backed_up: Sessions) -> None:
    DATABASE.chmod(0o640)
    run("restore", "backup.db")
    assert DATABASE.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("garbage", [False, True])
def test_the_log_of_a_broken_database_does_not_get_into_the_restored_one(
    backed_up: Sessions, garbage: bool
) -> None:
    with backed_up.write() as session:
        a_row(session, contract_id=3)
    wal = Path("magister.db-wal").read_bytes()
    backed_up.engine.dispose()
    DATABASE.write_bytes(b"broken" * 1000)
    Path("magister.db-wal").write_bytes(b"garbage" * 1000 if garbage else wal)
    result = run("restore", "backup.db")
    assert result.exit_code == 0, result.stderr
    assert not any(Path(f"magister.db{suffix}").exists() for suffix in sqlite_backup.COMPANIONS)
    with backed_up.read() as session:
        assert {row.contract_id for row in instances.held(session)} == {1}
    (aside,) = Path().glob("magister.db.2*Z")
    assert aside.stat().st_size > 0


def test_a_restore_is_refused_while_a_loop_acts(backed_up: Sessions) -> None:
    lock = kernel_lock(backed_up)
    assert lock.take()
    try:
        result = run("restore", "backup.db")
    finally:
        lock.release()
    assert (result.exit_code, result.stderr) == (
        2,
        "magister: a service keeps the pool on magister.db: stop it first\n",
    )
    assert contracts(DATABASE) == {1, 2}


def test_a_restore_is_refused_while_anybody_has_the_database_open(backed_up: Sessions) -> None:
    with backed_up.read() as session:
        session.connection()
        result = run("restore", "backup.db")
    assert (result.exit_code, result.stderr) == (
        2,
        "magister: another process has magister.db open: stop it first\n",
    )
    backed_up.engine.dispose()
    assert contracts(DATABASE) == {1, 2}


def _text(file: Path) -> None:
    file.write_text("this is no database " * 100)


def _other(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE songs (id INTEGER)")


def _statement(words: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(words)

    return change


def _corrupt(file: Path) -> None:
    pages = bytearray(file.read_bytes())
    with closing(sqlite3.connect(file)) as connection:
        name = "SELECT rootpage FROM sqlite_master WHERE name = 'instances'"
        page = connection.execute(name).fetchone()[0]
    start = (page - 1) * 4096
    pages[start : start + 4096] = os.urandom(4096)
    file.write_bytes(pages)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_text, "it is no SQLite database"),
        (_other, "backup.db is no database of Magister"),
        (_statement("UPDATE alembic_version SET version_num = '9999'"), "a newer Magister (revision 9999"),
        (_statement("DROP TABLE pool"), "half made"),
        (_statement("DROP TABLE alembic_version"), "half made"),
        (_corrupt, "corrupt"),
    ],
)
def test_what_cannot_be_used_is_not_restored(
    backed_up: Sessions, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(BACKUP)
    spoiled, before = BACKUP.read_bytes(), contracts(DATABASE)
    result = run("restore", "backup.db")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (BACKUP.read_bytes(), contracts(DATABASE)) == (spoiled, before)
    assert files() == {"magister.db", "backup.db"}


def test_an_older_backup_is_brought_to_this_revision(backed_up: Sessions) -> None:
    old = open_database("sqlite:///backup.db", busy_timeout=5)
    migrations.downgrade(old, "0001")
    old.engine.dispose()
    assert run("restore", "backup.db").exit_code == 0
    assert migrations.revision(backed_up) == migrations.head()
    assert contracts(BACKUP) == {1}


def test_a_restored_database_can_be_looked_at_before_the_next_start(
    backed_up: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("restore", "backup.db")
    before = DATABASE.read_bytes()
    monkeypatch.setattr(wiring, "vast", lambda settings, nap: FakeVast())
    result = run("adopt", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "it has 1 rows" in result.stdout
    assert DATABASE.read_bytes() == before


# a pool whose database is set back


@pytest.fixture
def pool(sqlite_sessions: Sessions, clock: FakeClock) -> Iterator[Controller]:
    pool = Controller(
        sqlite_sessions, clock=clock, fleet=a_fleet(target=6), lock=kernel_lock(sqlite_sessions)
    )
    pool.vast.stock(an_offer() for _ in range(40))
    yield pool
    pool.lease.release(clock.now)


def back_up(pool: Controller) -> None:
    result = run("backup", "backup.db")
    assert result.exit_code == 0, result.stderr


def put_back(pool: Controller) -> str:
    """End the loop, restore the backup, and begin a new process on it."""
    pool.lease.release(pool.clock.now)
    pool.sessions.engine.dispose()
    result = run("restore", "backup.db")
    assert result.exit_code == 0, result.stderr
    pool.restart()
    return result.stdout


def known(pool: Controller) -> dict[int | None, Held]:
    return {row.contract_id: row for row in pool.rows() if row.state in LIVE}


def test_a_pool_finds_itself_after_an_old_backup_was_restored(pool: Controller) -> None:
    pool.filled()
    back_up(pool)
    first = pool.rows()
    pool.vast.lose(first[0].contract_id or 0)  # deleted in the console
    pool.drop(first[1])  # given up by the coordinator
    pool.run(120)
    pool.verify_all()
    pool.run(1200, every=20)
    pool.verify_all()
    pool.run(300, every=20)
    before, creates = dict(pool.vast.boxes), len(pool.vast.named("create"))
    assert len(before) == 6
    assert len(before.keys() - {row.contract_id for row in first}) == 2, "two were rented since the backup"
    put_back(pool)
    pool.run(900, every=20)
    assert pool.vast.boxes == before, "nothing was rented, nothing was given up"
    assert len(pool.vast.named("create")) == creates
    assert known(pool).keys() == before.keys()
    assert {row.state for row in known(pool).values()} == {State.VERIFIED}
    adopted = [row for row in known(pool).values() if row.reason is Reason.ADOPTED]
    assert len(adopted) == 2
    gone = [pool.story(row.id)[-1] for row in pool.rows(State.DESTROYED)]
    assert gone == [(State.DESTROYED, Reason.VANISHED)] * 2


def test_a_worker_that_called_after_the_backup_is_not_given_up(pool: Controller) -> None:
    pool.step()
    assert len(pool.rows(State.CREATED)) == 6
    back_up(pool)
    pool.verify_all()
    pool.run(600, every=20)
    before = dict(pool.vast.boxes)
    assert len(before) == 6
    assert "6 workers may have called since: their boxes count as verified" in put_back(pool)
    pool.run(1200, every=20)
    assert pool.vast.boxes == before
    assert all(pool.story(row.id)[-1] == (State.VERIFIED, Reason.RESTORED) for row in pool.rows())


def test_the_age_of_a_backup_says_nothing_of_how_long_boxes_take_to_boot(pool: Controller) -> None:
    pool.step()
    with pool.sessions.write() as session:
        intent = a_row(session, state=State.REQUESTED, sent=False, at=pool.clock.now)
    back_up(pool)
    pool.clock.advance(timedelta(days=7).total_seconds())
    put_back(pool)
    pool.run(900, every=20)
    assert pool.row(intent.id).state is State.DESTROYED
    with pool.sessions.read() as session:
        past = rental_history.rentals(session, pool.clock.now)
    assert pool.row(intent.id).machine_id not in {rental.machine_id for rental in past}
    boots = [rental.boot for rental in past if rental.at < pool.clock.now - timedelta(days=6)]
    assert len(boots) == 6
    assert max(boot or 0.0 for boot in boots) <= 180


def test_a_worker_that_still_has_time_is_waited_for(pool: Controller) -> None:
    pool.step()
    back_up(pool)
    pool.clock.advance(60)
    put_back(pool)
    pool.step(5)
    assert len(pool.rows(State.CREATED)) == 6


def test_an_intent_that_was_sent_after_the_backup_is_not_sent_again(pool: Controller) -> None:
    with pool.sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=False, offer=pool.vast.offers[0], at=pool.clock.now)
    back_up(pool)
    pool.run(60)  # the create goes out, and its box is there
    pool.verify_all()
    (contract,) = [r.contract_id for r in pool.rows() if r.id == row.id]
    pool.run(1200, every=20)
    creates, before = len(pool.vast.named("create")), dict(pool.vast.boxes)
    assert contract in before
    said = put_back(pool)
    assert "1 intents may have been sent since" in said
    pool.run(1200, every=20)
    assert len(pool.vast.named("create")) == creates
    assert pool.vast.boxes == before
    assert pool.row(row.id).contract_id == contract
    assert pool.row(row.id).state is State.VERIFIED


def test_an_intent_that_was_never_sent_frees_its_place_in_the_end(pool: Controller) -> None:
    offer = an_offer()
    with pool.sessions.write() as session:
        row = a_row(session, state=State.REQUESTED, sent=False, offer=offer, at=pool.clock.now)
    back_up(pool)
    pool.clock.advance(3600)
    put_back(pool)
    for _ in range(30):
        pool.run(60)
        pool.verify_all()
    assert pool.row(row.id).state is State.DESTROYED
    assert offer.id not in pool.vast.named("create")
    assert len(pool.rows(State.VERIFIED)) == len(pool.vast.boxes) == 6


@pytest.mark.parametrize("fault", [Ambiguous("reset"), Transient("500")])
def test_a_create_under_way_at_the_backup_is_settled_by_listings(pool: Controller, fault: Exception) -> None:
    pool.vast.after("create", fault)
    pool.step()
    back_up(pool)
    pool.run(60)
    pool.verify_all()
    pool.run(1200, every=20)
    before = dict(pool.vast.boxes)
    assert len(before) == 6
    put_back(pool)
    pool.run(1200, every=20)
    assert pool.vast.boxes == before
    assert known(pool).keys() == before.keys()
    assert len(set(pool.vast.live_labels())) == 6


def test_a_drop_heard_before_the_backup_is_carried_out_after_it(pool: Controller) -> None:
    pool.filled()
    row = pool.rows()[0]
    pool.vast.before("destroy", *[Transient("500")] * 50)
    pool.drop(row)
    back_up(pool)
    put_back(pool)
    pool.vast.before_nothing()
    pool.run(120)
    assert row.contract_id not in pool.vast.boxes
    assert pool.story(row.id)[-1] == (State.DESTROYED, Reason.PROVED_GONE)


def test_restored_times_do_not_reach_into_the_future(pool: Controller) -> None:
    pool.filled()
    back_up(pool)
    pool.clock.advance(-timedelta(hours=2).total_seconds())
    put_back(pool)
    pool.run(120)
    assert len(pool.vast.boxes) == len(pool.rows(State.VERIFIED)) == 6


def test_the_copy_beside_the_database_is_gone_when_the_disk_is_full(
    backed_up: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite_backup, "synced", fail)
    result = run("restore", "backup.db")
    assert (result.exit_code, result.stderr) == (
        2,
        "magister: magister.db cannot be replaced: No space left on device\n",
    )
    assert files() == {"magister.db", "backup.db"}
    assert contracts(DATABASE) == {1, 2}
