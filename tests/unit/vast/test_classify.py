"""What Vast answers, named by what can be done about it: tables of its documented and observed answers."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from magister.errors import (
    Ambiguous,
    BadKey,
    NoCredit,
    OfferGone,
    RateLimited,
    Refused,
    StartedStopped,
    Transient,
    VastError,
)
from magister.vast import classify
from magister.vast.response import Answer, read

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def said(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(status, headers or {}, raw, at=NOW)


def refusal(error: str, msg: str = "") -> dict[str, object]:
    return {"success": False, "error": error, "msg": msg}


GONE_404 = refusal("invalid_args", "error 404/3603: no_such_ask Instance type by id 5 is not available.")
GONE_410 = refusal("no_such_ask", "error 410/3907: no_such_ask Instance type 5 is no longer available.")
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>it is not available</body></html>"

CREATES = [
    pytest.param(said(200, {"success": True, "new_contract": "x"}), Ambiguous, id="an unreadable contract"),
    pytest.param(said(200, {"success": True, "new_contract": True}), Ambiguous, id="a bool for a contract"),
    pytest.param(said(200, {"success": False, "new_contract": True}), Ambiguous, id="a bool and a failure"),
    pytest.param(said(200, {"success": True}), Ambiguous, id="success without a contract"),
    pytest.param(
        said(200, {"success": True, "error": "no_such_ask"}), Ambiguous, id="success and an error word"
    ),
    pytest.param(said(200, {"success": False}), Ambiguous, id="failure without a word"),
    pytest.param(said(200, {}), Ambiguous, id="an empty object"),
    pytest.param(said(200, b""), Ambiguous, id="an empty 200"),
    pytest.param(said(200, b"OK"), Ambiguous, id="plain text under 200"),
    pytest.param(said(200, HTML), Ambiguous, id="HTML under 200"),
    pytest.param(said(200, [1]), Ambiguous, id="a list under 200"),
    pytest.param(said(200, b'{"success": true, "new_con'), Ambiguous, id="a body cut short"),
    pytest.param(said(200, None), Ambiguous, id="null"),
    pytest.param(said(400, b""), Ambiguous, id="400 with an empty body"),
    pytest.param(said(400, HTML), Ambiguous, id="400 from somebody in between"),
    pytest.param(said(400, {}), Ambiguous, id="400 without words"),
    pytest.param(said(404, {"detail": "Not Found"}), Ambiguous, id="404 of another kind of server"),
    pytest.param(said(403, HTML), Ambiguous, id="403 page that speaks of not available"),
    pytest.param(said(408, refusal("timeout")), Ambiguous, id="408"),
    pytest.param(said(409, refusal("conflict")), Ambiguous, id="409"),
    pytest.param(said(425, refusal("too_early")), Ambiguous, id="425"),
    pytest.param(said(308, b""), Ambiguous, id="a redirect"),
    pytest.param(said(500, refusal("no_such_ask")), Ambiguous, id="500 whatever it says"),
    pytest.param(said(502, HTML), Ambiguous, id="502 page"),
    pytest.param(said(503, b""), Ambiguous, id="503"),
    pytest.param(
        said(200, refusal("server_error", "Something went wrong")), Ambiguous, id="server error as 200"
    ),
    pytest.param(
        said(400, refusal("server_error", "Something went wrong")), Ambiguous, id="server error as 400"
    ),
    pytest.param(said(400, {"success": True, "new_contract": 5}), Ambiguous, id="a contract under 400"),
    pytest.param(said(404, GONE_404), OfferGone, id="no_such_ask 404"),
    pytest.param(
        said(404, refusal("no_such_ask", "No ask by id 5 is available.")), OfferGone, id="backend 404"
    ),
    pytest.param(said(410, GONE_410), OfferGone, id="no_such_ask 410"),
    pytest.param(said(400, refusal("no_such_ask")), OfferGone, id="no_such_ask 400"),
    pytest.param(said(400, refusal("invalid_args", "is no longer available")), OfferGone, id="in words, 400"),
    pytest.param(said(200, refusal("no_such_ask")), OfferGone, id="no_such_ask 200"),
    pytest.param(
        said(404, b"error 404/3603: no_such_ask Instance type by id 5 is not available."),
        OfferGone,
        id="no_such_ask as plain text",
    ),
    pytest.param(said(200, refusal("insufficient_credit")), NoCredit, id="insufficient_credit 200"),
    pytest.param(said(200, {"error": "insufficient_credit"}), NoCredit, id="without success"),
    pytest.param(said(400, refusal("insufficient_credit", "You lack credit.")), NoCredit, id="no credit 400"),
    pytest.param(
        said(400, refusal("invalid_args", "You lack credit")), NoCredit, id="lack of credit in words"
    ),
    pytest.param(said(400, refusal("missing_billing")), NoCredit, id="missing_billing"),
    pytest.param(said(400, refusal("spend_rate_limit", "capped")), NoCredit, id="spend_rate_limit"),
    pytest.param(said(402, refusal("payment_required")), NoCredit, id="402"),
    pytest.param(said(404, refusal("auth_error", "Invalid user key")), BadKey, id="bad key as 404"),
    pytest.param(said(403, refusal("auth_error", "This action requires login.")), BadKey, id="no key"),
    pytest.param(said(404, refusal("auth_error", "Session expired.")), BadKey, id="an expired session"),
    pytest.param(said(401, b""), BadKey, id="401 without a body"),
    pytest.param(said(401, {"msg": "Invalid user key"}), BadKey, id="401 of a deleted key"),
    pytest.param(said(404, {"success": False, "msg": "Invalid user key"}), BadKey, id="bad key by its words"),
    pytest.param(said(429, b"API requests too frequent"), RateLimited, id="429 plain"),
    pytest.param(said(429, b""), RateLimited, id="429 empty"),
    pytest.param(said(429, {"detail": "API requests too frequent"}), RateLimited, id="429 detail"),
    pytest.param(said(429, refusal("rate_limit_exceeded")), RateLimited, id="429 enveloped"),
    pytest.param(said(400, refusal("rate_limit_exceeded")), RateLimited, id="the word of 429 under 400"),
    pytest.param(said(400, refusal("invalid_args", "error 400/3467: Invalid args")), Refused, id="bad args"),
    pytest.param(said(400, refusal("invalid_price", "stale quote")), Refused, id="a stale quote"),
    pytest.param(
        said(403, refusal("invalid_args", "error 403/3586: Offer 1 is not your own.")),
        Refused,
        id="host account",
    ),
    pytest.param(said(422, refusal("label_too_long")), Refused, id="another 4xx in Vast's words"),
    pytest.param(said(200, refusal("invalid_args", "blacklisted host")), Refused, id="a refusal under 200"),
]


@pytest.mark.parametrize(("answer", "kind"), CREATES)
def test_a_create_without_a_contract_is(answer: Answer, kind: type[VastError]) -> None:
    with pytest.raises(VastError) as raised:
        classify.contract(answer)
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("body", "contract"),
    [
        pytest.param({"success": True, "new_contract": 77, "instance_api_key": "k"}, 77, id="as documented"),
        pytest.param({"success": True, "new_contract": "77"}, 77, id="as a string"),
        pytest.param({"new_contract": 77}, 77, id="without success"),
    ],
)
def test_a_create_returns_its_contract(body: object, contract: int) -> None:
    assert classify.contract(said(200, body)) == contract


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("named", [77, "77"])
def test_a_failed_create_that_names_a_contract_left_a_stopped_box(status: int, named: object) -> None:
    with pytest.raises(StartedStopped) as raised:
        classify.contract(said(status, {"success": False, "new_contract": named, "error": "no_such_ask"}))
    assert raised.value.contract_id == 77


READS = [
    pytest.param(said(200, {"instances": []}), None, id="a good answer"),
    pytest.param(said(200, {"success": True, "error": ""}), None, id="success and an empty error"),
    pytest.param(said(204, b""), Transient, id="an empty 2xx"),
    pytest.param(said(200, HTML), Transient, id="HTML under 200"),
    pytest.param(said(200, b'{"instances": ['), Transient, id="a body cut short"),
    pytest.param(said(200, [1]), Transient, id="a list"),
    pytest.param(said(200, b"[" * 100_000), Transient, id="nesting without end"),
    pytest.param(said(200, b"\xff\xfe\xfa"), Transient, id="no text at all"),
    pytest.param(said(500, refusal("server_error")), Transient, id="500"),
    pytest.param(said(502, HTML), Transient, id="502"),
    pytest.param(said(599, b""), Transient, id="599"),
    pytest.param(said(301, b"", {"Location": "https://console.vast.ai/"}), Transient, id="a redirect"),
    pytest.param(said(408, b""), Transient, id="408"),
    pytest.param(said(409, refusal("conflict")), Transient, id="409"),
    pytest.param(said(425, b""), Transient, id="425"),
    pytest.param(said(404, b""), Transient, id="a bare 404 says nothing"),
    pytest.param(said(404, HTML), Transient, id="404 page"),
    pytest.param(said(404, {"detail": "Not Found"}), Transient, id="404 of another kind of server"),
    pytest.param(said(403, HTML), Transient, id="403 of a firewall"),
    pytest.param(
        said(200, refusal("server_error", "Something went wrong")), Transient, id="broken under 200"
    ),
    pytest.param(said(404, refusal("auth_error", "Invalid user key")), BadKey, id="bad key as 404"),
    pytest.param(said(200, refusal("auth_error", "Invalid user key")), BadKey, id="bad key as 200"),
    pytest.param(said(401, HTML), BadKey, id="401 of anybody"),
    pytest.param(said(404, b"Session expired. Please log in again."), BadKey, id="an expired session"),
    pytest.param(said(400, refusal("invalid_args", "invalid instance_id")), Refused, id="bad args"),
    pytest.param(
        said(404, refusal("no_such_instance")), Refused, id="no such instance, where it is no answer"
    ),
    pytest.param(said(403, refusal("forbidden", "scope")), Refused, id="a key of too small a scope"),
    pytest.param(said(410, refusal("deprecated_endpoint", "Use v1")), Refused, id="a retired route"),
    pytest.param(said(200, refusal("deprecated_endpoint", "Use v1")), Refused, id="a retired route as 200"),
    pytest.param(said(200, {"error": "deprecated_endpoint"}), Refused, id="an error word without success"),
    pytest.param(said(400, refusal("insufficient_credit")), NoCredit, id="no credit"),
    pytest.param(said(429, HTML), RateLimited, id="429"),
    pytest.param(said(200, refusal("search_quota_exceeded")), RateLimited, id="the quota under 200"),
    pytest.param(said(503, b"API requests too frequent"), RateLimited, id="429 in words under 503"),
]


@pytest.mark.parametrize(("answer", "kind"), READS)
def test_the_answer_to_a_read_is(answer: Answer, kind: type[VastError] | None) -> None:
    problem = classify.problem(answer)
    assert (None if problem is None else type(problem)) is kind


@pytest.mark.parametrize(
    ("answer", "absent", "destroyed"),
    [
        pytest.param(said(404, refusal("no_such_instance", "Instance 7 not found.")), True, True, id="404"),
        pytest.param(said(200, refusal("no_such_instance")), True, True, id="200"),
        pytest.param(said(404, refusal("not_found", "Instance not found")), False, True, id="hand docs"),
        pytest.param(said(404, refusal("not_found", "Page not found")), False, False, id="another 404"),
        pytest.param(said(404, b""), False, False, id="a bare 404"),
        pytest.param(said(404, b"no_such_instance"), False, False, id="plain text"),
        pytest.param(said(404, refusal("auth_error", "Invalid user key")), False, False, id="a bad key"),
        pytest.param(said(500, refusal("no_such_instance")), False, False, id="a broken server"),
    ],
)
def test_only_vasts_own_word_means_that_an_instance_is_not_there(
    answer: Answer, absent: bool, destroyed: bool
) -> None:
    assert classify.absent(answer) is absent
    assert classify.destroyed(answer) is destroyed


QUOTA = refusal("search_quota_exceeded", "Daily search row quota exhausted")
LATER = str(int(NOW.timestamp()) + 3600)


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        pytest.param({"Retry-After": "7"}, b"", 7.0, id="seconds"),
        pytest.param({"retry-after": "1.5"}, b"", 1.5, id="a fraction, in lower case"),
        pytest.param({"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT"}, b"", 30.0, id="a date"),
        pytest.param(
            {"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT", "Date": "Tue, 24 Nov 2026 12:00:20 GMT"},
            b"",
            10.0,
            id="a date by Vast's own clock",
        ),
        pytest.param(
            {"Retry-After": "Tue, 24 Nov 2026 12:00:30 -0000"}, b"", 30.0, id="a date without a zone"
        ),
        pytest.param({"Retry-After": "Tue, 24 Nov 2026 11:00:00 GMT"}, b"", 0.0, id="a date gone by"),
        pytest.param({"Retry-After": "-3"}, b"", 0.0, id="negative"),
        pytest.param({"Retry-After": "1e12"}, b"", 86_400.0, id="beyond a day"),
        pytest.param({"Retry-After": "soon"}, b"", None, id="a word"),
        pytest.param({"Retry-After": "nan"}, b"", None, id="NaN"),
        pytest.param({}, b"", None, id="nothing"),
        pytest.param({"X-RateLimit-Reset": LATER}, QUOTA, 3600.0, id="the reset of the quota"),
        pytest.param({"X-RateLimit-Reset": "x"}, QUOTA, None, id="a reset that is a word"),
        pytest.param({"X-RateLimit-Reset": LATER, "Retry-After": "60"}, QUOTA, 60.0, id="both"),
        pytest.param({"X-RateLimit-Reset": LATER}, b"", None, id="a reset without the quota"),
    ],
)
def test_a_429_says_when_to_come_back(headers: Mapping[str, str], body: object, wait: float | None) -> None:
    closed = classify.limited(said(429, body, headers))
    assert closed is not None
    assert closed.retry_after == wait


def test_an_error_says_what_to_do_and_what_vast_said() -> None:
    problem = classify.problem(said(404, refusal("auth_error", "Invalid user key")))
    assert str(problem) == (
        "Vast does not know the API key: set vast_api_key to a valid one. "
        "Vast said 404: auth_error: Invalid user key"
    )
