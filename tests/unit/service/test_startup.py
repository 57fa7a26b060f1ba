"""What a process of the service does first."""

import io
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from magister.service import startup
from magister.settings.model import Settings, load
from tests.builders import public_key

SETTINGS = {
    "THIS_MAGISTER_ADDR": "http://magister.example",
    "HIEROPHANT_IP": "hierophant.example",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key-of-the-account",
    "TEMPLATE_HASH": "819fdf2e42fc8ceb32f295465b5bb21e",
    "NUMBER_INSTANCES": "2",
    "VAST_QUERY_COST_PER_HOUR": "0.6",
    "CONTEMPLANT_VMS": "sp1",
}


@pytest.mark.parametrize(("room", "told"), [(10, []), (3_000, ["no beats: with them onstart would be"])])
def test_the_start_tells_that_beats_have_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, told: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(startup, "set_up_log", lambda settings: None)
    for name, value in (SETTINGS | {"CONTEMPLANT_SSH_AUTHORIZED_KEYS": public_key(room)}).items():
        monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        startup.begin(None)
    assert [line["what"][:36] for line in lines] == told


def test_a_child_gets_the_settings_that_were_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    accepted = load(None, SETTINGS).settings
    logged: list[Settings] = []
    monkeypatch.setattr(startup, "set_up_log", logged.append)
    told = io.BytesIO(startup.handed_down(accepted))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(told))
    assert startup.inherit() == accepted
    assert logged == [accepted]
    assert startup.secrets(accepted) == (accepted.vast_api_key,)
