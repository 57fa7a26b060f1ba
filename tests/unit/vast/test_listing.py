"""A listing is complete or nothing: the ways in which Vast was seen to show fewer boxes than there are."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from magister.errors import IncompleteListing, RateLimited
from magister.vast.listing import READINGS, Page, complete, page
from magister.vast.response import read

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Pages:
    """Serve one body a token and count the readings; `later` replaces `bodies` from the second reading on."""

    def __init__(self, bodies: Mapping[str | None, object], later: Mapping[str | None, object] | None = None):
        self.bodies = bodies
        self.later = later or bodies
        self.asked: list[str | None] = []

    @property
    def readings(self) -> int:
        return self.asked.count(None)

    def fetch(self, token: str | None) -> Page:
        self.asked.append(token)
        bodies = self.bodies if self.readings == 1 else self.later
        return page(read(200, {}, json.dumps(bodies[token]).encode(), at=NOW), first=token is None)


def body(*ids: object, total: object = None, then: object = None, **more: object) -> dict[str, object]:
    rows = [{"id": id_} for id_ in ids]
    counted = len(ids) if total is None else total
    return {"success": True, "instances": rows, "total_instances": counted, "next_token": then, **more}


def ids(pages: Pages) -> list[int]:
    return [seen.contract_id for seen in complete(pages.fetch)]


def test_pages_are_read_to_the_last_one() -> None:
    pages = Pages(
        {
            None: body(1, 2, total=5, then="a"),
            "a": body(3, 4, total=5, then="b"),
            "b": body(5, total=5, then=""),
        }
    )
    assert ids(pages) == [1, 2, 3, 4, 5]
    assert pages.asked == [None, "a", "b"]


def test_an_account_without_instances_is_an_empty_listing() -> None:
    assert ids(Pages({None: body()})) == []


def test_null_instances_and_a_total_of_zero_are_an_empty_listing() -> None:
    assert ids(Pages({None: body(instances=None, total=0)})) == []


def test_ids_and_totals_may_be_strings() -> None:
    assert ids(Pages({None: body("1", total="1")})) == [1]


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param({None: {"success": True, "total_instances": 0}}, id="no instances at all"),
        pytest.param({None: body(instances=None, total=2)}, id="null although some are counted"),
        pytest.param({None: body(instances=None, total=0, then="a"), "a": body()}, id="null and a next page"),
        pytest.param(
            {None: body(1, total=1, then="a"), "a": body(instances=None, total=0)}, id="null on a later page"
        ),
        pytest.param({None: body(instances={"id": 1}, total=1)}, id="an object for the list"),
        pytest.param({None: {"success": True, "instances": []}}, id="no total"),
        pytest.param({None: body(total="many")}, id="a word for the total"),
        pytest.param({None: body(1, total=True)}, id="a bool for the total"),
        pytest.param({None: body(1, total=2)}, id="fewer than counted"),
        pytest.param({None: body(1, 2, total=1)}, id="more than counted"),
        pytest.param({None: body(1, 1)}, id="an id twice on a page"),
        pytest.param({None: body(1, total=2, then="a"), "a": body(1, total=2)}, id="an id on two pages"),
        pytest.param({None: body(1, True)}, id="a bool for an id"),
        pytest.param({None: body(1, None)}, id="a row without an id"),
        pytest.param({None: body(instances=[{"id": 1}, 2], total=2)}, id="a row that is no object"),
        pytest.param({None: body(1, total=2, then="a"), "a": body(2, then="a")}, id="a token that repeats"),
        pytest.param(
            {None: body(1, total=1, then="a"), "a": body(total=1, then="b")}, id="an empty page with more"
        ),
        pytest.param({None: body(1, then={"value": 1})}, id="a token that is no string"),
        pytest.param({None: body(1, then=7)}, id="a token that is a number"),
    ],
)
def test_a_listing_is_not_complete_with(bodies: Mapping[str | None, object]) -> None:
    pages = Pages(bodies)
    with pytest.raises(IncompleteListing):
        complete(pages.fetch)
    assert pages.readings == READINGS


def test_a_listing_that_did_not_add_up_is_read_again_at_once() -> None:
    pages = Pages({None: body(1, total=2)}, later={None: body(1, 2)})
    assert ids(pages) == [1, 2]
    assert pages.readings == 2


def test_a_box_made_between_two_pages_is_found_by_the_total_of_the_last_page() -> None:
    pages = Pages({None: body(1, total=2, then="a"), "a": body(2, 3, total=3)})
    assert ids(pages) == [1, 2, 3]


def test_what_the_call_raises_is_not_tried_again_here() -> None:
    asked = []

    def fetch(token: str | None) -> Page:
        asked.append(token)
        raise RateLimited

    with pytest.raises(RateLimited):
        complete(fetch)
    assert asked == [None]


def test_pages_without_end_are_given_up() -> None:
    asked = []

    def fetch(token: str | None) -> Page:
        asked.append(token)
        number = len(asked)
        answer = read(200, {}, json.dumps(body(number, total=10**9, then=str(number))).encode(), at=NOW)
        return page(answer, first=token is None)

    with pytest.raises(IncompleteListing, match="do not end"):
        complete(fetch)


def test_odd_fields_cost_no_row_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": n, "num_gpus": "many", "label": ["odd"]} for n in (1, 2)]
    with caplog.at_level(logging.DEBUG, "magister.vast"):
        assert ids(Pages({None: body(instances=rows, total=2)})) == [1, 2]
    assert caplog.messages == ["unusable values in the listing, taken as unknown: label, num_gpus"]
