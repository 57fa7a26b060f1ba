"""The HTTP API: what is shown, and what workers and the coordinator are answered."""

import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from magister.domain import callback_key
from magister.domain.instance import Held, Learned
from magister.onstart import script
from magister.planner.conditions import Condition
from magister.settings.runtime import Web
from magister.states import State
from magister.store import instances as rows
from magister.store import pool, transitions
from magister.store.db.engine import Sessions, open_database
from magister.store.db.lease import LeaseHolder, NoLock, this_host
from magister.store.db.models import Instance, Pool
from magister.web import create_app, liveness
from tests.builders import NOW, a_row, ago, an_offer, some_settings, state_of
from tests.fakes import FakeClock
from tests.waiting import PATIENCE

KEY, OTHER = (callback_key.make("5" * 64, 77, chance * 16) for chance in "01")
ADDRESS = "http://203.0.113.7"


def a_client(sessions: Sessions, *, is_open: bool = False) -> FlaskClient:
    clock = FakeClock(now=NOW)
    settings = some_settings(web=Web(open_callbacks=is_open))
    app = create_app(
        settings,
        sessions,
        clock=clock.wall,
        nap=lambda seconds: pytest.fail("nothing here has to wait"),
        monotonic=clock.monotonic,
    )
    return app.test_client()


@pytest.fixture
def client(sessions: Sessions) -> FlaskClient:
    with sessions.write() as session:
        pool.note_listed(session, ago(minutes=1))
    return a_client(sessions)


def row_in(
    sessions: Sessions, state: State, *, offer_id: int = 77, key: str | None = None, **learned: object
) -> Held:
    with sessions.write() as session:
        return a_row(
            session,
            state=state,
            offer=an_offer(
                id=offer_id, geolocation="Sweden, SE", details=json.dumps({"id": offer_id, "cpu": "x"})
            ),
            callback_key=key,
            at=ago(minutes=1),
            learned=Learned(**learned),  # type: ignore[typeddict-item] # names and types are Learned's
        )


def asked_for_listing(sessions: Sessions) -> bool:
    with sessions.read() as session:
        return pool.read(session).listing_wanted_at is not None


def instances(client: FlaskClient, query: str = "") -> list[dict[str, object]]:
    answer = client.get(f"/instances{query}")
    assert answer.status_code == 200
    shown = answer.json
    assert isinstance(shown, list)
    return shown


def beat(sessions: Sessions, *wrong: Condition, seconds: float = 1, listed: float | None = 1) -> None:
    """Let the loop have stepped and listed so many seconds ago, and found something `wrong`."""
    with sessions.write() as session:
        pool.beat(session, ago(seconds=seconds), target=3, conditions=wrong)
        session.execute(update(Pool).values(listed_at=None if listed is None else ago(seconds=listed)))


# verify


@pytest.mark.parametrize("arrives", [True, False])
def test_a_worker_that_calls_before_the_first_listing_is_kept_waiting_for_its_row(
    sqlite_sessions: Sessions, arrives: bool
) -> None:
    clock = FakeClock(now=NOW)

    def nap(seconds: float) -> None:
        clock.advance(seconds)
        if arrives and clock.mono > 1002:
            with sqlite_sessions.write() as session:
                pool.note_listed(session, clock.now)
            row_in(sqlite_sessions, State.CREATED)
            clock.mono = 0

    app = create_app(some_settings(), sqlite_sessions, clock=clock.wall, nap=nap, monotonic=clock.monotonic)
    answer = app.test_client().get("/verify/77")
    assert answer.status_code == (200 if arrives else 503)
    assert arrives or clock.mono >= 1030, "it waited as long as it would for a busy database"


def test_a_beat_before_the_first_listing_waits_for_nothing_and_goes_on(sqlite_sessions: Sessions) -> None:
    answer = a_client(sqlite_sessions).get("/verify/77?beat=1")
    assert answer.status_code == 503, "a 404 would end the beats of the box"
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize("which", ["77", "0077", "7%37", "000000000000000000000000000077"])
@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.VERIFIED])
def test_a_worker_that_calls_is_verified(
    client: FlaskClient, sessions: Sessions, state: State, which: str
) -> None:
    row = row_in(sessions, state)
    answer = client.get(f"/verify/{which}")
    assert answer.status_code == 200
    assert answer.json == {"offer_id": 77, "instance_id": row.contract_id, "state": "verified"}
    assert state_of(sessions, row) is State.VERIFIED


@pytest.mark.parametrize("state", [State.DROPPING, State.DESTROYED])
def test_a_worker_that_calls_too_late_is_told_so_and_a_listing_asked_for(
    client: FlaskClient, sessions: Sessions, state: State
) -> None:
    row = row_in(sessions, state)
    assert client.get("/verify/77").status_code == 410
    assert asked_for_listing(sessions)
    assert state_of(sessions, row) is state


@pytest.mark.parametrize(
    ("state", "status"),
    [(State.CREATED, 200), (State.VERIFIED, 200), (State.DROPPING, 410), (State.DESTROYED, 410)],
)
def test_head_is_answered_like_get_and_changes_nothing(
    client: FlaskClient, sessions: Sessions, state: State, status: int
) -> None:
    row = row_in(sessions, state)
    answer = client.head("/verify/77")
    assert (answer.status_code, answer.data) == (status, b"")
    assert state_of(sessions, row) is state
    assert not asked_for_listing(sessions)


def test_head_knows_unknown_offers_and_keys(sessions: Sessions) -> None:
    client = a_client(sessions)
    row_in(sessions, State.CREATED, key=KEY)
    assert client.head("/verify/77").status_code == 403
    assert client.head("/verify/78").status_code == 503, "no listing has shown yet what there is"
    with sessions.write() as session:
        pool.note_listed(session, NOW)
    assert client.head("/verify/78").status_code == 404
    assert client.head("/verify/x").status_code == 400


@pytest.mark.parametrize(
    "which",
    [
        "x",
        "5.0",
        "+5",
        "-5",
        "%205",
        "5%20",
        "5%0A",
        "\u0665",
        "\uff15",
        "\u00b2",
        "0x5",
        "1e3",
        "%FF",
        "5;a",
    ],
)
def test_only_ascii_digits_are_an_id(client: FlaskClient, sessions: Sessions, which: str) -> None:
    row_in(sessions, State.CREATED, offer_id=5)
    assert client.get(f"/verify/{which}").status_code == 400
    assert client.head(f"/verify/{which}").status_code == 400
    assert client.delete(f"/drop/{which}").status_code == 400


@pytest.mark.parametrize("which", [str(2**63 - 1), str(2**63), str(2**64), "9" * 5000, "0", "78", ""])
def test_an_id_that_is_nobodys_is_not_found(client: FlaskClient, sessions: Sessions, which: str) -> None:
    row_in(sessions, State.CREATED)
    assert client.get(f"/verify/{which}").status_code == 404
    assert client.delete(f"/drop/{which}").status_code == 404


# drop


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.VERIFIED])
def test_the_coordinator_drops_a_worker(client: FlaskClient, sessions: Sessions, state: State) -> None:
    row = row_in(sessions, state)
    answer = client.delete("/drop/77", data="missed its heartbeat")
    assert (answer.status_code, answer.json and answer.json["state"]) == (200, "dropping")
    assert state_of(sessions, row) is State.DROPPING
    assert client.get("/verify/77").status_code == 410


@pytest.mark.parametrize("state", [State.DROPPING, State.DESTROYED])
def test_a_second_drop_is_heard_as_well(client: FlaskClient, sessions: Sessions, state: State) -> None:
    row = row_in(sessions, state)
    assert client.delete("/drop/77").status_code == 200
    assert state_of(sessions, row) is state


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"too slow", "text/plain", "too slow"),
        (b"a=b&c", "application/x-www-form-urlencoded", "a=b&c"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"\xff\xfe bad", "text/plain", "\ufffd\ufffd bad"),
        (b"", "application/octet-stream", "the coordinator gave no reason"),
    ],
)
def test_the_body_of_a_drop_is_its_reason_whatever_it_is(
    client: FlaskClient, sessions: Sessions, body: bytes, kind: str, why: str
) -> None:
    row_in(sessions, State.VERIFIED)
    assert client.delete("/drop/77", data=body, content_type=kind).status_code == 200
    (shown,) = instances(client)
    assert (shown["reason"], shown["why"], shown["should_drop"]) == ("coordinator", why, True)


# keys


def test_a_key_opens_its_own_instance_only(client: FlaskClient, sessions: Sessions) -> None:
    row = row_in(sessions, State.CREATED, key=KEY)
    for query in ("", "?key=", "?key=" + OTHER, "?key=%C3%A4", "?Key=" + KEY, "?key=" + KEY[:-1]):
        assert client.get(f"/verify/77{query}").status_code == 403
        assert client.delete(f"/drop/77{query}").status_code == 403
    assert state_of(sessions, row) is State.CREATED
    assert client.get(f"/verify/77?key={KEY}").status_code == 200
    assert client.delete(f"/drop/77?key={KEY}").status_code == 200


def test_a_refused_call_is_told_what_a_person_can_do_and_no_key(
    client: FlaskClient, sessions: Sessions
) -> None:
    row_in(sessions, State.CREATED, key=KEY)
    said = client.delete("/drop/77").text
    assert "magister drop offer:77" in said
    assert KEY not in said
    assert KEY not in client.get("/instances").text
    assert KEY not in client.get("/", headers={"Accept": "text/html"}).text


def test_the_address_that_an_instance_is_given_works_in_both_of_its_forms(
    client: FlaskClient, sessions: Sessions
) -> None:
    row_in(sessions, State.CREATED, key=KEY)
    path = script.drop_url(some_settings(), 77, KEY).removeprefix(f"{ADDRESS}:8555")
    assert client.get(path.replace("drop", "verify")).status_code == 200
    assert client.delete(path).status_code == 200


def test_an_instance_rented_before_there_were_keys_needs_none(
    client: FlaskClient, sessions: Sessions
) -> None:
    row_in(sessions, State.CREATED)
    assert client.get("/verify/77").status_code == 200
    assert client.delete("/drop/77?key=" + "0" * 32).status_code == 403
    assert client.delete("/drop/77").status_code == 200


def test_open_callbacks_need_no_key(sessions: Sessions) -> None:
    client = a_client(sessions, is_open=True)
    row_in(sessions, State.CREATED, key=KEY)
    assert client.get("/verify/77").status_code == 200
    assert client.delete("/drop/77").status_code == 200


def test_an_offer_rented_twice_is_told_apart_by_the_key(client: FlaskClient, sessions: Sessions) -> None:
    row_in(sessions, State.DESTROYED, key=KEY)
    new = row_in(sessions, State.VERIFIED, key=OTHER)
    assert client.delete(f"/drop/77?key={KEY}").status_code == 200
    assert state_of(sessions, new) is State.VERIFIED
    assert client.get(f"/verify/77?key={KEY}").status_code == 410
    assert client.get(f"/verify/77?key={OTHER}").status_code == 200


# summary and instances


def test_the_summary_shows_what_is_kept(client: FlaskClient, sessions: Sessions) -> None:
    beat(sessions)
    kept = row_in(sessions, State.VERIFIED, offer_id=1, price=100_000)
    row_in(sessions, State.CREATED, offer_id=2, price=200_000)
    row_in(sessions, State.REQUESTED, offer_id=3)
    row_in(sessions, State.DROPPING, offer_id=4)
    row_in(sessions, State.DESTROYED, offer_id=5)
    body = client.get("/summary").json
    assert body is not None
    assert (body["total_cost_per_hour"], body["num_instances"]) == (0.3, 2)  # 0.1 + 0.2 in floats is not
    assert (body["pending"], body["target"]) == (1, 3)
    assert body["states"] == {"requested": 1, "created": 1, "verified": 1, "dropping": 1}
    assert body["instance_overview"][0] == {
        "instance_id": kept.contract_id,
        "offer_id": 1,
        "gpu": "RTX 4090",
        "location": "Sweden, SE",
        "machine_id": kept.machine_id,
        "host_id": kept.host_id,
        "cost_per_hour": 0.1,
    }


def test_a_fresh_database_has_an_empty_summary(client: FlaskClient) -> None:
    assert client.get("/summary").json == {
        "total_cost_per_hour": 0.0,
        "num_instances": 0,
        "instance_overview": [],
        "pending": 0,
        "target": 0,
        "states": {"requested": 0, "created": 0, "verified": 0, "dropping": 0},
    }
    assert client.get("/instances").json == []


def test_instances_shows_what_is_not_destroyed_and_those_without_a_contract_when_asked(
    client: FlaskClient, sessions: Sessions
) -> None:
    requested = row_in(sessions, State.REQUESTED, offer_id=1)
    row_in(sessions, State.DROPPING, offer_id=2, status_msg="halting")
    row_in(sessions, State.DESTROYED, offer_id=3)
    (alone,) = instances(client)
    first, second = instances(client, "?pending=1")
    assert alone == second
    assert (first["instance_id"], first["state"], first["should_drop"]) == (None, "requested", False)
    assert (second["state"], second["should_drop"], second["status_msg"]) == ("dropping", True, "halting")
    assert first["offer"] == {
        "id": 1,
        "machine_id": requested.machine_id,
        "host_id": requested.host_id,
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        "geolocation": "Sweden, SE",
        "dph_total": 0.5,
        "cpu": "x",
    }
    assert first["requested_at"] == "2026-11-24T11:59:00.000Z"
    assert first["verified_at"] is None
    assert second["actual_status"] == "running"
    assert second["cost_per_hour"] == 0.5
    assert requested.key not in client.get("/instances?pending=1").text


def test_instances_shows_no_key_that_a_host_repeats(client: FlaskClient, sessions: Sessions) -> None:
    words = f"exec failed: {ADDRESS}/drop/77?key=0123456789abcdef"
    row_in(sessions, State.CREATED, status_msg=words, trouble=words)
    answer = client.get("/instances")
    assert "0123456789abcdef" not in answer.text
    assert "key=***" in answer.text


@pytest.mark.parametrize("stored", ["", "[]", "null", "{", '{"id": 77, "x": NaN, "y": [Infinity]}'])
def test_an_offer_stored_in_an_odd_form_harms_nobody(
    client: FlaskClient, sessions: Sessions, stored: str
) -> None:
    row = row_in(sessions, State.CREATED)
    with sessions.write() as session:
        session.execute(update(Instance).values(offer=stored))
    (shown,) = json.loads(client.get("/instances").text, parse_constant=pytest.fail)
    assert shown["offer"]["id"] == 77
    assert shown["offer"]["machine_id"] == row.machine_id


# health


def test_the_process_is_healthy_whatever_the_loop_does(client: FlaskClient) -> None:
    assert client.get("/healthz").status_code == 200


def test_a_pool_that_is_kept_is_ready(client: FlaskClient, sessions: Sessions) -> None:
    beat(sessions, seconds=2, listed=20)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {
        "ready": True,
        "why": [],
        "conditions": [],
        "target": 3,
        "heartbeat_age_secs": 2.0,
        "listing_age_secs": 20.0,
        "acting": None,
    }


@pytest.mark.parametrize(("host", "here"), [(this_host(), True), ("another-host", False)])
def test_readyz_says_which_process_acts(
    client: FlaskClient, sessions: Sessions, host: str, here: bool
) -> None:
    beat(sessions, seconds=2, listed=20)
    lease = LeaseHolder(
        sessions, NoLock(), holder=f"{host}:77:beef", lasts=timedelta(days=1), renew=timedelta(seconds=10)
    )
    assert lease.hold(NOW)
    body = client.get("/readyz").get_json()
    assert body["acting"] == {"host": host, "pid": 77, "here": here}
    lease.release(NOW)
    assert client.get("/readyz").get_json()["acting"] is None


def test_a_pool_without_credit_is_ready_and_says_so(client: FlaskClient, sessions: Sessions) -> None:
    beat(sessions, Condition("no credit", "add some", "no_credit"))
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json and answer.json["conditions"] == [
        {"what": "no credit", "cure": "add some", "kind": "no_credit"}
    ]


def test_a_loop_that_never_ran_is_not_ready(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json and answer.json["heartbeat_age_secs"] is None
    assert "never run" in answer.text


@pytest.mark.parametrize(
    ("heartbeat", "listed", "ready"),
    [(60, 1, True), (61, 1, False), (-61, 1, False), (1, 600, True), (1, 601, False), (1, None, False)],
)
def test_a_loop_that_stands_still_or_sees_nothing_is_not_ready(
    client: FlaskClient, sessions: Sessions, heartbeat: float, listed: float | None, ready: bool
) -> None:
    beat(sessions, seconds=heartbeat, listed=listed)
    answer = client.get("/readyz")
    assert answer.status_code == (200 if ready else 503)
    assert answer.json and answer.json["ready"] is ready
    assert bool(answer.json["why"]) is not ready
    assert client.head("/readyz").status_code == answer.status_code


# the rest


def test_the_root_names_the_endpoints(client: FlaskClient) -> None:
    body = client.get("/").json
    assert body and "GET /summary" in body["endpoints"]


@pytest.mark.parametrize("path", ["/", "/summary", "/instances", "/healthz", "/readyz", "/verify/1", "/none"])
def test_every_answer_stays_out_of_caches(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] in {"application/json", "application/problem+json"}
    head = client.head(path)
    assert (head.status_code, head.data) == (answer.status_code, b"")


def test_a_moment_is_the_one_at_which_the_request_was_heard(client: FlaskClient, sessions: Sessions) -> None:
    row_in(sessions, State.CREATED)
    client.get("/verify/77")
    (shown,) = instances(client)
    assert shown["verified_at"] == "2026-11-24T12:00:00.000Z"
    assert shown["moved_at"] == shown["verified_at"]


def test_a_beat_is_a_call_that_says_so(client: FlaskClient, sessions: Sessions) -> None:
    row = row_in(sessions, State.VERIFIED)
    assert client.get("/verify/77").status_code == 200
    with sessions.read() as session:
        assert rows.held(session)[0].beaten_at is None
    assert client.get("/verify/77?beat=60").status_code == 200
    with sessions.read() as session:
        (found,) = rows.held(session)
    assert (found.id, found.beaten_at) == (row.id, NOW)


@pytest.mark.parametrize("said", ["", "60", "10000", "1.5", "-60", "9" * 5000, "sixty", "%00"])
def test_no_caller_says_for_how_long_an_instance_may_be_silent(
    client: FlaskClient, sessions: Sessions, said: str
) -> None:
    row = row_in(sessions, State.VERIFIED)
    with sessions.write() as session:
        transitions.learn(session, row, beat_secs=30)
    assert client.get(f"/verify/77?beat={said}").status_code == 200
    with sessions.read() as session:
        (found,) = rows.held(session)
    assert (found.beat_secs, found.beaten_at) == (30, NOW)


def test_a_heartbeat_loop_announces_itself_without_verifying(client: FlaskClient, sessions: Sessions) -> None:
    row_in(sessions, State.CREATED)
    assert client.head("/verify/77/started").status_code == 200
    assert instances(client)[0]["announced_at"] is None
    for _ in range(2):
        assert client.get("/verify/77/started?beat=60").status_code == 200
    (shown,) = instances(client)
    assert (shown["state"], shown["announced_at"]) == ("created", "2026-11-24T12:00:00.000Z")
    assert shown["beaten_at"] is None


@pytest.mark.parametrize(("offer", "status"), [("78", 404), ("seven", 400), ("9" * 40, 404)])
def test_an_announcement_of_nobody_is_refused(client: FlaskClient, offer: str, status: int) -> None:
    assert client.get(f"/verify/{offer}/started").status_code == status


def test_an_announcement_of_an_instance_on_its_way_out_is_refused(
    client: FlaskClient, sessions: Sessions
) -> None:
    row_in(sessions, State.DROPPING)
    assert client.get("/verify/77/started").status_code == 410


def test_the_web_side_signs_that_it_listens(sqlite_sessions: Sessions) -> None:
    clock = FakeClock(now=NOW)
    for seconds, since in ((0, 0), (59, 0), (61, 120), (-3600, -3480)):
        clock.advance(seconds)
        liveness.sign(sqlite_sessions, clock.wall)
        with sqlite_sessions.read() as session:
            state = pool.read(session)
        assert pool.hearing_since(state, clock.now) == NOW + timedelta(seconds=since)
        assert pool.hearing_since(state, clock.now + timedelta(seconds=61)) is None


def test_a_sign_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    nowhere = open_database(f"sqlite:///{tmp_path}/no/such/magister.db", busy_timeout=1)
    assert not liveness.sign(nowhere, lambda: NOW)


def test_a_web_side_signs_until_it_ends(sessions: Sessions) -> None:
    signed, stop = threading.Event(), threading.Event()

    def clock() -> datetime:
        signed.set()
        return NOW

    written = threading.Event()
    liveness.listen(sessions, clock, pool.DEAF_AFTER, stop, written)
    assert signed.wait(PATIENCE)
    assert written.wait(PATIENCE)
    stop.set()


def test_the_web_side_loads_neither_vast_nor_the_loop_nor_migrations() -> None:
    words = "import sys, magister.web; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    unwanted = {
        "alembic",
        "requests",
        "tenacity",
        "magister.control.executor",
        "magister.control.launcher",
        "magister.store.db.migrations",
        "magister.vast",
        "magister.control.reconciler",
    }
    assert not unwanted & set(loaded.stdout.split())


# browsers


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=lambda headers: next(iter(headers)),
)
def test_a_page_can_make_no_browser_change_anything(
    client: FlaskClient, sessions: Sessions, headers: dict[str, str]
) -> None:
    row = row_in(sessions, State.CREATED)
    for method, path in (("GET", "/verify/77"), ("DELETE", "/drop/77")):
        answer = client.open(path, method=method, headers=headers)
        assert answer.status_code == 403
        assert answer.content_type == "application/problem+json"
        assert client.get("/summary", headers=headers).status_code == 200
    assert state_of(sessions, row) is State.CREATED
