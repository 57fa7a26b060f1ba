"""What the API is, in OpenAPI's terms: written by hand, and proved by a tool that takes it at its word."""

from collections.abc import Iterable, Mapping

from magister.arrival import BODY_LIMIT
from magister.settings_types import LARGEST_ID
from magister.spending import By
from magister.states import LIVE, Reason, State
from magister.web.problems import MEDIA_TYPE
from magister.web.shapes import Json

PROBLEMS = {
    400: "The id or the query is not what it must be, or the request cannot be read.",
    403: "The key is missing or wrong.",
    404: "There is no such instance here, or none was ever rented on that offer.",
    410: "The instance is on its way out or gone.",
    413: f"The body has more than {BODY_LIMIT} bytes.",
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
    "description": "What the worker's address carries; needed if the box was rented with an api_token.",
    "schema": {"type": "string"},
}
BEAT: Json = {
    "name": "beat",
    "in": "query",
    "description": "Whatever it says: the call is one of many by which the worker shows that it lives.",
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
            "/": {"get": _shown("index", "Name the endpoints.", "Index", ())},
            "/summary": {"get": _shown("summary", "Show what is kept and what it costs.", "Summary", (503,))},
            "/instances": {
                "get": _shown(
                    "instances", "Show every instance that is not proved gone.", "Instances", (503,)
                )
            },
            "/instances/{id}/story": {"get": _story(), "parameters": [ROW_ID]},
            "/verify/{offer_id}": {"get": _verify(), "parameters": [OFFER_ID, KEY]},
            "/drop/{offer_id}": {"delete": _drop(), "parameters": [OFFER_ID, KEY]},
            "/cost": {"get": _cost()},
            "/bill": {"get": _bill()},
            "/healthz": {"get": _shown("healthz", "Say whether this process answers.", "Health", ())},
            "/readyz": {"get": _readyz()},
            "/openapi.json": {"get": _openapi()},
        },
        "components": {
            "schemas": _schemas(),
            "responses": {_name(status): _refused(status) for status in PROBLEMS},
        },
    }


def _story() -> Json:
    return _shown("story", "Tell one instance's life in sentences.", "Story", (400, 404, 503))


def _verify() -> Json:
    asked = _shown(
        "verify", "Hear a worker that says it runs; again is harmless.", "Answer", (*OF_AN_OFFER, 410)
    )
    return asked | {"parameters": [BEAT]}


def _drop() -> Json:
    asked = _shown(
        "drop", "Let the instance of an offer go; again is harmless.", "Answer", (*OF_AN_OFFER, 413)
    )
    reason = {
        "type": "string",
        "description": "Why, in any words; what is no UTF-8 is read as well as can be.",
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


def _refused(status: int) -> Json:
    said: Json = {"description": PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
    if status == 503:
        said["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return said


def _name(status: int) -> str:
    return f"Problem{status}"


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _ref(schema)}}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0}
ID: Json = {"type": "integer", "format": "int64", "minimum": 0}
AMOUNT: Json = {"type": "number", "minimum": 0}
SECONDS: Json = {"type": ["number", "null"], "description": "None = not known."}
MOMENT: Json = {"type": "string", "format": "date-time"}
DAY: Json = {"type": "string", "format": "date"}
MONEY: Json = {"type": "number", "description": "US dollars."}


def _schemas() -> Json:
    state: Json = {"type": "string", "enum": [str(state) for state in State if state in LIVE]}
    return {
        "Cost": _object(
            {
                "from": DAY,
                "to": DAY,
                "by": TEXT,
                "usd": MONEY | {"description": "US dollars for GPUs and disk."},
                "traffic_usd": MONEY
                | {"description": "US dollars beside them, as far as listings count it."},
                "costs": {"type": "array"},
            },
            "What was spent from a UTC day to another, each cost with its key, `usd` and `traffic_usd`.",
        ),
        "Bill": _object(
            {
                "from": _or_null(DAY),
                "to": _or_null(DAY),
                "estimated_usd": MONEY,
                "billed_usd": MONEY,
                "estimated_traffic_usd": MONEY,
                "billed_traffic_usd": MONEY,
                "unknown": WHOLE,
                "unknown_usd": MONEY,
                "instances": {"type": "array"},
            },
            "The UTC days whose charges were read, null = none; traffic is told apart from GPUs and disk.",
        ),
        "Problem": _object(
            {"type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT, "instance": TEXT},
            "An error (RFC 9457).",
        ),
        "Index": _object(
            {"name": TEXT, "version": TEXT, "endpoints": {"type": "object", "additionalProperties": TEXT}},
            "The endpoints by name.",
        ),
        "Health": _object({"alive": {"const": True}}, "A sign of life."),
        "Answer": _object(
            {"offer_id": ID, "instance_id": _or_null(ID), "state": {"enum": [str(state) for state in State]}},
            "What the instance is now; instance_id is null until its contract is known.",
        ),
        "Brief": _object(_brief(), "An instance in short; null = not known."),
        "Summary": _object(
            _summary(state), "What is kept, and what it costs; pending ones have no contract yet."
        ),
        "Instance": _object(_brief() | _instance(state), "An instance; null = not known, or not yet."),
        "Instances": {"type": "array", "items": _ref("Instance")},
        "Story": _object(_told(), "An instance's life: why chosen, what it did, cost and why it went."),
        "Sentence": _object(
            {"about": TEXT, "at": _or_null(MOMENT), "said": TEXT}, "A sentence, and when it happened."
        ),
        "Condition": _object({"what": TEXT, "cure": TEXT}, "What is wrong, and what would cure it."),
        "Readiness": _object(_readiness(), "Whether the pool is being kept, and why not."),
    }


def _summary(state: Mapping[str, object]) -> Json:
    return {
        "total_cost_per_hour": AMOUNT | {"description": "US dollars."},
        "num_instances": WHOLE,
        "instance_overview": {"type": "array", "items": _ref("Brief")},
        "pending": WHOLE,
        "target": WHOLE,
        "states": {"type": "object", "propertyNames": state, "additionalProperties": WHOLE},
    }


def _brief() -> Json:
    return {
        "instance_id": _or_null(ID),
        "offer_id": ID,
        "gpu": _or_null(TEXT),
        "location": _or_null(TEXT),
        "machine_id": _or_null(ID),
        "host_id": _or_null(ID),
        "cost_per_hour": _or_null(AMOUNT) | {"description": "US dollars, GPUs and disk."},
    }


def _instance(state: Json) -> Json:
    texts = ("why", "actual_status", "intended_status", "cur_state", "status_msg", "trouble")
    unsure = (
        "created_at",
        "verify_by",
        "verified_at",
        "dropped_at",
        "first_seen_at",
        "last_seen_at",
        "end_date",
    )
    return {
        "id": ID | {"description": "Of its row, as /instances/{id}/story takes it."},
        "offer": {"type": "object", "description": "All that Vast said of the offer."},
        "num_gpus": _or_null(WHOLE),
        "should_drop": {"type": "boolean"},
        "state": state,
        "reason": {"type": "string", "enum": [str(reason) for reason in Reason]},
        **{name: _or_null(TEXT) for name in texts},
        "requested_at": MOMENT,
        "moved_at": MOMENT,
        **{name: _or_null(MOMENT) for name in unsure},
    }


def _told() -> Json:
    return {
        "id": ID,
        "instance_id": _or_null(ID),
        "offer_id": ID,
        "machine_id": _or_null(ID),
        "host_id": _or_null(ID),
        "state": {"enum": [str(state) for state in State]},
        "cost": AMOUNT | {"description": "US dollars until now, without traffic."},
        "traffic_cost": AMOUNT | {"description": "US dollars until now, as far as listings count it."},
        "failure": _or_null(TEXT) | {"description": "In which way it failed; null = it did not."},
        "story": {"type": "array", "items": _ref("Sentence")},
        "log": {"type": "array", "items": TEXT, "description": "The last lines of its logs, if it failed."},
    }


def _readiness() -> Json:
    return {
        "ready": {"type": "boolean"},
        "why": {"type": "array", "items": TEXT},
        "conditions": {"type": "array", "items": _ref("Condition")},
        "target": _or_null(WHOLE),
        "heartbeat_age_secs": SECONDS,
        "listing_age_secs": SECONDS,
    }


def _object(properties: Json, description: str) -> Json:
    """Describe an object that has all these properties, and may get more."""
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": properties,
    }


def _or_null(schema: Json) -> Json:
    return schema | {"type": [schema["type"], "null"]}
