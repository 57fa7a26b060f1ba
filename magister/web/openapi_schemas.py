"""What the answers of the API hold, in OpenAPI's terms: the objects that its paths name."""

from collections.abc import Mapping

from magister.states import LIVE, Reason, State
from magister.web.serializers import Json

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0}
ID: Json = {"type": "integer", "format": "int64", "minimum": 0}
AMOUNT: Json = {"type": "number", "minimum": 0}
SECONDS: Json = {"type": ["number", "null"], "description": "None = not known."}
MOMENT: Json = {"type": "string", "format": "date-time"}
DAY: Json = {"type": "string", "format": "date"}
MONEY: Json = {"type": "number", "description": "US dollars."}


def ref(schema: str) -> Json:
    """Point to the description of an object."""
    return {"$ref": f"#/components/schemas/{schema}"}


def schemas() -> Json:
    """Return the description of every object, by its name."""
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
        "Instances": {"type": "array", "items": ref("Instance")},
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
        "instance_overview": {"type": "array", "items": ref("Brief")},
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
        "announced_at",
        "beaten_at",
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
        "story": {"type": "array", "items": ref("Sentence")},
        "log": {"type": "array", "items": TEXT, "description": "The last lines of its logs, if it failed."},
    }


def _readiness() -> Json:
    return {
        "ready": {"type": "boolean"},
        "why": {"type": "array", "items": TEXT},
        "conditions": {"type": "array", "items": ref("Condition")},
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
