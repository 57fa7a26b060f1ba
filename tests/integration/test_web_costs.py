"""What was spent, over HTTP: JSON and CSV, and what is wrong with a question."""

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from magister.domain.traffic import KB_PER_GB
from magister.states import State
from magister.store.db.engine import Sessions
from magister.store.db.models_accounting import DayTraffic
from tests.builders import NOW, a_row, an_offer
from tests.integration.test_web_api import a_client


@pytest.fixture
def client(sessions: Sessions) -> FlaskClient:
    with sessions.write() as session:
        for machine, hours in ((5, 1), (6, 13)):
            offer = an_offer(machine_id=machine, disk_price=300_001)
            row = a_row(session, state=State.VERIFIED, offer=offer, at=NOW - timedelta(hours=hours))
        fractions = 20_000 * KB_PER_GB
        session.add(DayTraffic(instance_id=row.id, day=NOW.date(), down_kb=9, up_kb=1, fractions=fractions))
    return a_client(sessions)


def test_the_cost_of_this_month_comes_by_day(client: FlaskClient) -> None:
    answer = client.get("/cost")
    assert answer.content_type == "application/json"
    assert answer.json == {
        "from": "2026-11-01",
        "to": "2026-11-24",
        "by": "day",
        "usd": 4.200014,
        "traffic_usd": 0.02,
        "costs": [
            {"day": "2026-11-23", "usd": 0.300001, "traffic_usd": 0.0},
            {"day": "2026-11-24", "usd": 3.900013, "traffic_usd": 0.02},
        ],
    }


@pytest.mark.parametrize(
    ("query", "accept"), [("&format=csv", "application/json"), ("", "text/csv"), ("", "text/csv, */*;q=0.1")]
)
def test_the_cost_comes_as_csv_to_whoever_asks_for_it(client: FlaskClient, query: str, accept: str) -> None:
    answer = client.get(f"/cost?by=machine{query}", headers={"Accept": accept})
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert answer.text.splitlines() == [
        "machine,usd,traffic_usd",
        "6,3.900013,0.020000",
        "5,0.300001,0.000000",
    ]


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/csv", "text/html"])
def test_json_is_what_everybody_else_gets(client: FlaskClient, accept: str) -> None:
    assert client.get("/cost", headers={"Accept": accept}).content_type == "application/json"


def test_days_can_be_chosen(client: FlaskClient) -> None:
    answer = client.get("/cost?from=2026-11-23&to=2026-11-23&by=state")
    assert answer.json is not None
    assert answer.json["costs"] == [{"state": "verified", "usd": 0.300001, "traffic_usd": 0.0}]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("by=colour", "by must be one of day, machine, host, gpu, reason, state"),
        ("from=yesterday", "from must be a day in UTC such as 2026-11-24"),
        ("to=2026-02-30", "to must be a day in UTC such as 2026-11-24"),
        ("from=2026-11-24&to=2026-11-23", "from = 2026-11-24 is after to = 2026-11-23"),
        ("format=xml", "format must be csv or json"),
        ("by=day&by=host", "by is given more than once"),
        ("form=csv", "there is no parameter 'form'; there are from, to, by, format"),
    ],
)
def test_a_wrong_question_is_told_what_would_be_right(client: FlaskClient, query: str, words: str) -> None:
    answer = client.get(f"/cost?{query}")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert answer.json is not None
    assert answer.json["detail"] == words


def test_the_index_names_it(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.json is not None
    assert "GET /cost" in answer.json["endpoints"]
