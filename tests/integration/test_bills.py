"""The bill: kept by the day, held against the estimate, and what nobody knows is told of."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from magister.domain.instance import Held
from magister.domain.observed import Charge
from magister.errors import Transient
from magister.planner.conditions import UnknownCharges
from magister.states import State
from magister.store import pool
from magister.store.accounting import invoice
from magister.store.accounting.invoice import Billed
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, a_row, an_offer
from tests.controller import Controller
from tests.integration.test_web_api import a_client

TODAY = datetime(2026, 11, 24, 12, tzinfo=UTC)
YESTERDAY = date(2026, 11, 23)
ORPHAN = Charge(666, "magister:0123", "gpu", 250_000)


def row_of(sessions: Sessions, at: datetime = datetime(2026, 11, 23, 22, tzinfo=UTC)) -> Held:
    with sessions.write() as session:
        return a_row(session, state=State.VERIFIED, offer=an_offer(disk_price=500_000), at=at)


def noted(sessions: Sessions, *charges: Charge, day: date = YESTERDAY) -> None:
    with sessions.write() as session:
        invoice.note(session, day, charges, tag="magister", at=TODAY)
        pool.note_bills(session, TODAY)


def reconciled(sessions: Sessions) -> invoice.Reconciliation:
    with sessions.read() as session:
        return invoice.reconcile(session, date(2026, 11, 1), date(2026, 11, 30), TODAY)


def test_the_estimate_of_a_day_is_held_against_its_bill(sessions: Sessions) -> None:
    row = row_of(sessions)
    contract = row.contract_id or 0
    lines = [
        Charge(contract, "magister:x", line, micros) for line, micros in (("gpu", 700_000), ("disk", 290_000))
    ]
    noted(sessions, *lines, Charge(contract, "magister:x", "bwd", 30_000))
    found = reconciled(sessions)
    assert (found.first, found.last) == (YESTERDAY, YESTERDAY)
    assert found.lines == (
        Billed(
            instance=row.id,
            contract_id=contract,
            label="magister:x",
            estimated=1_000_000,
            billed=990_000,
            estimated_traffic=0,
            billed_traffic=30_000,
        ),
    )
    assert (found.estimated, found.billed, found.billed_traffic) == (1_000_000, 990_000, 30_000)


def test_a_day_that_is_read_again_replaces_what_was_kept_of_it(sessions: Sessions) -> None:
    contract = row_of(sessions).contract_id or 0
    noted(sessions, Charge(contract, None, "gpu", 1))
    noted(sessions, Charge(contract, None, "gpu", 400_000), Charge(contract, None, "gpu", 5))
    assert reconciled(sessions).billed == 400_005


def test_an_instance_that_was_not_charged_is_shown(sessions: Sessions) -> None:
    row = row_of(sessions)
    noted(sessions, ORPHAN)
    assert {(line.instance, line.estimated, line.billed) for line in reconciled(sessions).lines} == {
        (row.id, 1_000_000, 0),
        (None, 0, 250_000),
    }


def test_charges_for_boxes_nobody_knows_are_counted(sessions: Sessions) -> None:
    noted(sessions, ORPHAN, Charge(666, "magister:0123", "bwd", 1), Charge(667, "magister", "disk", 7))
    assert reconciled(sessions).unknown == UnknownCharges(2, 250_008)
    with sessions.read() as session:
        assert invoice.unknown(session, TODAY) == UnknownCharges(2, 250_008)
        assert invoice.unknown(session, TODAY + timedelta(days=9)) == UnknownCharges()


def test_private_boxes_and_those_of_another_tag_are_nobodys_business(sessions: Sessions) -> None:
    noted(
        sessions, Charge(1, None, "gpu", 1), Charge(2, "mine", "gpu", 1), Charge(3, "magisterial:9", "gpu", 1)
    )
    assert reconciled(sessions).lines == ()


def test_a_box_is_known_by_its_key_as_well(sessions: Sessions) -> None:
    with sessions.write() as session:
        row = a_row(session, state=State.REQUESTED)
    noted(sessions, Charge(668, f"magister:{row.key}", "gpu", 9))
    assert reconciled(sessions).unknown == UnknownCharges()
    assert [line.instance for line in reconciled(sessions).lines] == [row.id]


def test_the_loop_reads_the_bill_and_warns_of_what_nobody_knows(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=0, bills_every=timedelta(days=1)))
    controller.vast.charged[YESTERDAY] = [ORPHAN]
    controller.step()
    controller.step(10)
    assert controller.vast.named("charges") == [YESTERDAY - timedelta(days=n) for n in (2, 1, 0)]
    with sessions.read() as session:
        (condition,) = [c for c in pool.read(session).conditions if c.kind == "unknown_charges"]
    assert "0.250 USD in the last days for 1 boxes" in condition.what


def test_a_bill_that_cannot_be_read_is_tried_again_after_an_hour(sessions: Sessions) -> None:
    controller = Controller(sessions, fleet=a_fleet(target=0, bills_every=timedelta(days=1)))
    controller.vast.before("charges", Transient("busy"))
    controller.run(3000, every=60)
    assert len(controller.vast.named("charges")) == 1
    controller.run(660, every=60)
    assert len(controller.vast.named("charges")) == 1 + 3
    with sessions.read() as session:
        assert pool.read(session).bills_read_at is not None


def test_the_bill_is_shown_over_http(sessions: Sessions) -> None:
    client = a_client(sessions)
    assert client.get("/bill").json == {
        "from": None, "to": None, "estimated_usd": 0.0, "billed_usd": 0.0, "estimated_traffic_usd": 0.0,
        "billed_traffic_usd": 0.0, "unknown": 0, "unknown_usd": 0.0, "instances": [],
    }  # fmt: skip
    noted(sessions, ORPHAN)
    answer = client.get("/bill")
    assert answer.json is not None
    assert (answer.json["unknown"], answer.json["unknown_usd"]) == (1, 0.25)
    assert client.get("/bill?format=csv").text.splitlines() == [
        "id,instance_id,label,estimated_usd,billed_usd,estimated_traffic_usd,billed_traffic_usd",
        ",666,magister:0123,0.000000,0.250000,0.000000,0.000000",
    ]


@pytest.mark.parametrize("query", ["by=day", "from=x"])
def test_a_wrong_question_about_the_bill_is_refused(sessions: Sessions, query: str) -> None:
    assert a_client(sessions).get(f"/bill?{query}").status_code == 400


def test_no_charge_is_held_against_each_row_that_never_had_a_contract(sqlite_sessions: Sessions) -> None:
    noted(sqlite_sessions, ORPHAN)
    asked: list[tuple[str, Any]] = []

    @event.listens_for(sqlite_sessions.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, given: Any, *_: object) -> None:
        asked.append((statement, given))

    reconciled(sqlite_sessions)
    with sqlite_sessions.read() as session:
        invoice.unknown(session, TODAY)
    joined = [(statement, given) for statement, given in asked if "substr" in statement]
    assert len(joined) == 2
    for statement, given in joined:
        with sqlite_sessions.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given).all()
        steps = [str(step[-1]) for step in plan]
        assert any("INDEX" in step and "key=?" in step for step in steps), steps
        assert not any(step.startswith("SCAN instances") for step in steps), steps
