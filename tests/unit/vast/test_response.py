"""An answer is read once: its JSON without NaN, its words in one short line without secrets."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magister.http_errors import WORDS, one_line
from magister.vast import response

NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = "0123456789abcdef" * 4


def words(raw: bytes, status: int = 400) -> str:
    return response.read(status, {}, raw, at=NOW, secret=KEY).words


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param(b'{"error": "e", "msg": "m"}', "e: m", id="error and msg"),
        pytest.param(b'{"error": "no_such_ask", "msg": "x no_such_ask y"}', "x no_such_ask y", id="repeated"),
        pytest.param(b'{"error": "same", "msg": "same"}', "same: same", id="the same twice"),
        pytest.param(b'{"detail": "too frequent"}', "too frequent", id="detail"),
        pytest.param(b'{"error": true, "msg": [7]}', "", id="odd types"),
        pytest.param(b"API requests\r\n too frequent\x1b[31m", "API requests too frequent [31m", id="text"),
        pytest.param(b"<html><style>b{}</style><b>Bad</b> gateway</html>", "Bad gateway", id="HTML"),
        pytest.param("a\u202eb\u2028c".encode(), "a b c", id="marks that turn or break the line"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="no text"),
        pytest.param(f'{{"msg": "key {KEY} unknown"}}'.encode(), "key *** unknown", id="the key"),
        pytest.param(f"<b>{KEY}</b>".encode(), "***", id="the key in a page"),
    ],
)
def test_the_words_are_one_plain_line(raw: bytes, shown: str) -> None:
    assert words(raw) == shown


@pytest.mark.parametrize("raw", [b'{"instance_api_key": "abc', b'["abc', b' {"api_key": "abc', b'"abc"'])
def test_nothing_is_shown_of_broken_json_for_it_may_hold_a_key(raw: bytes) -> None:
    assert words(raw, status=200) == "broken JSON"


def test_long_words_are_cut() -> None:
    shown = words(b"x" * 10_000)
    assert len(shown) == WORDS
    assert shown.endswith("…")


@given(before=st.text(max_size=300), after=st.text(max_size=300))
def test_the_key_is_masked_wherever_it_stands(before: str, after: str) -> None:
    assert KEY not in one_line(f"{before}{KEY}{after}", KEY)


def test_nan_and_infinities_are_null() -> None:
    read = response.read(200, {}, b'{"a": NaN, "b": -Infinity, "c": 1e999, "d": 1.5, "d": 2.5}', at=NOW)
    assert read.fields == {"a": None, "b": None, "c": None, "d": 2.5}


def test_a_redirect_is_named_by_where_it_leads() -> None:
    read = response.read(
        308, {"Location": f"https://console.vast.ai/?api_key={KEY}"}, b"", at=NOW, secret=KEY
    )
    assert str(read) == "Vast said 308: redirected to https://console.vast.ai/?api_key=***"
    assert response.read(308, {}, b"", at=NOW).words == "redirected to nowhere"


def test_an_empty_answer_is_named_as_such() -> None:
    assert str(response.read(502, {}, b"", at=NOW)) == "Vast said 502: nothing"


def test_a_body_that_could_not_be_read_is_no_body() -> None:
    read = response.read(200, {}, b'{"success": true}', at=NOW, trouble="the body broke off")
    assert read.fields is None
    assert read.words == "the body broke off"


def test_what_an_answer_holds_is_not_in_its_repr() -> None:
    read = response.read(200, {"Set-Cookie": KEY}, f'{{"api_key": "{KEY}"}}'.encode(), at=NOW)
    assert KEY not in repr(read)


@pytest.mark.parametrize(
    ("raw", "denied"),
    [
        (b'{"success": false}', True),
        (b'{"success": 0}', True),
        (b'{"success": "false"}', True),
        (b'{"success": true, "error": "x"}', False),
        (b'{"error": "x"}', True),
        (b'{"error": null}', False),
        (b"{}", False),
        (b"nonsense", False),
    ],
)
def test_a_body_denies_in_several_ways(raw: bytes, denied: bool) -> None:
    assert response.read(200, {}, raw, at=NOW).denied is denied


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            {
                "success": False,
                "error": {"code": "template_not_found", "message": "no template with that hash"},
            },
            "template_not_found: no template with that hash",
        ),
        (
            {"detail": [{"loc": ["body", "disk"], "msg": "field required", "input": {"onstart": "secret"}}]},
            "body.disk: field required",
        ),
        ({"errors": [{"title": "bad"}, "worse"]}, "bad: worse"),
        ({"error": {"error": {"reason": "deep"}}}, "deep"),
        ([{"message": "in a list"}], "in a list"),
        ({"message": "plain", "instance_api_key": "secret"}, "plain"),
        ({"onstart": "secret"}, ""),
    ],
)
def test_the_words_of_any_json_error_are_shown_and_nothing_else(body: object, shown: str) -> None:
    assert words(json.dumps(body).encode()) == shown


def test_an_error_nested_without_end_is_read_to_some_depth() -> None:
    deep: object = "too deep"
    for _ in range(100):
        deep = {"error": [deep]}
    assert words(json.dumps(deep).encode()) == ""


@pytest.mark.parametrize(
    ("body", "worded"),
    [
        ({"success": False, "error": {"code": "template_not_found"}}, True),
        ({"success": False, "message": "no such template"}, True),
        ({"success": False}, False),
        ({"error": {"code": 502, "message": "bad gateway"}}, False),
        ({"detail": [{"msg": "field required"}]}, False),
        ({"message": "from a proxy"}, False),
        ({"error": "no_such_ask"}, True),
        ({"msg": "no such"}, True),
    ],
)
def test_only_a_form_that_is_vasts_own_is_vasts_word(body: object, worded: bool) -> None:
    assert response.read(400, {}, json.dumps(body).encode(), at=NOW).worded is worded
