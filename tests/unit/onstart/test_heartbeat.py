"""The loop left beside a worker, run by real shells with real tools in time that the test lets pass."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import SecretStr

from magister.onstart import heartbeat, script
from magister.settings.contemplant import EXPORTS, Contemplant
from magister.settings.model import Settings
from tests.box import ENTRYPOINT, Box, Listener, a_box
from tests.builders import public_key, some_settings
from tests.waiting import PATIENCE, until

START, BEAT = "/verify/404/started?beat=60", "/verify/404?beat=60"
TOOLS = ("curl", "wget", "busybox", "python3")
SHELLS = ("bash", "dash")
TEMPLATES = (
    None,
    f"{EXPORTS}\n{ENTRYPOINT}",
    f"set -eu\n{EXPORTS}\nexec {ENTRYPOINT}",
    f"#!/bin/bash -eu\n{EXPORTS}\n{ENTRYPOINT}",
    f"#!/bin/sh\n{EXPORTS}\n{ENTRYPOINT} & wait $!",
    f"#!/bin/bash -m\n{EXPORTS}\n{ENTRYPOINT}",
)


def given(
    contemplant: dict[str, object], address: str = "http://magister.example", token: str | None = None
) -> Settings:
    return some_settings(
        this_magister_addr=address,
        hierophant_ip="hierophant.example",
        api_token=None if token is None else SecretStr(token),
        contemplant=Contemplant.model_validate(contemplant),
    )


def text(address: str = "http://magister.example", mac: str | None = None, **contemplant: object) -> str:
    """Return the onstart of the box of offer 404, a number that is no status."""
    settings = given(contemplant, address, None if mac is None else "token-of-the-operator")
    return script.render(settings, script.drop_url(settings, 404, mac))


def installed(tool: str) -> str:
    if tool != "python3" and shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine")
    return tool


@pytest.fixture
def magister() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> str:
    return installed(str(request.param))


@pytest.fixture
def box(tool: str, tmp_path: Path) -> Iterator[Box]:
    with a_box(tmp_path, tool) as made:
        yield made


@pytest.fixture
def some_box(tmp_path: Path) -> Iterator[Box]:
    with a_box(tmp_path, "python3") as made:
        yield made


@pytest.mark.parametrize("shell", SHELLS)
def test_a_living_worker_beats_after_each_interval(box: Box, magister: Listener, shell: str) -> None:
    box.start_worker()
    assert box.run(text(magister.address, "ab12", beat_secs=7), installed(shell)).returncode == 0
    assert (box.sleeps(), magister.calls) == ("7", ["/verify/404/started?key=ab12&beat=7"])
    box.pass_intervals(2)
    assert magister.calls[1:] == ["/verify/404?key=ab12&beat=7"] * 2


def test_an_address_without_a_key_is_marked_too(box: Box, magister: Listener) -> None:
    box.start_worker()
    box.run(text(magister.address))
    box.pass_intervals()
    assert magister.calls == [START, BEAT]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_loop_announces_itself_before_a_worker_runs(box: Box, magister: Listener, shell: str) -> None:
    box.run(text(magister.address), installed(shell))
    box.sleeps()
    assert magister.calls == [START]


@pytest.mark.parametrize("shell", SHELLS)
def test_an_announcement_that_hangs_keeps_no_worker_waiting(
    some_box: Box, magister: Listener, shell: str
) -> None:
    magister.status = 0
    full = text(magister.address).replace("timeout 10 ", "timeout 3600 ")
    assert some_box.run(full, installed(shell), entrypoint="exit 5").returncode == 5
    until(lambda: magister.calls == [START], "it announces itself")
    magister.close()


@pytest.mark.parametrize("status", [400, 404, 410, 500])
def test_an_announcement_that_is_refused_ends_no_loop(some_box: Box, magister: Listener, status: int) -> None:
    some_box.start_worker()
    magister.status = status
    some_box.run(text(magister.address))
    some_box.sleeps()
    magister.status = 200
    some_box.pass_intervals()
    assert magister.calls == [START, BEAT]


@pytest.mark.parametrize("status", [404, 410])
def test_an_answer_that_nobody_is_meant_ends_the_beats(box: Box, magister: Listener, status: int) -> None:
    box.start_worker()
    box.run(text(magister.address))
    magister.status = status
    box.wake()
    until(box.ended, "the loop ends")
    assert magister.calls == [START, BEAT]


@pytest.mark.parametrize("status", [200, 204, 403, 429, 500, 503])
def test_every_other_answer_is_followed_by_more_beats(box: Box, magister: Listener, status: int) -> None:
    box.start_worker()
    box.run(text(magister.address))
    magister.status = status
    box.pass_intervals(2)
    assert magister.calls == [START, BEAT, BEAT]


def test_beats_go_on_when_magister_is_back(box: Box, magister: Listener) -> None:
    box.start_worker()
    box.run(text(magister.address).replace(magister.address + "/verify", "http://127.0.0.1:1/verify"))
    box.pass_intervals(2)
    assert magister.calls == []
    assert not box.ended()


def test_a_call_is_given_up_after_its_time(box: Box, magister: Listener) -> None:
    """One second here, for a test must not take ten; a slow machine may need several to call at all."""
    box.start_worker()
    full = text(magister.address)
    assert "timeout 10 " in full
    box.run(full.replace("timeout 10 ", "timeout 1 "))
    box.sleeps()
    magister.status = 0
    while BEAT not in magister.calls:
        box.pass_intervals()
    assert magister.gone.acquire(timeout=PATIENCE)


def test_a_worker_that_has_gone_is_silent_until_one_is_back(some_box: Box, magister: Listener) -> None:
    worker = some_box.start_worker()
    some_box.run(text(magister.address))
    some_box.end_worker(worker)
    some_box.pass_intervals(3)
    assert magister.calls == [START] * 4, "it says that it runs, and verifies nothing"
    some_box.start_worker()
    some_box.pass_intervals()
    assert magister.calls[4:] == [BEAT]


def test_a_worker_that_died_and_was_not_reaped_is_silent(some_box: Box, magister: Listener) -> None:
    worker = some_box.start_worker()
    some_box.run(text(magister.address))
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    assert f"{worker.pid} (contemplant) Z" in (some_box.proc / str(worker.pid) / "stat").read_text()
    some_box.pass_intervals(2)
    assert set(magister.calls) == {START}


@pytest.mark.parametrize(
    "name", ["contemplant-entrypoint.sh", "contemplants", "a-contemplant", "Contemplant"]
)
def test_no_other_name_will_do(some_box: Box, magister: Listener, name: str) -> None:
    some_box.start_worker(name)
    some_box.run(text(magister.address))
    some_box.pass_intervals(2)
    assert set(magister.calls) == {START}


def test_a_box_without_a_tool_calls_nobody_and_goes_on(tmp_path: Path, magister: Listener) -> None:
    with a_box(tmp_path) as bare:
        bare.start_worker()
        assert bare.run(text(magister.address), entrypoint="exit 5").returncode == 5
        bare.pass_intervals(2)
        assert magister.calls == []


def test_a_box_without_a_sleep_does_not_spin(some_box: Box, magister: Listener) -> None:
    some_box.start_worker()
    failing = f"#!/bin/sh\necho $PPID >{some_box.place}/pid\nexit 127\n"
    (some_box.place / "bin" / "sleep").write_text(failing)
    some_box.run(text(magister.address))
    until((some_box.place / "pid").exists, "it tries to sleep")
    until(lambda: (some_box.place / "pid").read_text().endswith("\n"), "it says who it is")
    some_box.loops.add(int((some_box.place / "pid").read_text()))
    until(some_box.ended, "the loop ends")
    assert magister.calls == [START]


def test_the_loop_has_a_session_of_its_own_and_survives_a_hangup(some_box: Box) -> None:
    some_box.run(text())
    some_box.sleeps()
    (loop,) = some_box.loops
    assert os.getsid(loop) == loop
    os.kill(loop, 1)
    some_box.pass_intervals()
    assert not some_box.ended()


def test_without_setsid_the_loop_does_as_well(some_box: Box, magister: Listener) -> None:
    (some_box.place / "bin" / "setsid").unlink()
    some_box.start_worker()
    assert some_box.run(text(magister.address)).stderr == b""
    some_box.pass_intervals()
    assert magister.calls == [START, BEAT]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_entrypoint_runs_as_it_would_without_the_loop(
    some_box: Box, shell: str, template: str | None
) -> None:
    """The pipes of its output are read to their ends here, so nothing of the loop may hold them open."""
    entrypoint = (
        "env | sort; cat; ls -l /proc/self/fd | grep -c pipe; "
        "grep -E '^Sig(Blk|Ign)' /proc/self/status; ulimit -a; umask; pwd; exit 23"
    )
    (some_box.place / "bin" / "sort").symlink_to(shutil.which("sort") or "")
    (some_box.place / "bin" / "ls").symlink_to(shutil.which("ls") or "")
    without, with_ = (
        some_box.run(text(beat_secs=secs, onstart_template=template), installed(shell), entrypoint, b"typed")
        for secs in (0, 60)
    )
    some_box.sleeps()
    assert without.returncode == 23
    assert b"MAGISTER_DROP_ENDPOINT=" in with_.stdout
    assert (with_.returncode, with_.stdout, with_.stderr) == (
        without.returncode,
        without.stdout,
        without.stderr,
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_whoever_waits_for_all_jobs_does_not_wait_for_the_loop(some_box: Box, shell: str) -> None:
    template = f"{EXPORTS}\n{ENTRYPOINT} &\nwait\necho done"
    assert some_box.run(text(onstart_template=template), installed(shell)).stdout == b"done\n"
    some_box.sleeps()


def test_no_beats_leave_the_text_as_published() -> None:
    assert text(mac="ab12", beat_secs=0) == (
        "su contemplant -c '\n"
        "export HOME=/home/contemplant\n"
        "export TMUX_TMPDIR=/home/contemplant/.tmux\n"
        'export MAGISTER_DROP_ENDPOINT="http://magister.example:8555/drop/404?key=ab12"\n'
        'export HIEROPHANT_WS_ADDRESS="ws://hierophant.example:9010/ws"\n'
        'export HTTP_PORT="9011"\n'
        'export HEARTBEAT_INTERVAL_SECONDS="30"\n'
        'export MAX_PROOFS_STORED="2"\n'
        'export MOONGATE_LOG_PATH="./moongate.log"\n'
        'export WATCHER_POLLING_INTERVAL_MS="2000"\n'
        "/usr/local/bin/contemplant-entrypoint.sh'"
    )


@drawn(
    secs=st.integers(1, 10_000),
    mac=st.none() | st.just("0f" * 16),
    head=st.sampled_from(("", "#!/bin/sh\n", "#!/usr/bin/env -S bash -eu\n", "# a comment\n", "set -eu; ")),
    keys=st.integers(1, 4500),
)
def test_a_text_is_the_one_without_beats_and_at_most_the_loop_besides(
    secs: int, mac: str | None, head: str, keys: int
) -> None:
    changes: dict[str, object] = {
        "onstart_template": f"{head}{EXPORTS}\n{ENTRYPOINT}",
        "ssh_authorized_keys": public_key(keys),
    }
    token = None if mac is None else "token-of-the-operator"
    settings, silent = (given(changes | {"beat_secs": each}, token=token) for each in (secs, 0))
    plain, full = (script.render(each, script.drop_url(each, 404, mac)) for each in (silent, settings))
    if script.doubts(settings):
        assert full == plain
        return
    loop = heartbeat.before("", f'"{heartbeat.url(script.drop_url(settings, 404, mac), secs)}"', secs)
    assert full == (f"{head}{loop}{plain.removeprefix(head)}" if head.startswith("#!") else loop + plain)
    assert len(full) <= script.longest(settings) <= script.LIMIT
    assert (heartbeat.secs_in(full), heartbeat.secs_in(plain)) == (secs, None)


def keys_of(length: int) -> dict[str, object]:
    return {"ssh_authorized_keys": public_key(length)}


def test_beats_that_make_the_text_too_long_are_left_out_and_that_is_told() -> None:
    most = script.LIMIT - script.longest(given(keys_of(0)))
    assert script.doubts(given(keys_of(most))) == ()
    over = given(keys_of(most + 1))
    assert script.problems(over) == ()
    assert script.doubts(over) == (
        "no beats: with them onstart would be 4049 characters long, 1 more than the 4048 Vast takes;"
        " shorten contemplant.ssh_authorized_keys or contemplant.onstart_template,"
        " or contemplant.beat_secs = 0 silences this",
    )
    assert "beat" not in script.render(over, "http://m/drop/1")
    assert script.doubts(given(keys_of(most + 1) | {"beat_secs": 0})) == ()


@pytest.mark.parametrize(
    "line", ["#!/usr/bin/python3", "#!/usr/bin/env python3", "#!/usr/bin/fish", "#!/bin/csh"]
)
def test_a_template_that_no_shell_reads_gets_no_loop_and_that_is_told(line: str) -> None:
    template = f"{line}\n{EXPORTS}"
    assert script.doubts(given({"onstart_template": template})) == (
        "no beats: the first line of contemplant.onstart_template names no shell;"
        " contemplant.beat_secs = 0 silences this",
    )
    assert text(onstart_template=template) == text(onstart_template=template, beat_secs=0)


@pytest.mark.parametrize(
    "line",
    ["#!/bin/sh", "#! /bin/bash", "#!/bin/bash -e", "#!/usr/bin/env bash", "#!/usr/bin/env -S dash -eu"],
)
def test_the_loop_stands_behind_a_line_that_names_a_shell(line: str) -> None:
    rendered = text(onstart_template=f"{line}\n{EXPORTS}")
    assert rendered.splitlines()[:2] == [line, "# beats: repeat /verify while the worker lives"]
