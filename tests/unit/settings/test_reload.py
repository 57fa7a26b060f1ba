"""What settings that were read again change, and what of that has to wait for a restart."""

from pathlib import Path

import pytest

from magister.errors import BadSettings
from magister.settings import reload
from magister.settings.model import Loaded, load

REQUIRED = {
    "THIS_MAGISTER_ADDR": "http://magister.example",
    "HIEROPHANT_IP": "hierophant.example",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
    "NUMBER_INSTANCES": "4",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(toml: str = "", **environ: str) -> Loaded:
    Path("magister.toml").write_text(toml, encoding="utf-8")
    return load(None, REQUIRED | environ)


def said(before: Loaded, after: Loaded) -> list[str]:
    return [str(change) for change in reload.between(before, after)]


def test_the_same_said_elsewhere_is_no_change() -> None:
    assert said(loaded(NUMBER_INSTANCES="4"), loaded("bad_hosts = []\n[web]\nthreads = 8")) == []


def test_each_change_is_told_with_both_values_and_the_origin_of_the_new_one() -> None:
    before = loaded("bad_hosts = [2, 1]\n[budget]\nusd_per_hour = 5")
    after = loaded("bad_hosts = [1]", NUMBER_INSTANCES="3")
    assert said(before, after) == [
        "number_instances = 3 instead of 4 (environment NUMBER_INSTANCES)",
        "bad_hosts = [1] instead of [1, 2] (magister.toml)",
        "budget.usd_per_hour = not set instead of 5 (default)",
    ]


def test_a_secret_is_told_by_its_name_only() -> None:
    after = loaded(VAST_API_KEY="another-key", API_TOKEN="0123456789abcdef")
    assert said(loaded(), after) == [
        "vast_api_key (environment VAST_API_KEY)",
        "api_token = *** instead of not set (environment API_TOKEN)",
    ]


def test_another_token_locks_no_worker_out_and_is_taken_while_the_service_runs() -> None:
    changed = said(loaded(API_TOKEN="0123456789abcdef"), loaded(API_TOKEN="fedcba9876543210"))
    assert changed == ["api_token (environment API_TOKEN)"]


def test_all_that_a_running_service_cannot_change_is_refused_in_one_go() -> None:
    url = "postgresql+psycopg://magister:pass%20word@db/"
    before = loaded(DATABASE_URL=f"{url}one")
    with pytest.raises(BadSettings) as caught:
        reload.between(before, loaded("http_port = 9000", DATABASE_URL=f"{url}two", WEB_BIND="127.0.0.1"))
    stays = "while the service runs; restart it to change that"
    masked = "postgresql+psycopg://magister:***@db/"
    assert caught.value.problems == (
        f"http_port = 9000 from magister.toml: must stay 8555 {stays}",
        f'database_url = "{masked}two" from environment DATABASE_URL: must stay "{masked}one" {stays}',
        f'web.bind = "127.0.0.1" from environment WEB_BIND: must stay "0.0.0.0" {stays}',
    )
