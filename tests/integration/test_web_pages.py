"""The pages for people, as HTML: who gets them, and that they say what JSON and the command line say."""

import html
import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import update

from magister.domain.instance import Learned
from magister.domain.traffic import KB_PER_GB
from magister.planner.conditions import Condition
from magister.settings.model import Settings
from magister.settings.policy import Budget
from magister.states import Reason, State
from magister.store import bans, instances, pool, transitions
from magister.store.accounting import spending
from magister.store.db.engine import Sessions
from magister.store.db.models import Instance
from magister.store.db.models_accounting import DayTraffic
from magister.web import create_app
from tests.builders import NOW, a_row, ago, an_offer
from tests.fakes import FakeClock

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HOSTILE = "<script>document.title = 'taken'</script>"


def a_client(sessions: Sessions, **caps: float) -> FlaskClient:
    settings = Settings(
        this_magister_addr="http://203.0.113.7",
        hierophant_ip="203.0.113.8",
        hierophant_http_port=9010,
        vast_api_key=SecretStr("key-of-the-account"),
        template_hash="abc",
        number_instances=2,
        budget=Budget(**caps),
    )
    clock = FakeClock(now=NOW)
    return create_app(settings, sessions, clock=clock.wall, monotonic=clock.monotonic).test_client()


def keep(sessions: Sessions, *wrong: Condition, beaten: float = 1) -> None:
    """Let the loop have stepped so many seconds ago, for a target of 2, and found something `wrong`."""
    with sessions.write() as session:
        pool.beat(session, ago(seconds=beaten), target=2, conditions=wrong)
        pool.note_listed(session, ago(seconds=beaten))


def seen(client: FlaskClient, path: str = "/") -> str:
    """Return the words of a page, as they are read."""
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    body = re.sub(r"<(script|style)>.*?</\1>", "", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize("path", ["/", "/instances/1/story"])
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER["Accept"], "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json, text/html", "application/json"),
        ("application/json;q=0.5, text/html;q=0.4", "application/json"),
        (None, "application/json"),
    ],
)
def test_a_browser_gets_a_page_and_programs_get_json(
    sqlite_sessions: Sessions, path: str, accept: str | None, kind: str
) -> None:
    with sqlite_sessions.write() as session:
        a_row(session)
    answer = a_client(sqlite_sessions).get(path, headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.content_type) == (200, kind)
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_page_may_use_its_own_style_and_script_and_nothing_else(sqlite_sessions: Sessions) -> None:
    answer = a_client(sqlite_sessions).get("/", headers=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["style-src"].startswith("'sha256-")
    assert policy["script-src"].startswith("'sha256-")
    assert not re.search(r"""(src|href)=["'](https?:)?//""", answer.text)


def test_the_page_tells_what_the_reports_tell(sessions: Sessions) -> None:
    keep(sessions)
    with sessions.write() as session:
        a_row(session, offer=an_offer(price=400_000, disk_price=100_000), at=NOW - timedelta(hours=30))
        a_row(session, state=State.CREATED, offer=an_offer(price=300_000), at=ago(minutes=1))
    client = a_client(sessions, usd_per_hour=2, usd_per_day=10, usd_per_month=100)
    said = seen(client)
    with sessions.read() as session:
        spent = spending.spent(session, spending.living(session, NOW), NOW)
    assert "1 of 2 verified, 0.7000 USD per hour" in said
    assert "of 2.00 allowed, 1.30 left" in said
    today = re.search(r"Today (\S+) USD of 10.00 allowed, (\S+) left for new boxes", said)
    assert today is not None
    assert today[1] == f"{spent.day / 1e6:.2f}"
    assert 0 < float(today[2]) < 10 - spent.day / 1e6, "what the boxes may yet cost is not to be spent again"
    assert f"This month {spent.month / 1e6:.2f} USD of 100.00 allowed" in said
    costs = client.get("/cost").json
    assert costs is not None
    assert costs["usd"] == spent.month / 1e6


def test_what_is_wrong_comes_with_its_cure(sqlite_sessions: Sessions) -> None:
    keep(sqlite_sessions, Condition("no credit to rent with", "add credit", "no_credit"))
    said = seen(a_client(sqlite_sessions))
    assert "No credit to rent with. Add credit." in said
    assert "not being kept" not in said


def test_a_pool_that_nobody_keeps_says_so_first(sqlite_sessions: Sessions) -> None:
    keep(sqlite_sessions, beaten=3600)
    said = seen(a_client(sqlite_sessions))
    assert "USD per hour: the pool is not being kept" in said
    assert "The loop last gave a sign of life at 2026-11-24 11:00:00 UTC." in said
    assert said.count("No loop acts: see that magister serve runs, and its log.") == 1


def test_doubtful_boxes_come_first_with_what_is_doubtful(sqlite_sessions: Sessions) -> None:
    keep(sqlite_sessions)
    with sqlite_sessions.write() as session:
        a_row(session, at=ago(hours=1))
        a_row(
            session,
            at=ago(hours=1),
            learned=Learned(
                sick_since=ago(minutes=4),
                actual_status="offline",
                last_seen_at=ago(seconds=9),
                trouble=HOSTILE,
            ),
        )
    answer = a_client(sqlite_sessions).get("/", headers=BROWSER).text
    assert answer.index('id="box-2"') < answer.index('id="box-1"')
    said = seen(a_client(sqlite_sessions))
    assert "Boxes, 1 of them doubtful" in said
    assert "Vast has called it offline and not running for 4 min" in said
    assert HOSTILE in said
    assert HOSTILE not in answer


def test_a_box_is_shown_with_its_contract_its_cost_so_far_and_how_long_its_worker_has(
    sqlite_sessions: Sessions,
) -> None:
    keep(sqlite_sessions)
    with sqlite_sessions.write() as session:
        row = a_row(session, state=State.CREATED, offer=an_offer(disk_price=30_000), at=ago(hours=2))
        session.add(DayTraffic(instance_id=row.id, day=NOW.date(), down_kb=0, up_kb=0, fractions=KB_PER_GB))
        session.execute(update(Instance).values(verify_by=ago(seconds=-90)))
    said = seen(a_client(sqlite_sessions))
    assert f" {row.contract_id} 0.5000 {2 * 0.03 + 0.000001:.4f} 2 h" in said
    assert "its worker has 90 s left to call" in said
    assert "Vast listed 1 s before" in said


def test_before_the_first_listing_the_page_says_that_there_was_none(sqlite_sessions: Sessions) -> None:
    assert "UTC, Vast not listed yet" in seen(a_client(sqlite_sessions)).replace(" ,", ",")


def test_commands_are_set_apart_and_stay_words_whatever_stands_in_them(sqlite_sessions: Sessions) -> None:
    keep(sqlite_sessions, Condition("rentals fail", f"run `magister resume`, not `{HOSTILE}`, or `", "x"))
    answer = a_client(sqlite_sessions).get("/", headers=BROWSER).text
    assert "Run <code>magister resume</code>, not <code>&lt;script&gt;" in answer
    assert HOSTILE not in answer


def test_what_left_the_pool_is_told_with_who_wanted_it(sqlite_sessions: Sessions) -> None:
    keep(sqlite_sessions)
    with sqlite_sessions.write() as session:
        row = a_row(session, at=ago(hours=1))
        transitions.move(
            session, row, State.DROPPING, Reason.OPERATOR, actor="ada", why="too slow", at=ago(minutes=5)
        )
        gone = instances.one(session, row.id)
        assert gone is not None
        transitions.move(session, gone, State.DESTROYED, Reason.PROVED_GONE, actor="loop", why="gone", at=NOW)
        bans.ban(session, "machine", 31, why="slow disk", at=NOW)
    said = seen(a_client(sqlite_sessions))
    assert "2026-11-24 11:55:00 UTC #1 , operator, by ada: too slow" in said
    assert "proved gone" not in said
    assert "Machine 31 is banned: slow disk." in said
    assert "None is rented." in said


def test_a_story_can_be_read_as_a_page(sqlite_sessions: Sessions) -> None:
    with sqlite_sessions.write() as session:
        a_row(session, at=ago(hours=2), learned=Learned(status_msg=HOSTILE, last_seen_at=ago(minutes=1)))
    client = a_client(sqlite_sessions)
    said = seen(client, "/instances/1/story")
    told = client.get("/instances/1/story").json
    assert told is not None
    for sentence in told["story"]:
        assert " ".join(sentence["said"].split()) in said
    assert "#1 is verified" in said
    assert HOSTILE not in client.get("/instances/1/story", headers=BROWSER).text


def test_what_is_no_instance_is_a_problem_for_a_browser_too(sqlite_sessions: Sessions) -> None:
    answer = a_client(sqlite_sessions).get("/instances/9/story", headers=BROWSER)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
