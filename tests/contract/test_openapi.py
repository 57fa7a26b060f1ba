"""The API is what its description says: a tool takes it at its word and tries to prove it wrong."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import schemathesis
from flask import Flask
from hypothesis import given, settings
from schemathesis import APIOperation, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import text, update

from magister import __version__
from magister.states import State
from magister.store import pool
from magister.store.db.engine import Sessions
from magister.store.db.models import Pool
from magister.web import create_app
from magister.web.api import ENDPOINTS
from magister.web.openapi import document
from magister.web.server.request_buffer import BODY_LIMIT
from tests.builders import NOW, a_row, ago, an_offer, some_settings
from tests.fakes import FakeClock

Check: TypeAlias = Callable[[CheckContext, Response, schemathesis.Case[Any]], bool | None]
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]

EXAMPLES = 60
KEY = "0f" * 24
OF_DAYS = ("/cost", "/bill")
WRONG_WAY_ROUND: list[Check] = [positive_data_acceptance]
"""Two days that are right each for itself may be in the wrong order, which a schema cannot say."""

SIGNED = 90
"""The offer of the one instance that answers only to its key."""


@pytest.fixture
def app(sqlite_sessions: Sessions) -> Flask:
    """Make an application with an instance in each state, on the offers 0, 1, 2 …, and a signed one."""
    with sqlite_sessions.write() as session:
        pool.beat(session, ago(seconds=1), target=3, conditions=())
        pool.note_listed(session, ago(minutes=1))
        for offer_id, state in enumerate(State):
            a_row(session, state=state, offer=an_offer(id=offer_id), at=ago(minutes=1))
        a_row(session, state=State.CREATED, offer=an_offer(id=SIGNED), callback_key=KEY, at=ago(minutes=1))
    of_the_operator = some_settings()
    clock = FakeClock(now=NOW)

    def no_nap(seconds: float) -> None:
        pytest.fail(f"nothing here has to wait {seconds} s")

    return create_app(
        of_the_operator, sqlite_sessions, clock=clock.wall, nap=no_nap, monotonic=clock.monotonic
    )


def described() -> dict[str, dict[str, dict[str, object]]]:
    """Return the operations of each path."""
    paths = document(__version__)["paths"]
    assert isinstance(paths, dict)
    return {
        path: {name: operation for name, operation in operations.items() if name != "parameters"}
        for path, operations in paths.items()
    }


OPERATIONS = [(path, method) for path, operations in described().items() for method in operations]
WITH_PARAMETERS = [(path, method) for path, method in OPERATIONS if "{" in path]


def operation(app: Flask, path: str, method: str) -> Operation:
    found = schemathesis.openapi.from_wsgi("/openapi.json", app)[path][method.upper()]
    assert isinstance(found, APIOperation)
    return found


def holds(asked: Operation, mode: GenerationMode) -> None:
    """Ask in many ways, and prove each answer to be one that is described; never a 500."""

    @settings(max_examples=EXAMPLES, derandomize=True)
    @given(case=asked.as_strategy(mode))
    def as_described(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(excluded_checks=WRONG_WAY_ROUND if asked.path in OF_DAYS else None)

    as_described()


def test_the_description_is_valid_openapi(app: Flask) -> None:
    schemathesis.openapi.from_wsgi("/openapi.json", app).validate()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_asked_rightly_is_answered_as_described(app: Flask, path: str, method: str) -> None:
    holds(operation(app, path, method), GenerationMode.POSITIVE)


@pytest.mark.parametrize(("path", "method"), WITH_PARAMETERS)
def test_what_is_asked_wrongly_is_refused_as_described(app: Flask, path: str, method: str) -> None:
    holds(operation(app, path, method), GenerationMode.NEGATIVE)


@pytest.mark.parametrize(
    ("path", "method", "status", "offers"),
    [
        ("/verify/{offer_id}", "get", 200, [0, 1, 2]),
        ("/verify/{offer_id}", "get", 410, [3, 4]),
        ("/verify/{offer_id}", "get", 404, [77]),
        ("/verify/{offer_id}", "get", 403, [SIGNED]),
        ("/drop/{offer_id}", "delete", 200, [0, 1, 2, 3, 4]),
        ("/drop/{offer_id}", "delete", 404, [77]),
        ("/drop/{offer_id}", "delete", 403, [SIGNED]),
    ],
)
def test_each_answer_about_an_instance_is_as_described(
    app: Flask, path: str, method: str, status: int, offers: list[int]
) -> None:
    for offer_id in offers:
        case = operation(app, path, method).Case(path_parameters={"offer_id": offer_id})
        assert case.call_and_validate().status_code == status


def test_a_story_is_told_of_every_instance_as_described(app: Flask) -> None:
    for number, status in ((1, 200), (len(State) + 1, 200), (77, 404)):
        case = operation(app, "/instances/{id}/story", "get").Case(path_parameters={"id": number})
        assert case.call_and_validate().status_code == status


def test_a_reason_of_any_length_is_taken_as_described(app: Flask) -> None:
    long = operation(app, "/drop/{offer_id}", "delete").Case(
        path_parameters={"offer_id": 1}, body="x" * (BODY_LIMIT + 1), media_type="text/plain"
    )
    assert long.call_and_validate().status_code == 200


def test_trouble_is_told_as_described(app: Flask, sqlite_sessions: Sessions) -> None:
    asked = [operation(app, path, "get").Case() for path in ("/readyz", "/summary", "/instances")]
    with sqlite_sessions.write() as session:
        session.execute(update(Pool).values(listed_at=None))
        session.execute(text("ALTER TABLE transitions RENAME TO elsewhere"))
    for case in asked:
        answer = case.call_and_validate(excluded_checks=[not_a_server_error])
        assert answer.status_code == 503


def described_path(rule: str) -> str:
    """Return a route as the description writes it: an offer is named but in the path of instances."""
    return rule.replace("/instances/<which>", "/instances/{id}").replace("<which>", "{offer_id}")


def test_exactly_the_routes_there_are_are_described(app: Flask) -> None:
    routes = {
        (described_path(rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(OPERATIONS)


def test_the_index_names_what_is_described() -> None:
    named = {
        (path.replace("<offer id>", "{offer_id}").replace("<row id>", "{id}"), method.lower())
        for method, _, path in (name.partition(" ") for name in ENDPOINTS)
    }
    assert named == set(OPERATIONS) - {("/", "get")}


@pytest.mark.parametrize("path", [path for path, method in OPERATIONS if method == "get"])
def test_head_is_get_without_the_body_and_changes_nothing(
    app: Flask, sqlite_sessions: Sessions, path: str
) -> None:
    client = app.test_client()
    at = path.format(offer_id=1, id=1)
    head, states = client.head(at), client.get("/summary").json
    assert (head.status_code, head.data, head.content_type) == (200, b"", "application/json")
    assert client.get("/summary").json == states
    assert states is not None
    assert states["states"]["created"] == 2
    assert client.get(at).status_code == 200


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_options_names_the_methods(app: Flask, path: str, method: str) -> None:
    answer = app.test_client().options(path.format(offer_id=1, id=1))
    assert answer.status_code == 200
    assert method.upper() in answer.headers["Allow"].split(", ")
