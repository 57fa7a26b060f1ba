"""What `magister adopt --dry-run` shows of a lost database, and that it changes nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from magister.cli.commands import adopt
from magister.cli.commands.adopt import Preview, preview
from magister.cli.main import main
from magister.domain.observed import Sighting
from magister.domain.spec import Fleet
from magister.errors import DatabaseUnusable, IncompleteListing
from magister.service import wiring
from magister.settings import spec
from magister.settings.model import load
from magister.states import Reason, State
from magister.store import instances
from magister.store.db import migrations
from magister.store.db.engine import Sessions, open_database
from tests.builders import ADDRESS, NOW, a_fleet, a_row, a_sighting, ago
from tests.controller import Controller
from tests.fakes import FakeVast
from tests.unit.cli.test_main import SETTINGS

KEY = "0123456789abcdef" * 2
OTHER_KEY = "fedcba9876543210" * 2


def ours(contract: int, **facts: object) -> Sighting:
    plain: dict[str, object] = {
        "label": f"magister:{KEY}",
        "onstart": f"export MAGISTER_DROP_ENDPOINT={ADDRESS}/drop/{contract + 1000}",
        "start_date": ago(minutes=10),
        "price": 310_000,
    }
    return a_sighting(contract, **{**plain, **facts})


@pytest.fixture
def vast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeVast:
    """Answer for Vast in a directory with settings and no database, as after a loss."""
    monkeypatch.chdir(tmp_path)
    address = SETTINGS.replace("http://magister.example", ADDRESS)
    Path("magister.toml").write_text(address.replace("number_instances = 0", "number_instances = 3"))
    fake = FakeVast()
    monkeypatch.setattr(wiring, "vast", lambda settings, nap: fake)
    monkeypatch.setattr(wiring, "now", lambda: NOW)
    return fake


def listed(vast: FakeVast, *boxes: Sighting) -> Preview:
    vast.boxes |= {box.contract_id: box for box in boxes}
    return preview(load(None).settings, vast, NOW)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("adopt", *arguments), prog_name="magister")


@pytest.mark.parametrize(
    ("box", "kind", "state", "reason"),
    [
        (ours(1), "key", State.VERIFIED, Reason.ADOPTED),
        (ours(1, label="magister"), "older tool", State.VERIFIED, Reason.ADOPTED),
        (ours(1, start_date=ago(minutes=1)), "key", State.CREATED, Reason.ADOPTED),
        (ours(1, actual_status="loading"), "key", State.CREATED, Reason.ADOPTED),
        (ours(1, actual_status="exited"), "key", State.DROPPING, Reason.ADOPTED),
        (ours(1, label="magister", actual_status="stopped"), "older tool", State.DROPPING, Reason.ADOPTED),
    ],
)
def test_a_box_of_ours_is_shown_as_what_it_would_come_in(
    vast: FakeVast, box: Sighting, kind: str, state: State, reason: Reason
) -> None:
    (action,) = listed(vast, box).adopt
    assert (adopt.label_kind(action), action.state, action.reason) == (kind, state, reason)
    assert action.box.offer_id == 1001
    assert "contract 1 is ours" in action.why


def test_the_second_of_two_boxes_under_one_key_is_shown_as_a_twin(vast: FakeVast) -> None:
    first, second = listed(vast, ours(1), ours(2)).adopt
    assert (first.state, first.reason) == (State.VERIFIED, Reason.ADOPTED)
    assert (second.state, second.reason) == (State.DROPPING, Reason.TWIN)
    assert adopt.label_kind(second) == "taken key"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"label": None}, "it has no label"),
        ({"label": "training"}, "its label is not magister:<key>"),
        ({"label": f"other:{KEY}"}, "its label is not magister:<key>"),
        ({"label": "magister:mine"}, "what follows magister: in its label is no key"),
        ({"onstart": None}, "no drop address is in its onstart"),
        (
            {"onstart": f"X=http://198.51.100.7:8555/drop/7?key={KEY}"},
            f"its drop address is http://198.51.100.7:8555, another Magister's; ours is {ADDRESS}",
        ),
        (
            {"label": "magister", "onstart": "X=http://198.51.100.7:8555/drop/7"},
            f"its drop address is http://198.51.100.7:8555, another Magister's; ours is {ADDRESS}",
        ),
        ({"onstart": f"{ADDRESS}/drop/9999999999999999999"}, "the offer id in its drop address is too large"),
    ],
)
def test_what_is_left_alone_is_shown_with_the_reason(
    vast: FakeVast, facts: dict[str, object], why: str
) -> None:
    found = listed(vast, ours(1, **facts))
    assert found.adopt == ()
    ((box, said),) = found.leave
    assert box.contract_id == 1
    assert said.startswith(why)


def test_the_preview_is_what_the_loop_then_does(vast: FakeVast, sqlite_sessions: Sessions) -> None:
    boxes = (
        ours(1),
        ours(2),
        ours(3, label="magister", start_date=ago(minutes=1)),
        ours(4, label=f"magister:{OTHER_KEY}", actual_status="exited"),
        ours(5, label="training"),
    )
    shown = listed(vast, *boxes)
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=3))
    pool.vast.boxes |= {box.contract_id: box for box in boxes}
    pool.vast.before("destroy", *[IncompleteListing("not now")] * 9)
    pool.step()
    made = {(row.contract_id, row.offer_id, row.state, row.reason) for row in pool.rows()}
    expected = {(a.box.sighting.contract_id, a.box.offer_id, a.state, a.reason) for a in shown.adopt}
    assert made == expected
    assert len(expected) == 4


def test_boxes_with_a_row_are_not_taken_in_again(vast: FakeVast, sqlite_sessions: Sessions) -> None:
    with sqlite_sessions.write() as session:
        row = a_row(session, contract_id=1)
        requested = a_row(session, state=State.REQUESTED)
    found = listed(vast, ours(1, label=f"magister:{row.key}"), ours(2, label=f"magister:{requested.key}"))
    assert (found.adopt, found.leave) == ((), ())
    assert {name.id for name in found.known} == {row.id, requested.id}


def test_rows_on_postgresql_are_recognised_as_well(
    vast: FakeVast, postgres_sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_sessions.write() as session:
        row = a_row(session, contract_id=1)
    url = postgres_sessions.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    found = listed(vast, ours(1), ours(2))
    assert [name.id for name in found.known] == [row.id]
    assert [action.box.sighting.contract_id for action in found.adopt] == [2]
    assert found.database == f"it has 1 rows at revision {migrations.head()}"


def test_a_box_under_the_key_of_a_row_with_another_contract_is_a_twin(
    vast: FakeVast, sqlite_sessions: Sessions
) -> None:
    with sqlite_sessions.write() as session:
        row = a_row(session, contract_id=1)
    names = (instances.Name(row.id, row.key, row.contract_id, row.state),)
    twin = ours(2, label=f"magister:{row.key}")
    listing = FakeVast(boxes={1: ours(1, label=f"magister:{row.key}"), 2: twin}).listing(NOW)
    fleet: Fleet = spec.fleet(load(None).settings)
    found = adopt.previewed(listing, names, fleet, NOW, database="")
    assert [(a.box.sighting.contract_id, a.reason) for a in found.adopt] == [(2, Reason.TWIN)]


def test_what_exceeds_the_target_is_foretold(vast: FakeVast) -> None:
    boxes = (ours(n, label="magister") for n in range(1, 6))
    assert listed(vast, *boxes).excess == 2


def test_a_missing_database_is_not_made(vast: FakeVast) -> None:
    vast.boxes[1] = ours(1)
    result = run("--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "the database: there is none, as after a loss" in result.stdout
    assert "1 boxes at Vast: 0 have a row, 1 would be taken in, 0 left alone" in result.stdout
    assert [path.name for path in Path().iterdir()] == ["magister.toml"]
    assert [name for name, _ in vast.calls] == ["listing"]


def test_an_empty_database_stays_empty(vast: FakeVast) -> None:
    Path("magister.db").touch()
    assert run("--dry-run").exit_code == 0
    assert Path("magister.db").stat().st_size == 0


def test_a_database_without_a_revision_is_read_and_stays_as_it_is(vast: FakeVast) -> None:
    other = open_database("sqlite:///magister.db", busy_timeout=1)
    with other.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE something (id INTEGER)")
    other.engine.dispose()
    before = Path("magister.db").read_bytes()
    result = run("--dry-run")
    assert result.exit_code == 0
    assert "the database: it is empty" in result.stdout
    assert Path("magister.db").read_bytes() == before


def test_a_broken_database_is_told_and_not_guessed_about(vast: FakeVast) -> None:
    Path("magister.db").write_text("no database " * 100)
    with pytest.raises(DatabaseUnusable, match="no SQLite database"):
        listed(vast, ours(1))


def test_json_says_the_same(vast: FakeVast) -> None:
    vast.boxes |= {1: ours(1, gpu_name="RTX 4090", num_gpus=2, machine_id=5), 2: ours(2, label=None)}
    said = json.loads(run("--dry-run", "--json").stdout)
    assert (said["target"], said["known"], said["excess"]) == (3, 0, 0)
    assert said["adopt"] == [
        {
            "instance_id": 1,
            "offer_id": 1001,
            "machine_id": 5,
            "host_id": None,
            "gpu": "RTX 4090",
            "num_gpus": 2,
            "cost_per_hour": 0.31,
            "label": "key",
            "actual_status": "running",
            "state": "verified",
            "reason": "adopted",
            "why": "contract 1 is ours and unknown; it has run longer than a worker has to verify",
        }
    ]
    assert said["leave"] == [{"instance_id": 2, "machine_id": None, "label": None, "why": "it has no label"}]


def test_without_a_complete_listing_nothing_is_shown(vast: FakeVast) -> None:
    vast.before("listing", IncompleteListing("3 of 5 rows"))
    result = run("--dry-run")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "magister: 3 of 5 rows\n")


def test_without_the_flag_it_says_who_adopts(vast: FakeVast) -> None:
    result = run()
    assert result.exit_code == 2
    assert result.stderr == f"magister: {adopt.BY_ITSELF}\n"
    assert vast.calls == []
