"""The page in a real browser: it fits, can be read, needs no mouse, keeps itself current and stays alone."""

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from pydantic import SecretStr
from sqlalchemy import update
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from magister.domain.instance import Learned
from magister.planner.conditions import Condition
from magister.settings.model import Settings
from magister.settings.policy import Budget
from magister.states import State
from magister.store import pool
from magister.store.db.engine import Sessions
from magister.store.db.models import Pool
from magister.web import create_app
from tests.builders import NOW, a_row, ago, an_offer
from tests.waiting import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OFFLINE = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; .ci/run installs one"),
]

HOSTILE = "<script>document.title = 'taken'</script><img src=http://203.0.113.9/x>"
LONG = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
CONDITIONS = (
    Condition("listings from Vast fail since 11:58:00 UTC: Vast cannot be reached", "wait", "listings_fail"),
    Condition("the Vast account has no credit to rent with (0.00 USD)", "add credit", "no_credit"),
    Condition(
        "the last 5 rentals failed: one instance at a time is tried", "`magister resume`", "rentals_fail"
    ),
    Condition("nothing more is rented: 4.90 USD of budget.usd_per_day = 5.00 are spent", "wait", "budget"),
)

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

FAINT = """() => {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return luminance(color);
    }
    throw new Error("there is no ground");
  };
  const written = [...document.body.querySelectorAll("*")].filter((element) =>
    !["SCRIPT", "STYLE"].includes(element.tagName) &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  const ratios = written.map((element) => {
    const [light, dark] = [luminance(getComputedStyle(element).color), ground(element)].sort((a, b) => b - a);
    return [element.textContent.trim().slice(0, 40), (light + 0.05) / (dark + 0.05)];
  });
  if (ratios.length < 20) throw new Error("there is nothing to read");
  return ratios.filter(([, ratio]) => ratio < 4.5);
}"""


class Silent(WSGIRequestHandler):
    """Keep the log of requests out of the tests' report."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@dataclass(slots=True)
class Shown:
    """Hold a page, where it came from and what else the browser asked for or complained about."""

    page: Page
    server: BaseWSGIServer
    sessions: Sessions
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Return where the page came from."""
        return f"http://127.0.0.1:{self.server.server_port}/"

    def open(self, path: str = "") -> Page:
        """Open a page."""
        self.page.goto(self.origin + path)
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=list(OFFLINE),
            env={"HOME": os.environ.get("HOME", "/tmp")},
            timeout=PATIENCE * 1000,
        )
        yield browser
        browser.close()


@pytest.fixture
def shown(browser: Browser, sqlite_sessions: Sessions) -> Iterator[Shown]:
    settings = Settings(
        this_magister_addr="http://203.0.113.7",
        hierophant_ip="203.0.113.8",
        hierophant_http_port=9010,
        vast_api_key=SecretStr("key-of-the-account"),
        template_hash="abc",
        number_instances=5,
        budget=Budget(usd_per_hour=40, usd_per_day=600, usd_per_month=9000),
    )
    app = create_app(settings, sqlite_sessions, clock=lambda: NOW)
    server = make_server("127.0.0.1", 0, app, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    page = browser.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    shown = Shown(page, server, sqlite_sessions)
    page.on("request", lambda request: shown.asked.append(request.url))
    page.on("console", lambda message: shown.complaints.append(message.text))
    page.on("pageerror", lambda error: shown.complaints.append(str(error)))
    yield shown
    page.close()
    server.shutdown()
    thread.join()
    server.server_close()


def fill(sessions: Sessions, boxes: int, *wrong: Condition) -> None:
    """Keep so many boxes, every third doubtful and all with long names, and let something be wrong."""
    with sessions.write() as session:
        for number in range(boxes):
            a_row(
                session,
                state=State.VERIFIED if number % 3 else State.DROPPING,
                offer=an_offer(gpu_name=LONG if number % 2 else "RTX 4090", geolocation=f"{LONG}, GB"),
                at=ago(hours=number),
                learned=Learned(sick_since=ago(minutes=4), status_msg=HOSTILE, trouble=HOSTILE),
            )
        pool.beat(session, ago(seconds=1), target=5, conditions=wrong)
        pool.note_listed(session, ago(seconds=1))
        session.execute(update(Pool).values(credit=99_830_000))


@pytest.mark.parametrize(("boxes", "wrong"), [(0, ()), (5, CONDITIONS), (60, CONDITIONS)])
def test_the_page_fits_into_any_window(shown: Shown, boxes: int, wrong: tuple[Condition, ...]) -> None:
    fill(shown.sessions, boxes, *wrong)
    page = shown.open()
    assert page.locator("tbody tr").count() == boxes
    assert page.locator("#wrong p").count() == len(wrong)
    for width in (1280, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(OVERFLOW) == 0, width


def test_a_story_fits_into_any_window(shown: Shown) -> None:
    fill(shown.sessions, 2)
    page = shown.open("instances/2/story")
    assert page.locator("li").count() > 3
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(OVERFLOW) == 0, width


@pytest.mark.parametrize("path", ["", "instances/2/story"])
def test_everything_can_be_read_by_day_and_by_night(shown: Shown, path: str) -> None:
    fill(shown.sessions, 6, *CONDITIONS)
    page = shown.open(path)
    grounds = set()
    if path:  # a story is short; the threshold is for the pool
        page.evaluate("document.body.append(...Array.from({length: 20}, () => document.createElement('p')))")
        page.evaluate("document.querySelectorAll('body > p').forEach((p) => (p.textContent = 'filled'))")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.evaluate(FAINT) == [], scheme
    assert len(grounds) == 2


def test_nothing_comes_from_elsewhere_and_what_hosts_say_is_only_shown(shown: Shown) -> None:
    fill(shown.sessions, 4, *CONDITIONS)
    page = shown.open()
    assert HOSTILE in page.locator("#boxes").inner_text()
    assert page.title() == "2 of 5, not well - Magister"
    assert shown.asked == [shown.origin]
    assert shown.complaints == []


def test_a_script_that_is_not_its_own_does_not_run(shown: Shown) -> None:
    page = shown.open()
    page.evaluate(
        "document.head.appendChild(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in shown.complaints)


def test_the_keyboard_leads_from_a_box_to_its_story_and_back(shown: Shown) -> None:
    fill(shown.sessions, 3)
    page = shown.open()
    for _ in range(10):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.id")
        if focused.startswith("box-"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/instances/{focused.removeprefix('box-')}/story")
    assert "What it did" in page.locator("main").inner_text()
    page.get_by_role("link", name="Magister").press("Enter")
    page.wait_for_url(shown.origin)


def test_the_page_keeps_itself_current_and_the_focus_where_it_was(shown: Shown) -> None:
    fill(shown.sessions, 3)
    shown.page.clock.install()
    page = shown.open()
    page.locator("#box-2").focus()
    fill(shown.sessions, 1, *CONDITIONS)
    page.clock.fast_forward(10_000)
    page.locator("#box-4").wait_for()
    assert page.evaluate("document.activeElement.id") == "box-2"
    assert page.locator("#wrong p").count() == len(CONDITIONS)
    assert page.locator("#stale").is_hidden()


def test_a_page_that_is_old_says_so_until_it_is_current_again(shown: Shown) -> None:
    shown.page.clock.install()
    page = shown.open()
    page.route("**", lambda route: route.abort())
    page.clock.fast_forward(10_000)
    page.locator("#stale").wait_for()
    page.unroute("**")
    page.clock.fast_forward(10_000)
    page.locator("#stale").wait_for(state="hidden")


def test_a_screen_reader_finds_a_table_with_names_even_on_a_phone(shown: Shown) -> None:
    fill(shown.sessions, 2)
    page = shown.open()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.get_by_role("row").count() == 3
    assert page.get_by_role("columnheader", name="machine").count() == 1
    assert page.get_by_role("progressbar", name="Today").count() == 1
    assert page.get_by_role("region", name="Boxes").count() == 1
