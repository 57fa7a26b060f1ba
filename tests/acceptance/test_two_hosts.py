"""Two hosts share one PostgreSQL: one loop acts, the other takes over, and no row is sent twice."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from magister.domain.instance import Held
from magister.simulator.run import SimulatorServer
from magister.states import Reason, State
from magister.store.db.lease import Ground
from tests.acceptance import gate
from tests.acceptance.host import Host
from tests.acceptance.hosts import Hosts
from tests.acceptance.laws import assert_no_row_was_sent_twice, assert_nothing_is_lost, tallied
from tests.acceptance.records import Tenure, an_own_database, drop_path
from tests.acceptance.relay import Relay
from tests.acceptance.world import HURRY, a_market

pytestmark = pytest.mark.acceptance

TARGET = 3
PACE = HURRY | {
    "LEASE_LEASE_SECS": "8",
    "LEASE_RENEW_SECS": "0.5",
    "HEALTH_CREATE_GRACE_SECS": "9",
    "WEB_BUSY_TIMEOUT_SECS": "10",  # half of which a transaction may stand still
    "VAST_QUERY_NUM_GPUS": "1",  # offers for single GPUs do not take one another away
}
ENGINE = "postgresql"


class Pair(Hosts):
    """Run the whole service on two hosts; each has a wire of its own to the database."""

    def __init__(self, directory: Path, simulator: SimulatorServer, database: str) -> None:
        super().__init__(directory, simulator, TARGET, database=database, settings=PACE)
        self._wires: list[Relay] = []
        for name in ("one", "two"):
            server = make_url(database)
            assert server.host is not None
            assert server.port is not None
            wire = Relay([(server.host, server.port)])
            url = server.set(host="127.0.0.1", port=wire.port, query={"application_name": name})
            self._wires.append(wire)
            self.add(name, "serve", DATABASE_URL=url.render_as_string(hide_password=False))

    def wire(self, host: Host) -> Relay:
        """Return the wire between a host and the database."""
        return self._wires[self.hosts.index(host)]

    def restore(self) -> None:
        """Mend the wires first, or else what is cut off cannot be found at rest."""
        for wire in self._wires:
            wire.mend()
        super().restore()

    def close(self) -> None:
        """End the wires after all that used them."""
        for wire in self._wires:
            wire.close()

    def drop_one(self) -> int:
        """Let the coordinator give up on a worker, and return its contract."""
        return self.happen("coordinator_drop")


@pytest.fixture(scope="module")
def shared(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Start two hosts at the same instant on an empty database."""
    with an_own_database(postgres_url) as database, a_market() as simulator:
        pair = Pair(tmp_path_factory.mktemp("pair"), simulator, database)
        with pair:
            with tallied("two hosts: started at once on an empty database", "none", ENGINE):
                pair.restore()
                assert pair.tenure().fence == 1
                assert pair.asked("create") == TARGET
            yield pair
        pair.close()


@pytest.fixture
def pair(shared: Pair) -> Pair:
    """Give two hosts with a pool at rest, which the tests share."""
    shared.restore()
    return shared


def assert_all_is_well(pair: Hosts) -> None:
    pair.until(pair.settled, "a pool at rest")
    assert_no_row_was_sent_twice(pair)
    assert_nothing_is_lost(pair)


def assert_a_drop_is_acted_on(pair: Hosts, at: Host) -> None:
    """Drop a worker by a call to one host, and see that whichever loop acts destroys its box soon."""
    row = next(story.row for story in pair.stories() if story.row.state is State.VERIFIED)
    pair.until(lambda: at.answers(drop_path(row), method="DELETE"), "an answer to the drop")
    path = f"/instances/{row.contract_id}/"
    pair.until(lambda: [entry for entry in pair.entries("destroy") if path in entry.path], "the destroy")


def assert_the_lease_ran_out(pair: Pair, before: Tenure) -> None:
    """See that whoever took the lease had to wait for its end, and did not wait for more."""
    succession = pair.succeeded(before)
    assert succession.ground is Ground.EXPIRED
    assert succession.late >= timedelta()


def test_both_web_sides_answer_and_one_loop_acts_on_what_they_hear(pair: Pair) -> None:
    _, other = pair.sides()
    with tallied("two hosts: both up", "none", ENGINE):
        assert all(host.answers("/readyz") for host in pair.hosts)
        pair.face(other)
        welcomed = other.log.count("verify.heard")
        fence = pair.tenure().fence
        assert_a_drop_is_acted_on(pair, at=other)
        assert_all_is_well(pair)
        assert other.log.count("verify.heard") == welcomed + 1
        assert pair.tenure().fence == fence
        assert pair.holder() is not other, "it stands by"


@pytest.mark.parametrize("end", [Host.terminate, Host.kill], ids=["SIGTERM", "SIGKILL"])
def test_a_host_that_ends_is_succeeded_at_once(pair: Pair, end: Callable[[Host], object]) -> None:
    holder, other = pair.sides()
    with tallied("two hosts: the holder ends", end.__name__, ENGINE):
        pair.face(other)
        pair.drop_one()
        before = pair.tenure()
        end(holder)
        ground = pair.succeeded(before).ground
        assert ground is Ground.ENDED or end is Host.terminate  # which gives the lease back
        assert_a_drop_is_acted_on(pair, at=other)
        assert_all_is_well(pair)


def test_a_loop_that_is_frozen_is_succeeded_within_its_lease(pair: Pair) -> None:
    holder, other = pair.sides()
    with tallied("two hosts: the loop is frozen", "SIGSTOP", ENGINE):
        holder.freeze("worker")
        assert_the_lease_ran_out(pair, pair.tenure())
        assert_a_drop_is_acted_on(pair, at=holder)
        stood_by = holder.log.count("loop.standing_by")
        holder.thaw()
        pair.until(lambda: holder.log.count("loop.standing_by") > stood_by, "the frozen loop to stand by")
        assert_all_is_well(pair)
        assert pair.sides() == (other, holder)


def frozen_between_claim_and_create(pair: Pair) -> Host:
    """Freeze the acting host when it has claimed a create and not yet sent it; another succeeds it."""
    holder, other = pair.sides()
    pair.face(other)
    creates = pair.asked("create")
    with gate.shut(pair.database, gate.CLAIM) as waiting:
        pair.drop_one()
        pair.until(waiting, "the claim of a create")
        holder.freeze()
        before = pair.tenure()
    assert_the_lease_ran_out(pair, before)
    assert pair.asked("create") == creates
    return holder


def test_a_host_that_is_frozen_within_a_transaction_keeps_no_lock(pair: Pair) -> None:
    holder, other = pair.sides()
    with tallied("two hosts: frozen within a transaction", "SIGSTOP", ENGINE):
        pair.face(other)
        creates = pair.asked("create")
        with gate.shut(pair.database, gate.CLAIM, within=True) as waiting:
            pair.drop_one()
            pair.until(waiting, "the claim of a create")
            holder.freeze()
            before = pair.tenure()
        assert_the_lease_ran_out(pair, before)
        pair.until(pair.full, "a full pool")
        holder.thaw()
        assert_all_is_well(pair)
        assert pair.asked("create") == creates + 1


def still(pair: Hosts) -> dict[int, int]:
    """Count by port how often each host said that it sends nothing, as it stood still."""
    return {host.port: host.log.count("stood still") for host in pair.hosts}


def open_rows(pair: Hosts) -> list[Held]:
    return [story.row for story in pair.stories() if story.row.state is State.REQUESTED]


def test_a_host_that_was_frozen_after_its_claim_sends_nothing_when_it_wakes(pair: Pair) -> None:
    with tallied("two hosts: frozen between claim and create, soon awake", "SIGSTOP", ENGINE):
        creates, live = pair.asked("create"), pair.live()
        said = still(pair)
        holder = frozen_between_claim_and_create(pair)
        pair.until(lambda: any(row.doubted_at for row in open_rows(pair)), "a doubt of the other")
        holder.thaw()
        pair.until(lambda: still(pair)[holder.port] > said[holder.port], "a send that was not made")
        (made,) = pair.until(lambda: pair.live() - live, "the box that the other rents")
        assert_all_is_well(pair)
        assert pair.asked("create") == creates + 1
        assert made in pair.live()


def test_nor_does_one_that_wakes_after_its_slot_was_given_away(pair: Pair) -> None:
    with tallied("two hosts: frozen between claim and create, awake too late", "SIGSTOP", ENGINE):
        said = still(pair)
        holder = frozen_between_claim_and_create(pair)
        (late,) = [row.id for row in open_rows(pair)]
        pair.until(lambda: late not in {row.id for row in open_rows(pair)}, "the create to be given up")
        pair.until(pair.full, "a full pool")
        boxes = {box.id for box in pair.boxes()}
        holder.thaw()
        pair.until(lambda: still(pair)[holder.port] > said[holder.port], "a send that was not made")
        assert_all_is_well(pair)
        assert {box.id for box in pair.boxes()} == boxes


def test_an_answer_that_cannot_be_written_is_found_by_the_other(pair: Pair) -> None:
    holder, other = pair.sides()
    with tallied("two hosts: cut from the database, a create under way", "reset", ENGINE):
        creates, before = pair.asked("create"), pair.live()
        pair.face(other)
        pair.hold("create", "after")
        pair.drop_one()
        pair.until(pair.held, "a create under way")
        (made,) = pair.live() - before
        tenure = pair.tenure()
        pair.wire(holder).cut()
        pair.release(cut=False)
        assert pair.succeeded(tenure).ground is Ground.ENDED
        pair.until(lambda: len(pair.reasons(made)) > 1, "a row that knows the box")
        pair.until(pair.full, "a full pool")
        pair.wire(holder).mend()
        assert_all_is_well(pair)
        assert pair.asked("create") == creates + 1
        assert pair.reasons(made)[1] in {Reason.FOUND, Reason.CALLED}


def test_silence_on_the_wire_is_succeeded_within_the_lease(pair: Pair) -> None:
    holder, other = pair.sides()
    with tallied("two hosts: cut from the database", "silence", ENGINE):
        pair.face(other)
        stood_by = holder.log.count("loop.standing_by")
        pair.wire(holder).silence()
        assert_the_lease_ran_out(pair, pair.tenure())
        assert_a_drop_is_acted_on(pair, at=other)
        pair.wire(holder).mend()
        pair.until(lambda: holder.log.count("loop.standing_by") > stood_by, "the other to stand by")
        assert_all_is_well(pair)
        assert pair.until(lambda: holder.answers("/summary"), "an answer of the host that was cut off")


def test_sessions_that_are_ended_again_and_again_cost_nothing(pair: Pair) -> None:
    holder, _ = pair.sides()
    name, troubles = holder.directory.name, holder.log.count("database_trouble")
    ending = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name"
    with tallied("two hosts: sessions ended by the server", "pg_terminate_backend", ENGINE):
        engine = create_engine(pair.database, isolation_level="AUTOCOMMIT")
        try:
            dropped = pair.drop_one()
            with engine.connect() as connection:

                def end_them() -> bool:
                    connection.execute(text(ending), {"name": name})
                    return dropped not in pair.live()

                for _ in range(2):
                    pair.until(end_them, "the end of a box, whoever brings it about")
                    pair.until(pair.verified, "a worker")
                    dropped = pair.drop_one()
        finally:
            engine.dispose()
        assert_all_is_well(pair)
        assert holder.log.count("database_trouble") > troubles
