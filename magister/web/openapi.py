"""What can be asked of the API, in OpenAPI's terms: written by hand, and proved by a tool that reads it."""

from collections.abc import Iterable

from magister.domain.observed import LARGEST_ID
from magister.store.accounting.spending import By
from magister.web.openapi_schemas import TEXT, ref, schemas
from magister.web.problems import MEDIA_TYPE
from magister.web.serializers import Json
from magister.web.server.request_buffer import REASON_LIMIT

PROBLEMS = {
    400: "The id or the query is not what it must be, or the request cannot be read.",
    403: "The key is missing or wrong, or a browser asks.",
    404: "There is no such instance here, or none was ever rented on that offer.",
    410: "The instance is on its way out or gone.",
    503: "The database is busy or does not answer; ask again after Retry-After.",
}
OF_AN_OFFER = (400, 403, 404, 503)

OFFER_ID: Json = {
    "name": "offer_id",
    "in": "path",
    "required": True,
    "description": "The id of the offer at Vast that the box was rented on; leading zeros count for nothing.",
    "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": LARGEST_ID},
}
ROW_ID: Json = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id of the instance's row, as `magister status` and the log name it.",
    "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": LARGEST_ID},
}
KEY: Json = {
    "name": "key",
    "in": "query",
    "description": "What the worker's address carries; needed if that carries one.",
    "schema": {"type": "string"},
}
BEAT: Json = {
    "name": "beat",
    "in": "query",
    "description": "The call is one of many by which the worker shows that it lives. The value is ignored.",
    "schema": {"type": "string"},
}
PENDING: Json = {
    "name": "pending",
    "in": "query",
    "description": "1 = show the instances without a contract too; their instance_id is null.",
    "schema": {"type": "string"},
}
DAYS: list[Json] = [
    {
        "name": name,
        "in": "query",
        "description": f"The {which} UTC day, such as 2026-11-24; {default} if it is left out.",
        "schema": {"type": "string", "format": "date"},
    }
    for name, which, default in (("from", "first", "the 1st of the month of `to`"), ("to", "last", "today"))
]
FORMAT: Json = {
    "name": "format",
    "in": "query",
    "description": "Wins over the Accept header.",
    "schema": {"type": "string", "enum": ["json", "csv"]},
}


def document(version: str) -> Json:
    """Return the description of the API."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Magister",
            "version": version,
            "description": "Keeps a constant number of Vast.ai GPU boxes alive."
            " HEAD is answered wherever GET is, and changes nothing.",
            "license": {"name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only"},
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {
            "/": {"get": _index()},
            "/summary": {"get": _shown("summary", "Show what is kept and what it costs.", "Summary", (503,))},
            "/instances": {"get": _instances()},
            "/instances/{id}/story": {"get": _story(), "parameters": [ROW_ID]},
            "/verify/{offer_id}": {"get": _verify(), "parameters": [OFFER_ID, KEY]},
            "/verify/{offer_id}/started": {"get": _announce(), "parameters": [OFFER_ID, KEY]},
            "/drop/{offer_id}": {"delete": _drop(), "parameters": [OFFER_ID, KEY]},
            "/cost": {"get": _cost()},
            "/bill": {"get": _bill()},
            "/healthz": {"get": _shown("healthz", "Say whether this process answers.", "Health", ())},
            "/readyz": {"get": _readyz()},
            "/openapi.json": {"get": _openapi()},
        },
        "components": {
            "schemas": schemas(),
            "responses": {_name(status): _refused(status) for status in PROBLEMS},
        },
    }


def _index() -> Json:
    return _paged(_shown("index", "Name the endpoints, or show the pool as a page.", "Index", (503,)))


def _instances() -> Json:
    asked = _shown(
        "instances", "Show every instance with a contract that is not proved gone.", "Instances", (503,)
    )
    return asked | {"parameters": [PENDING]}


def _story() -> Json:
    return _paged(_shown("story", "Tell one instance's life in sentences.", "Story", (400, 404, 503)))


def _verify() -> Json:
    asked = _shown(
        "verify", "Hear a worker that says it runs; again is harmless.", "Answer", (*OF_AN_OFFER, 410)
    )
    return asked | {"parameters": [BEAT]}


def _announce() -> Json:
    said = "Hear that the heartbeats of an instance begin; this verifies nothing."
    return _shown("announce", said, "Answer", (*OF_AN_OFFER, 410))


def _drop() -> Json:
    asked = _shown("drop", "Let the instance of an offer go; again is harmless.", "Answer", OF_AN_OFFER)
    reason = {
        "type": "string",
        "description": f"Why, in any words; the first {REASON_LIMIT} bytes are read, as well as can be.",
    }
    return asked | {"requestBody": {"content": {"text/plain": {"schema": reason}}}}


def _cost() -> Json:
    asked = _shown("cost", "Show what was spent, estimated, to this moment.", "Cost", (400, 503), csv=True)
    by: Json = {
        "name": "by",
        "in": "query",
        "description": "What the sums are told apart by; day if it is left out.",
        "schema": {"type": "string", "enum": [str(by) for by in By]},
    }
    return asked | {"parameters": [*DAYS, by, FORMAT]}


def _bill() -> Json:
    asked = _shown("bill", "Hold the estimate against what Vast charged.", "Bill", (400, 503), csv=True)
    return asked | {"parameters": [*DAYS, FORMAT]}


def _readyz() -> Json:
    asked = _shown(
        "readyz", "Say whether the pool is being kept, and what is wrong with it.", "Readiness", ()
    )
    not_ready = {"description": "It is not.", "content": _json("Readiness")}
    return asked | {
        "responses": {"200": {"description": "It is.", "content": _json("Readiness")}, "503": not_ready}
    }


def _openapi() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "openapi",
        "summary": "Describe this API.",
        "responses": {"200": {"description": "This document.", "content": content}},
    }


def _shown(name: str, summary: str, schema: str, problems: Iterable[int], *, csv: bool = False) -> Json:
    """Describe an operation that answers 200 with a schema, or else with one of the problems.

    `csv` = it answers with CSV as well, to whoever asks for it by Accept or format.
    """
    content = _json(schema) | ({"text/csv": {"schema": TEXT}} if csv else {})
    answers: Json = {"200": {"description": "As asked.", "content": content}}
    refused: Json = {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in problems}
    return {"operationId": name, "summary": summary, "responses": answers | refused}


def _paged(operation: Json) -> Json:
    """Describe that an operation answers with a page as well, to whoever prefers HTML by Accept."""
    as_asked = operation["responses"]["200"]  # type: ignore[index] # it is JSON
    as_asked["content"]["text/html"] = {"schema": TEXT}
    return operation


def _refused(status: int) -> Json:
    said: Json = {"description": PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": ref("Problem")}}}
    if status == 503:
        said["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return said


def _name(status: int) -> str:
    return f"Problem{status}"


def _json(schema: str) -> Json:
    return {"application/json": {"schema": ref(schema)}}
