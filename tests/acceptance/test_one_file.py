"""Two loops share one SQLite file: one acts, the other takes over by the lock that the kernel frees."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from magister.states import Reason
from magister.store.db.lease import Ground
from tests.acceptance.host import Host
from tests.acceptance.hosts import Hosts
from tests.acceptance.laws import assert_no_row_was_sent_twice, assert_nothing_is_lost, tallied
from tests.acceptance.world import STEADY, a_market

pytestmark = pytest.mark.acceptance

TARGET = 3
LEASE = {"LEASE_LEASE_SECS": "8", "LEASE_RENEW_SECS": "0.5"}  # a machine may stand still for five
APART = [("web",), ("worker",), ("worker",)]
TOGETHER = [("serve",), ("serve",)]
ENGINE = "sqlite"


@pytest.fixture(scope="module", params=[APART, TOGETHER], ids=["a web and two workers", "two services"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Start all processes at the same instant; two services find no database at all."""
    with (
        a_market() as simulator,
        Hosts(tmp_path_factory.mktemp("hosts"), simulator, TARGET, settings=STEADY | LEASE) as hosts,
    ):
        for number, command in enumerate(request.param):
            hosts.add(f"{command[0]}{number}", *command)
        if request.param is APART:
            hosts.hosts[0].run("migrate")
        with tallied(f"one file: {request.param[-1][0]} twice, started at once", "none", ENGINE):
            hosts.restore()
            assert hosts.tenure().fence == 1
            assert hosts.asked("create") == TARGET
        yield hosts


@pytest.fixture
def hosts(shared: Hosts) -> Hosts:
    """Give a pool at rest, which the tests share."""
    shared.restore()
    shared.until(shared.listed, "a listing that shows all of it")
    return shared


def assert_all_is_well(hosts: Hosts) -> None:
    hosts.until(hosts.settled, "a pool at rest")
    assert_no_row_was_sent_twice(hosts)
    assert_nothing_is_lost(hosts)


def freeze_between_two_writes(hosts: Hosts, host: Host) -> None:
    """Freeze the loop of a host, but not while it writes: nobody else could write as long as that."""
    engine = create_engine(hosts.database, connect_args={"timeout": 0.2})

    def frozen_without_a_lock() -> bool:
        host.freeze("worker")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.exec_driver_sql("ROLLBACK")
        except OperationalError:
            host.thaw()
            return False
        return True

    try:
        hosts.until(frozen_without_a_lock, "a moment without a write")
    finally:
        engine.dispose()


def test_a_loop_that_is_killed_is_succeeded_at_once(hosts: Hosts) -> None:
    holder, other = hosts.sides()
    with tallied("one file: the holder ends", "SIGKILL", ENGINE):
        hosts.face(*(host for host in hosts.hosts if host is not holder))
        before = hosts.tenure()
        holder.kill()
        hosts.happen("coordinator_drop")
        assert hosts.succeeded(before).ground is Ground.ENDED
        assert_all_is_well(hosts)
        assert hosts.holder() is other


def test_what_a_frozen_loop_had_sent_is_found_by_its_key(hosts: Hosts) -> None:
    holder, other = hosts.sides()
    with tallied("one file: frozen with a create under way", "SIGSTOP", ENGINE):
        creates, live = hosts.asked("create"), hosts.live()
        hosts.hold("create", "before")
        hosts.happen("coordinator_drop")
        hosts.until(hosts.held, "a create under way")
        freeze_between_two_writes(hosts, holder)
        succession = hosts.succeeded(hosts.tenure())
        assert succession.ground is Ground.EXPIRED
        assert succession.late.total_seconds() >= 0
        hosts.until(lambda: hosts.live() < live, "the end of what was dropped")
        hosts.release(cut=False)
        (made,) = hosts.until(lambda: hosts.live() - live, "a box that was made late")
        hosts.until(hosts.full, "a full pool")
        stood_by = holder.log.count("loop.standing_by")
        holder.thaw()
        hosts.until(lambda: holder.log.count("loop.standing_by") > stood_by, "the frozen loop to stand by")
        assert_all_is_well(hosts)
        assert hosts.asked("create") == creates + 1
        assert hosts.reasons(made)[1] in {Reason.FOUND, Reason.CALLED}
        assert hosts.holder() is other
