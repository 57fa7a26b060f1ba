"""Two Magisters with the same settings and each its own database: neither ends what the other keeps."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from magister.cli.main import main
from magister.domain.instance import Held
from magister.domain.observed import Order
from magister.domain.owners import owner_in
from magister.errors import Ambiguous
from magister.planner.conditions import OTHER_ACTOR, Condition
from magister.service import wiring
from magister.states import Reason, State
from magister.store import pool, restore, transitions
from magister.store.db.engine import Sessions, open_database
from magister.store.db.models import Pool
from tests.builders import ADDRESS, a_fleet, a_sighting, an_offer, forget_instances
from tests.controller import Controller
from tests.unit.cli.test_main import SETTINGS

N = 3
THEIRS = "b" * 12
CHANCE = "0123456789abcdef01"
FORMER_KEY = "0123456789abcdef" * 2


class Service(Controller):
    """A Magister whose instances beat, for whoever hears them."""

    def order(self, row: Held) -> Order:
        plain = super().order(row)
        beat = f"\n{ADDRESS}/verify/{row.offer_id}?beat=60"
        return Order(
            template_hash=plain.template_hash, label=plain.label, disk=16, onstart=f"{plain.onstart}{beat}"
        )

    def hear(self) -> None:
        """Let every worker call here, and every instance that a row knows beat."""
        self.verify_all()
        for row in self.rows(State.VERIFIED):
            if row.contract_id in self.vast.boxes:
                with self.sessions.write() as session:
                    transitions.learn(session, row, beaten_at=self.clock.now)

    def sign_in(self) -> None:
        """Let the web side sign that it can hear workers."""
        with self.sessions.write() as session:
            pool.note_hearing(session, self.clock.now)

    def conditions(self) -> tuple[Condition, ...]:
        with self.sessions.read() as session:
            return pool.read(session).conditions

    def kinds(self) -> set[str]:
        return {found.kind for found in self.conditions()}

    def owner(self) -> str:
        return owner_of(self.sessions)


@dataclass
class Pair:
    """Two services on one account; workers reach the first one only."""

    first: Service
    second: Service

    def run(self, seconds: float, every: float = 30, *, acting: tuple[Service, ...] | None = None) -> None:
        for _ in range(int(seconds / every)):
            self.first.clock.advance(every)
            for service in acting or (self.first, self.second):
                service.sign_in()
                service.step()
            self.first.hear()

    def contracts(self, service: Service) -> set[int]:
        """Return what one service has rented and Vast still has."""
        owner = service.owner()
        boxes = self.first.vast.boxes.items()
        return {number for number, box in boxes if owner_in((box.label or "").partition(":")[2]) == owner}


@pytest.fixture
def pair_on_each(sessions: Sessions, other_file: Sessions) -> Pair:
    """A pair of which the first is on SQLite or PostgreSQL."""
    return paired(sessions, other_file)


@pytest.fixture
def pair(sqlite_sessions: Sessions, other_file: Sessions) -> Pair:
    return paired(sqlite_sessions, other_file)


@pytest.fixture
def other_file(sqlite_template: Path, tmp_path: Path) -> Iterator[Sessions]:
    path = tmp_path / "second.db"
    shutil.copy(sqlite_template, path)
    other = open_database(f"sqlite:///{path}", busy_timeout=5)
    yield other
    other.engine.dispose()


def paired(sessions: Sessions, other: Sessions) -> Pair:
    first = Service(sessions, fleet=a_fleet(target=N))
    first.vast.stock(an_offer() for _ in range(40))
    second = Service(other, clock=first.clock, fleet=first.fleet)
    second.vast = first.vast
    second.restart()
    return Pair(first, second)


@pytest.fixture
def alone(sessions: Sessions) -> Service:
    """One service with a full pool, and nobody beside it."""
    service = Service(sessions, fleet=a_fleet(target=N))
    service.vast.stock(an_offer() for _ in range(40))
    service.step()
    service.hear()
    service.step(30)
    return service


def another(service: Service, contract: int = 1, **facts: object) -> int:
    """Let another Magister rent an instance now; return its contract."""
    plain: dict[str, object] = {
        "label": f"magister:{THEIRS}{CHANCE}",
        "onstart": f"X={ADDRESS}/drop/{contract}",
        "start_date": service.clock.now,
    }
    service.vast.boxes[contract] = a_sighting(contract, **plain | facts)
    return contract


def go_on(service: Service, seconds: float) -> None:
    for _ in range(int(seconds / 10)):
        service.sign_in()
        service.step(10)
        service.hear()


def creates_by(pair: Pair, service: Service) -> int:
    owner = service.owner()
    return sum(owner_in(order.label.partition(":")[2]) == owner for order in pair.first.vast.orders)


def destroyed_by_the_other(pair: Pair) -> set[int]:
    """Return the contracts whose end the service asked for that did not rent them."""
    orders = {
        contract: order.label
        for contract, order in zip(pair.first.vast.created, pair.first.vast.orders, strict=True)
    }
    first = pair.first.owner()
    rented = {contract for contract, label in orders.items() if owner_in(label.partition(":")[2]) == first}
    asked = {row.contract_id for row in pair.second.rows() if row.destroys}
    back = {row.contract_id for row in pair.first.rows() if row.destroys}
    return {c for c in asked if c in rented} | {c for c in back if c is not None and c not in rented}


def test_two_that_start_at_once_on_an_empty_account_rent_no_more_than_their_number_each(
    pair_on_each: Pair,
) -> None:
    pair = pair_on_each
    pair.first.vast.lag = 40  # so that neither sees in its first listing what the other has just rented
    pair.run(3600)
    assert destroyed_by_the_other(pair) == set()
    assert creates_by(pair, pair.first) == creates_by(pair, pair.second) == N
    assert len(pair.contracts(pair.first)) == N
    assert OTHER_ACTOR in pair.second.kinds()


def test_the_second_that_starts_while_the_first_fills_its_pool_ends_nothing_of_it(pair: Pair) -> None:
    pair.first.restart(target=6)
    pair.first.vast.lag = 8  # so that not all are shown when the second begins
    pair.first.step(1)
    pair.second.restart(target=6)
    pair.run(3600)
    assert destroyed_by_the_other(pair) == set()
    assert creates_by(pair, pair.first) == 6
    assert creates_by(pair, pair.second) <= 6


def test_the_second_that_starts_beside_a_full_pool_rents_nothing_and_ends_nothing(pair: Pair) -> None:
    pair.run(900, acting=(pair.first,))
    before = set(pair.first.vast.boxes)
    pair.run(3500)
    assert set(pair.first.vast.boxes) == before
    assert creates_by(pair, pair.second) == 0
    assert "taken_over_unheard" in pair.second.kinds()
    assert pair.first.kinds() == set()


def test_a_second_with_a_lower_number_does_not_shrink_the_pool_of_the_first(pair: Pair) -> None:
    pair.run(900, acting=(pair.first,))
    pair.second.restart(target=1)
    pair.run(3500)
    assert len(pair.contracts(pair.first)) == N


def test_two_that_start_at_once_over_the_pool_of_a_lost_database_end_nothing_of_each_other(
    pair: Pair,
) -> None:
    pair.run(900, acting=(pair.first,))
    with pair.first.sessions.write() as session:
        forget_instances(session)
        pool.forget_listing(session)
    pair.first.restart()
    before = set(pair.first.vast.boxes)
    pair.run(600)
    pair.first.vast.lose(min(before))
    pair.run(2700)
    kept = before - {min(before)}
    assert kept <= set(pair.first.vast.boxes)
    assert creates_by(pair, pair.first) + creates_by(pair, pair.second) <= 2
    assert OTHER_ACTOR in pair.first.kinds() | pair.second.kinds()


def test_each_database_has_one_owner_id_which_its_labels_bear(alone: Service) -> None:
    owner = alone.owner()
    alone.restart()
    assert alone.owner() == owner
    assert {owner_in((box.label or "").partition(":")[2]) for box in alone.vast.boxes.values()} == {owner}


def test_the_owner_id_is_made_once_however_many_ask_at_the_same_time(sessions: Sessions) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: owner_of(sessions), range(8)))
    assert len(found) == 1


def owner_of(sessions: Sessions) -> str:
    with sessions.write() as session:
        return pool.owner_id(session)


@pytest.mark.parametrize(
    "label",
    [f"magister:{THEIRS}{CHANCE}", f"magister:{FORMER_KEY}", "magister"],
    ids=["owner", "former", "older"],
)
def test_while_another_rents_nothing_is_rented_and_all_else_goes_on(alone: Service, label: str) -> None:
    contract = another(alone, label=label)
    dropped = alone.rows()[0]
    alone.drop(dropped)
    go_on(alone, 600)
    assert contract in alone.vast.boxes
    assert contract not in alone.vast.named("show")
    assert alone.row(dropped.id).state is State.DESTROYED
    assert len(alone.vast.created) == N
    assert [str(contract) in found.what for found in alone.conditions()] == [True]
    alone.vast.lose(contract)
    go_on(alone, 60)
    assert alone.kinds() == set()
    assert len(alone.vast.created) == N + 1


def test_an_instance_whose_reply_was_lost_is_ours(alone: Service) -> None:
    alone.vast.after("create", Ambiguous("reset"))
    alone.drop(alone.rows()[0])
    go_on(alone, 60)
    assert alone.kinds() == set()
    assert len(alone.rows(State.VERIFIED)) == N


@pytest.mark.parametrize("gap", [0, 200])
def test_a_restart_takes_nothing_for_ours_that_another_rented_meanwhile(alone: Service, gap: float) -> None:
    contract = another(alone)
    alone.clock.advance(gap)
    alone.restart()
    go_on(alone, 120)
    assert OTHER_ACTOR in alone.kinds()
    assert contract not in {row.contract_id for row in alone.rows()}


def test_what_another_rents_stays_its_own_while_we_are_long_away(alone: Service) -> None:
    another(alone)
    go_on(alone, 60)
    alone.clock.advance(7200)
    another(alone, 2)
    alone.restart()
    go_on(alone, 120)
    assert {row.contract_id for row in alone.rows()}.isdisjoint({1, 2})
    assert OTHER_ACTOR in alone.kinds()


def test_what_was_rented_while_nobody_acted_here_is_taken_in(alone: Service) -> None:
    alone.clock.advance(1800)
    contract = another(alone)
    alone.restart()
    alone.step()
    assert contract in {row.contract_id for row in alone.rows()}
    assert OTHER_ACTOR not in alone.kinds()


def test_a_jump_of_the_clock_takes_nothing_for_ours_that_another_rented(alone: Service) -> None:
    alone.clock.now += timedelta(hours=2)
    contract = another(alone)
    go_on(alone, 120)
    assert contract not in {row.contract_id for row in alone.rows()}
    assert OTHER_ACTOR in alone.kinds()


@pytest.mark.parametrize("ahead", [-7200, 7200])
def test_the_clock_of_vast_does_not_decide_whose_an_instance_is(alone: Service, ahead: float) -> None:
    alone.vast.lag = -abs(ahead)
    contract = another(alone, start_date=alone.clock.now + timedelta(seconds=ahead))
    go_on(alone, 120)
    assert contract not in {row.contract_id for row in alone.rows()}
    assert OTHER_ACTOR in alone.kinds()


def test_after_a_lost_database_one_that_the_first_listing_lacked_is_taken_in_later(alone: Service) -> None:
    late = min(alone.vast.boxes)
    alone.clock.advance(600)
    alone.vast.hidden.add(late)
    with alone.sessions.write() as session:
        forget_instances(session)
        pool.forget_listing(session)
    alone.restart(target=N - 1)
    alone.step()
    alone.vast.hidden.clear()
    go_on(alone, 60)
    assert late in {row.contract_id for row in alone.rows()}
    assert alone.kinds() == set()


def test_a_backup_that_is_put_back_takes_in_what_was_rented_since(alone: Service) -> None:
    with alone.sessions.write() as session:
        owner = pool.owner_id(session)
        forget_instances(session)
        session.execute(update(Pool).values(owner_id=owner, heartbeat_at=alone.clock.now))
        restore.doubt(session, fleet=alone.fleet, at=alone.clock.now)
    alone.restart()
    alone.step()
    assert len(alone.rows(State.VERIFIED, State.CREATED)) == N
    assert alone.kinds() == set()


def test_a_copy_of_the_database_tells_what_the_other_copy_rents(alone: Service) -> None:
    contract = another(alone, label=f"magister:{alone.owner()}{CHANCE}")
    go_on(alone, 600)
    assert contract in alone.vast.boxes
    assert OTHER_ACTOR in alone.kinds()


def test_a_host_that_takes_over_goes_on_with_what_the_one_before_saw(alone: Service) -> None:
    contract = another(alone)
    alone.lease.release(alone.clock.now)
    alone.restart()
    go_on(alone, 120)
    assert contract not in {row.contract_id for row in alone.rows()}
    assert OTHER_ACTOR in alone.kinds()


def test_what_the_operator_takes_in_is_ours_and_ends_the_condition(
    alone: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    address = SETTINGS.replace("http://magister.example", ADDRESS)
    Path("magister.toml").write_text(address)
    url = alone.sessions.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(wiring, "vast", lambda settings, nap: alone.vast)
    monkeypatch.setattr(wiring, "now", alone.clock.wall)
    contract = another(alone)
    alone.vast.lose(min(c for c in alone.vast.boxes if c != contract))
    go_on(alone, 60)
    assert OTHER_ACTOR in alone.kinds()
    assert run("adopt", "--dry-run").stdout.count(f"`magister adopt {contract}`") == 1
    for wrong, words in (
        ("5", "no instance with contract 5"),
        (str(max(alone.vast.boxes)), "has a row already"),
    ):
        said = run("adopt", str(contract), wrong)
        assert (said.exit_code, words in said.stderr) == (2, True)
    assert run("adopt", str(contract)).stdout == f"taken in: {contract} as created\n"
    go_on(alone, 60)
    (row,) = [row for row in alone.rows() if row.contract_id == contract]
    assert alone.story(row.id)[0] == (State.CREATED, Reason.ADOPTED)
    assert alone.kinds() == set()
    assert len(alone.vast.created) == N


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="magister")
