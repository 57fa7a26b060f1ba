"""A drop that the database does not take is kept, and written as soon as it can be."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.exc import DataError, InternalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from magister.domain import callback_key
from magister.domain.instance import Held, Learned
from magister.states import Reason, State
from magister.store import instances, pool, requests, transitions
from magister.store.db.engine import Sessions
from magister.store.db.models import Transition
from magister.web import create_app
from magister.web.callbacks import Callbacks
from magister.web.drops import queue as kept
from magister.web.drops.queue import KeptDrops
from magister.web.drops.spool import Drop, Spool
from magister.web.server.limited_log import LINES
from tests.builders import NOW, a_row, an_offer, state_of
from tests.fakes import FakeClock
from tests.integration.test_full_disk import Disk
from tests.integration.test_web_trouble import failing, the_settings
from tests.waiting import PATIENCE, until

KEY, OTHER, NOBODYS = (callback_key.make("5" * 64, 77, chance * 16) for chance in "012")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=NOW)


@pytest.fixture(params=["disk", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Spool:
    return Spool(tmp_path / "drops" if request.param == "disk" else None)


@pytest.fixture
def drops(sessions: Sessions, clock: FakeClock, spool: Spool) -> KeptDrops:
    return KeptDrops(sessions, clock.wall, spool)


@pytest.fixture
def client(sessions: Sessions, clock: FakeClock, drops: KeptDrops) -> FlaskClient:
    app = create_app(
        the_settings(),
        sessions,
        clock=clock.wall,
        nap=lambda secs: void(clock.advance(secs)),
        monotonic=clock.monotonic,
        kept=drops,
    )
    return app.test_client()


def void(value: object) -> None:
    """Take a value for none."""


def a_box(
    sessions: Sessions, state: State = State.VERIFIED, *, key: str | None = None, offer: int = 77
) -> Held:
    with sessions.write() as session:
        return a_row(session, state=state, offer=an_offer(id=offer), callback_key=key)


def away(sessions: Sessions, drop: Callable[[], object]) -> None:
    """Ask for something while the database does not answer."""
    with failing(sessions, times=1000):
        drop()


def told(client: FlaskClient) -> list[str]:
    """Return the conditions that /readyz names of drops."""
    found = client.get("/readyz").get_json()["conditions"]
    return [one["what"] for one in found if one["kind"].startswith("drops_")]


def crowd(drops: KeptDrops) -> None:
    """Keep so many that the next one does not wait while the database is in trouble."""
    for offer in range(1, kept.CROWD + 1):
        drops.keep(Drop(offer_id=offer, key=None, why="slow", heard_at=NOW))


def reasons(sessions: Sessions, row: Held) -> list[tuple[Reason, str]]:
    with sessions.read() as session:
        moves = select(Transition).where(Transition.instance_id == row.id).order_by(Transition.id)
        return [(move.reason, move.detail) for move in session.scalars(moves)]


def test_a_drop_that_cannot_be_written_is_kept_told_and_written_later(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    row = a_box(sessions)
    with failing(sessions, times=1000):
        answer = client.delete("/drop/77", data="it\nis slow")
        assert (answer.status_code, "the drop is kept" in answer.get_json(force=True)["detail"]) == (
            503,
            True,
        )
        drops.write()
        assert told(client) == ["a drop that was asked for could not be written to the database yet"]
    assert state_of(sessions, row) is State.VERIFIED
    drops.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "it is slow")
    assert state_of(sessions, row) is State.DROPPING
    assert told(client) == []


def test_what_is_asked_for_again_is_kept_and_written_once(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    row = a_box(sessions)
    away(sessions, lambda: client.delete("/drop/77", data="first"))
    away(sessions, lambda: client.delete("/drop/77", data="second"))
    assert told(client) == ["a drop that was asked for could not be written to the database yet"]
    drops.write()
    drops.write()
    assert [why for reason, why in reasons(sessions, row) if reason is Reason.COORDINATOR] == ["first"]


def test_one_that_was_dropped_meanwhile_is_left_as_it_is(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    row = a_box(sessions)
    away(sessions, lambda: client.delete("/drop/77"))
    assert client.delete("/drop/77", data="asked again").status_code == 200
    drops.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "asked again")
    assert told(client) == []


def test_a_box_that_was_rented_later_on_the_same_offer_is_not_dropped(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions, clock: FakeClock
) -> None:
    away(sessions, lambda: client.delete("/drop/77"))
    clock.advance(86_400)
    with sessions.write() as session:
        later = a_row(session, state=State.VERIFIED, offer=an_offer(id=77), at=clock.now)
        pool.note_listed(session, clock.now)
    drops.write()
    assert state_of(sessions, later) is State.VERIFIED
    assert told(client) == []


def test_with_a_key_it_is_the_box_of_that_key_and_no_other(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    with sessions.write() as session:
        pool.note_listed(session, NOW)
    first, second = a_box(sessions, key=KEY), a_box(sessions, key=OTHER)
    away(sessions, lambda: client.delete(f"/drop/77?key={KEY}"))
    away(sessions, lambda: client.delete(f"/drop/77?key={NOBODYS}"))
    away(sessions, lambda: client.delete("/drop/77"))
    drops.write()
    assert (state_of(sessions, first), state_of(sessions, second)) == (State.DROPPING, State.VERIFIED)
    assert told(client) == []


def test_before_the_first_listing_it_is_kept_until_the_listing_has_brought_the_box(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    assert client.delete("/drop/77").status_code == 503
    drops.write()
    assert len(told(client)) == 1
    row = a_box(sessions)
    drops.write()
    assert state_of(sessions, row) is State.DROPPING


def test_what_is_about_nobody_is_forgotten_once_that_is_known(
    client: FlaskClient, drops: KeptDrops, sessions: Sessions
) -> None:
    away(sessions, lambda: client.delete("/drop/78"))
    row = a_box(sessions)
    with sessions.write() as session:
        pool.note_listed(session, NOW)
    drops.write()
    assert told(client) == []
    assert state_of(sessions, row) is State.VERIFIED


def test_only_so_many_are_kept_and_the_others_are_counted(
    client: FlaskClient, drops: KeptDrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 2)
    taken = [drops.keep(Drop(offer_id=offer, key=None, why="", heard_at=NOW)) for offer in (1, 2, 3, 2, 4)]
    assert taken == [True, True, False, True, False]
    assert told(client) == [
        "2 drops that were asked for could not be written to the database yet",
        "2 drops that were asked for came while 2 others waited for the database, and are lost",
    ]


def test_the_page_tells_of_drops_that_wait_and_of_those_that_are_lost(
    client: FlaskClient, drops: KeptDrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 1)
    for offer in (77, 78):
        drops.keep(Drop(offer_id=offer, key=None, why="slow", heard_at=NOW))
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert "could not be written to the database yet" in page
    assert "waited for the database, and are lost" in page


def test_the_condition_tells_whether_a_restart_forgets_them(drops: KeptDrops, spool: Spool) -> None:
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    (condition,) = drops.conditions()
    place = spool.place
    assert condition.cure.endswith(
        "a restart of Magister before that forgets them"
        if place is None
        else f"until then they lie in {place}, which a restart finds again"
    )


def test_what_another_process_keeps_is_told_and_written_by_this_one(
    sessions: Sessions, tmp_path: Path
) -> None:
    row, another = a_box(sessions), KeptDrops(sessions, lambda: NOW, Spool(tmp_path / "drops"))
    spooled = KeptDrops(sessions, lambda: NOW, Spool(tmp_path / "drops"))
    another.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    assert [condition.kind for condition in spooled.conditions()] == ["drops_unwritten"]
    spooled.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "slow")
    assert (spooled.conditions(), another.conditions()) == ((), ())


def test_what_found_no_room_on_the_disk_goes_there_once_there_is_some(
    sessions: Sessions, tmp_path: Path
) -> None:
    row, folder = a_box(sessions), tmp_path / "drops"
    folder.write_text("no folder")
    drops = KeptDrops(sessions, lambda: NOW, Spool(folder))
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    with failing(sessions, times=1000):
        drops.write()
        folder.unlink()
        drops.write()
    assert len(list(folder.iterdir())) == 1
    KeptDrops(sessions, lambda: NOW, Spool(folder)).write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "slow")


def test_a_drop_that_takes_long_is_kept_while_it_is_tried(sessions: Sessions, tmp_path: Path) -> None:
    spool, kept_at_last = Spool(tmp_path / "drops"), threading.Event()

    class Watched(KeptDrops):
        def _keep(self, drop: Drop) -> bool:
            kept = super()._keep(drop)
            kept_at_last.set()
            return kept

    drops = Watched(sessions, lambda: NOW, spool, at_once=0.0)
    with drops.until_heard(Drop(offer_id=77, key=None, why="slow", heard_at=NOW)):
        assert kept_at_last.wait(PATIENCE)
        assert spool.count() == 1
    assert spool.count() == 0


def test_a_drop_that_is_heard_while_it_is_being_kept_is_not_kept(
    sqlite_sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, begun, go_on, over = Spool(tmp_path / "drops"), *(threading.Event() for _ in range(3))
    put = spool.put

    def slowly(drop: Drop) -> bool:
        begun.set()
        assert go_on.wait(PATIENCE)
        done = put(drop)
        over.set()
        return done

    monkeypatch.setattr(spool, "put", slowly)
    drops = KeptDrops(sqlite_sessions, lambda: NOW, spool, at_once=0.0)
    with drops.until_heard(Drop(offer_id=77, key=None, why="slow", heard_at=NOW)):
        assert begun.wait(PATIENCE)
        threading.Timer(0.1, go_on.set).start()
    assert over.wait(PATIENCE)
    assert spool.count() == 0


def test_behind_many_that_wait_for_the_database_the_next_one_does_not(
    sessions: Sessions, client: FlaskClient, drops: KeptDrops, clock: FakeClock
) -> None:
    row = a_box(sessions)
    crowd(drops)
    away(sessions, drops.write)
    away(sessions, lambda: client.delete("/drop/77"))
    assert clock.now == NOW
    drops.write()
    assert state_of(sessions, row) is State.DROPPING


def test_many_that_are_kept_for_another_reason_keep_no_drop_from_a_database_that_works(
    sessions: Sessions, client: FlaskClient, drops: KeptDrops
) -> None:
    row = a_box(sessions)
    crowd(drops)
    assert client.delete("/drop/77").status_code == 200
    assert state_of(sessions, row) is State.DROPPING


def test_strangers_do_not_fill_the_room_for_drops_while_the_database_can_only_be_read(
    sqlite_sessions: Sessions, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "drops")
    drops = KeptDrops(sqlite_sessions, lambda: NOW, spool)
    app = create_app(the_settings(), sqlite_sessions, clock=lambda: NOW, nap=void, kept=drops)
    for offer in range(1, kept.CROWD + 1):
        a_box(sqlite_sessions, offer=offer)
    with sqlite_sessions.write() as session:
        pool.note_listed(session, NOW)
    crowd(drops)
    Disk(sqlite_sessions.engine).full = True
    drops.write()
    assert app.test_client().delete("/drop/4711").status_code == 404
    assert spool.count() == kept.CROWD


# strangers while the database cannot be read


@pytest.fixture
def remembered(sessions: Sessions) -> Callbacks:
    """What a web process knows that has not read the database yet."""
    return Callbacks(sessions)


@pytest.fixture
def wary(sessions: Sessions, clock: FakeClock, spool: Spool, remembered: Callbacks) -> KeptDrops:
    """Drops that are kept apart from those of strangers."""
    return KeptDrops(sessions, clock.wall, spool, callbacks=remembered)


def flood(drops: KeptDrops, *, of: int) -> None:
    for offer in range(1000, 1000 + of):
        drops.keep(Drop(offer_id=offer, key=None, why="", heard_at=NOW))


@pytest.mark.parametrize("key", [None, KEY], ids=["keyless", "keyed"])
def test_strangers_take_no_room_from_drops_of_instances_that_are_remembered(
    sessions: Sessions,
    wary: KeptDrops,
    remembered: Callbacks,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
) -> None:
    monkeypatch.setattr(kept, "OTHERS", 3)
    row = a_box(sessions, key=key)
    remembered.read()
    with failing(sessions, times=1000):
        remembered.read()
        flood(wary, of=20)
        assert wary.keep(Drop(offer_id=77, key=key, why="slow", heard_at=NOW))
        assert (wary.count(), [condition.kind for condition in wary.conditions()]) == (
            4,
            ["drops_unwritten", "drops_unchecked", "drops_lost"],
        )
    with sessions.write() as session:
        pool.note_listed(session, NOW)
    wary.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "slow")
    assert wary.count() == 0


def test_an_adopted_instance_is_remembered_by_the_key_that_it_was_started_with(
    sessions: Sessions, remembered: Callbacks
) -> None:
    with sessions.write() as session:
        a_row(session, offer=an_offer(id=77), learned=Learned(callback_key="ab" * 24))
        a_row(session, offer=an_offer(id=78), state=State.DESTROYED, learned=Learned(callback_key="cd" * 24))
    remembered.read()
    assert remembered.know(77, "ab" * 24)
    for offer, key in ((77, None), (77, "cd" * 24), (78, "ab" * 24), (78, "cd" * 24)):
        assert not remembered.know(offer, key)


def test_that_anybody_can_drop_some_instances_is_logged_once(
    sessions: Sessions, remembered: Callbacks
) -> None:
    with capture_logs() as lines:
        a_box(sessions, key=KEY)
        remembered.read()
        assert lines == []
        a_box(sessions, offer=78)
        remembered.read()
        remembered.read()
    assert [(line["event"], line["instances"]) for line in lines] == [("callbacks.keyless", 1)]


def test_a_key_that_was_made_under_our_secret_is_known_although_its_row_was_not_read(
    sessions: Sessions, remembered: Callbacks
) -> None:
    with sessions.write() as session:
        key = callback_key.make(pool.callback_secret(session), 77, "0123456789abcdef")
    assert not remembered.know(77, key)
    remembered.read()
    with failing(sessions, times=1000):
        remembered.read()
        assert remembered.know(77, key)
    assert not remembered.know(78, key)
    assert not remembered.know(77, None)


def test_a_worker_that_was_just_heard_is_remembered_and_forgotten_with_its_instance(
    sessions: Sessions, remembered: Callbacks, clock: FakeClock
) -> None:
    row = a_box(sessions)
    app = create_app(the_settings(), sessions, clock=clock.wall, callbacks=remembered)
    assert app.test_client().get("/verify/77").status_code == 200
    assert remembered.know(77, None)
    with failing(sessions, times=1000):
        remembered.read()
    assert remembered.know(77, None)
    with sessions.write() as session:
        for to, reason in ((State.DROPPING, Reason.OPERATOR), (State.DESTROYED, Reason.PROVED_GONE)):
            (seen,) = instances.by_offer(session, row.offer_id)
            transitions.move(session, seen, to, reason, actor="test", why="a test", at=NOW)
    remembered.read()
    assert not remembered.know(77, None)


def test_a_process_that_remembers_nothing_keeps_one_drop_for_each_offer_and_checks_it_first(
    sessions: Sessions, wary: KeptDrops
) -> None:
    with sessions.write() as session:
        pool.note_listed(session, NOW)
    row, other = a_box(sessions, key=KEY), a_box(sessions, offer=78)
    right, wrong = KEY, "0" * 32
    with failing(sessions, times=1000):
        taken = [
            wary.keep(Drop(offer_id=offer, key=key, why="slow", heard_at=NOW))
            for offer, key in ((77, None), (77, right), (77, right), (77, wrong), (77, None), (78, wrong))
        ]
    assert taken == [True, True, True, False, False, True]
    assert wary.count() == 2
    wary.write()
    assert (state_of(sessions, row), state_of(sessions, other)) == (State.DROPPING, State.VERIFIED)
    assert wary.count() == 0


def test_what_is_kept_of_strangers_is_found_again_after_a_restart(sessions: Sessions, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "drops")
    row = a_box(sessions)
    first = KeptDrops(sessions, lambda: NOW, spool, callbacks=Callbacks(sessions))
    first.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    assert (spool.count(), spool.beside().count()) == (0, 1)
    second = KeptDrops(sessions, lambda: NOW, spool, callbacks=Callbacks(sessions))
    second.write()
    assert state_of(sessions, row) is State.DROPPING


def test_a_drop_that_is_remembered_waits_in_a_place_for_those_that_are_known(
    sqlite_sessions: Sessions, clock: FakeClock
) -> None:
    a_box(sqlite_sessions)
    callbacks = Callbacks(sqlite_sessions)
    callbacks.read()
    app = create_app(
        the_settings(),
        sqlite_sessions,
        clock=clock.wall,
        nap=lambda secs: void(clock.advance(secs)),
        monotonic=clock.monotonic,
        callbacks=callbacks,
    )
    with failing(sqlite_sessions, times=3):
        assert app.test_client().get("/verify/77").status_code == 200


def test_what_may_be_strangers_is_named_in_one_line_if_it_ends_with_the_process(sessions: Sessions) -> None:
    drops = KeptDrops(sessions, lambda: NOW, callbacks=Callbacks(sessions))
    with failing(sessions, times=1000), capture_logs() as lines:
        for offer in (78, 77):
            drops.keep(Drop(offer_id=offer, key=None, why="slow", heard_at=NOW))
        drops.end()
        drops.end()
    assert [line["offers"] for line in lines if line["event"] == "drops.forgotten_unchecked"] == [[77, 78]]


def test_a_drop_that_fails_again_and_again_fills_no_log(client: FlaskClient, sessions: Sessions) -> None:
    error = ProgrammingError("UPDATE", None, Exception("no such table: instances"))
    with failing(sessions, times=100_000, error=error), capture_logs() as lines:
        for _ in range(3 * LINES):
            assert client.delete("/drop/77").status_code == 503
    assert len([line for line in lines if line["event"] == "drop.failed"]) == LINES


def test_no_key_is_logged_of_a_drop_that_is_kept(sessions: Sessions, tmp_path: Path) -> None:
    drops = KeptDrops(sessions, lambda: NOW, Spool(tmp_path / "drops"))
    with failing(sessions, times=1000), capture_logs() as lines:
        drops.keep(Drop(offer_id=77, key="ab" * 16, why="slow", heard_at=NOW))
        drops.end()
    assert lines
    assert "ab" * 16 not in str(lines)


def test_a_file_that_cannot_be_removed_is_told_once_and_is_no_drop(
    sqlite_sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "drops")
    drops = KeptDrops(sqlite_sessions, lambda: NOW, spool)
    row = a_box(sqlite_sessions)
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with capture_logs() as said:
        drops.write()
        drops.write()
    assert state_of(sqlite_sessions, row) is State.DROPPING
    assert [line["why"] for line in said if line["event"] == "drop.not_removed"] == ["Permission denied"]
    assert (spool.count(), drops.conditions()) == (0, ())


@pytest.mark.parametrize(
    "error",
    [
        ProgrammingError("UPDATE", None, Exception("no such table: instances")),
        DataError("UPDATE", None, Exception("out of range")),
        InternalError("UPDATE", None, Exception("cannot execute UPDATE in a read-only transaction")),
        SQLAlchemyError("whatever"),
        OSError(5, "Input/output error"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_fails_about_the_database_the_drop_is_kept(
    sessions: Sessions, client: FlaskClient, drops: KeptDrops, error: Exception
) -> None:
    row = a_box(sessions)
    with failing(sessions, times=1000, error=error):
        assert client.delete("/drop/77", data="slow").status_code == 503
        drops.write()
        assert len(told(client)) == 1
    drops.write()
    assert reasons(sessions, row)[-1] == (Reason.COORDINATOR, "slow")


def test_an_error_of_ours_is_a_500_and_logged_and_the_drop_is_kept_all_the_same(
    sessions: Sessions, client: FlaskClient, drops: KeptDrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = a_box(sessions), a_box(sessions, offer=78)
    real = requests.drop

    def drop(session: Session, offer_id: int, **more: Any) -> Held:
        if offer_id == 77:
            raise ZeroDivisionError
        return real(session, offer_id, **more)

    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr(requests, "drop", drop)
        assert client.delete("/drop/77", data="slow").status_code == 500
        away(sessions, lambda: client.delete("/drop/78"))
        drops.write()
        drops.write()
        assert [line["event"] for line in lines if line["log_level"] == "error"] == [
            "web.failed",
            "drop.failed",
        ]
    assert (state_of(sessions, broken), state_of(sessions, sound)) == (State.VERIFIED, State.DROPPING)
    drops.write()
    assert reasons(sessions, broken)[-1] == (Reason.COORDINATOR, "slow")


def test_a_thread_of_its_own_writes_them(sessions: Sessions) -> None:
    row, stop = a_box(sessions), threading.Event()
    drops = KeptDrops(sessions, lambda: NOW)
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    drops.start(stop)
    until(lambda: state_of(sessions, row) is State.DROPPING, "a box that is dropped")
    stop.set()


def test_at_the_end_of_the_process_it_is_tried_once_more_and_else_named(sessions: Sessions) -> None:
    row, drops = a_box(sessions), KeptDrops(sessions, lambda: NOW)
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    with failing(sessions, times=1000), capture_logs() as lines:
        drops.end()
    assert [(line["event"], line["offer"]) for line in lines if line["log_level"] == "error"] == [
        ("drop.forgotten", 77)
    ]
    with capture_logs() as lines:
        drops.end()
    assert not [line for line in lines if line["log_level"] == "error"]
    assert state_of(sessions, row) is State.DROPPING


def test_before_the_process_may_be_killed_it_is_named_once(sessions: Sessions) -> None:
    ending, named = threading.Event(), threading.Event()

    class Watched(KeptDrops):
        def name(self) -> None:
            super().name()
            named.set()

    drops = Watched(sessions, lambda: NOW)
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    with failing(sessions, times=1000), capture_logs() as lines:
        drops.name_before(ending, 0.0)
        assert not [line for line in lines if line["log_level"] == "error"]
        ending.set()
        assert named.wait(PATIENCE)
        drops.end()
    assert [line["offer"] for line in lines if line["log_level"] == "error"] == [77]


def test_what_is_on_the_disk_is_left_to_the_next_start(sessions: Sessions, tmp_path: Path) -> None:
    row, spool = a_box(sessions), Spool(tmp_path / "drops")
    drops = KeptDrops(sessions, lambda: NOW, spool)
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    with failing(sessions, times=1000), capture_logs() as lines:
        drops.end()
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["drops.left"]
    KeptDrops(sessions, lambda: NOW, spool).write()
    assert state_of(sessions, row) is State.DROPPING


def test_on_a_full_disk_it_waits_for_room(sqlite_sessions: Sessions) -> None:
    disk, drops = Disk(sqlite_sessions.engine), KeptDrops(sqlite_sessions, lambda: NOW)
    row = a_box(sqlite_sessions)
    drops.keep(Drop(offer_id=77, key=None, why="slow", heard_at=NOW))
    disk.full = True
    drops.write()
    assert (state_of(sqlite_sessions, row), len(drops.conditions())) == (State.VERIFIED, 1)
    disk.full = False
    drops.write()
    assert (state_of(sqlite_sessions, row), drops.conditions()) == (State.DROPPING, ())
