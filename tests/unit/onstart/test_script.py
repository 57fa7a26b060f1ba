"""The text that starts the worker, run by a real shell with stand-ins for su and the worker's entrypoint."""

import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from magister.domain import callback_key
from magister.onstart import script as onstart
from magister.settings.contemplant import Contemplant, Prover
from magister.settings.model import Settings
from tests.builders import public_key, some_settings

ENTRYPOINT = "/usr/local/bin/contemplant-entrypoint.sh"
NASTY_KEYS = (
    "ssh-ed25519 AAAA+/= it's me\n"
    'command="echo $HOME `id` \\"x\\"",no-pty ssh-rsa AAAABBBB back\\slash %s !x\n'
    "ssh-ed25519 AAAACCCC Zoë & friends; # <>|*"
)


def given(contemplant: Contemplant | None = None, token: str | None = None) -> Settings:
    return some_settings(
        this_magister_addr="http://magister.example/",
        hierophant_ip="hierophant.example",
        api_token=None if token is None else SecretStr(token),
        contemplant=(contemplant or Contemplant()).model_copy(
            update={"beat_secs": 0}
        ),  # those are test_beat.py
    )


def program(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def started(text: str, folder: Path, entrypoint: str) -> bytes:
    """Run an onstart text with `su` and the entrypoint replaced; return what the entrypoint wrote."""
    program(folder / "su", '#!/bin/bash\n[ "$1 $2" = "contemplant -c" ] && exec bash -c "$3"\n')
    stub = program(folder / "entrypoint", entrypoint)
    script = program(folder / "onstart.sh", text.replace(ENTRYPOINT, str(stub)))
    path = f"{folder}:/usr/bin:/bin"
    done = subprocess.run(["bash", str(script)], env={"PATH": path}, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout


def environment(text: str, folder: Path) -> dict[str, str]:
    raw = started(text, folder, "#!/bin/bash\nexec env -0\n").decode()
    return dict(pair.split("=", 1) for pair in raw.split("\0") if pair)


def test_the_worker_gets_its_environment(tmp_path: Path) -> None:
    contemplant = Contemplant(
        contemplant_name="paulos & co; #1 * (x)",
        ssh_authorized_keys=NASTY_KEYS,
        provers=(Prover(vm="sp1", backend="cuda", moongate_endpoint="http://localhost:3000/twirp/?a=1&b=2"),),
    )
    settings = given(contemplant)
    seen = environment(onstart.render(settings, onstart.drop_url(settings, 77, "ab12")), tmp_path)
    for name in ("PATH", "PWD", "SHLVL", "_"):
        seen.pop(name, None)
    assert seen == {
        "HOME": "/home/contemplant",
        "TMUX_TMPDIR": "/home/contemplant/.tmux",
        "MAGISTER_DROP_ENDPOINT": "http://magister.example:8555/drop/77?key=ab12",
        "HIEROPHANT_WS_ADDRESS": "ws://hierophant.example:9010/ws",
        "CONTEMPLANT_NAME": "paulos & co; #1 * (x)",
        "HTTP_PORT": "9011",
        "HEARTBEAT_INTERVAL_SECONDS": "30",
        "MAX_PROOFS_STORED": "2",
        "MOONGATE_LOG_PATH": "./moongate.log",
        "WATCHER_POLLING_INTERVAL_MS": "2000",
        "SSH_AUTHORIZED_KEYS": NASTY_KEYS,
        "CONTEMPLANT_VMS": "sp1",
        "CONTEMPLANT_SP1_BACKEND": "cuda",
        "MOONGATE_ENDPOINT": "http://localhost:3000/twirp/?a=1&b=2",
    }


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_every_value_but_the_keys_passes_two_more_shells_that_do_not_escape_it(
    tmp_path: Path, shell: str
) -> None:
    settings = given(
        Contemplant(contemplant_name="a b; c & d | e > f * ~ # (g) {h} !i %s", ssh_authorized_keys=NASTY_KEYS)
    )
    # each value is pasted, as it is, into the text of a shell, and that text into the text of another
    entrypoint = (
        "#!/bin/bash\n"
        f'exec {shell} -c "{shell} -c \\"printf %s \'$CONTEMPLANT_NAME|$MAGISTER_DROP_ENDPOINT\'\\""\n'
    )
    seen = started(onstart.render(settings, onstart.drop_url(settings, 5, None)), tmp_path, entrypoint)
    assert seen.decode() == f"{settings.contemplant.contemplant_name}|http://magister.example:8555/drop/5"


def test_exports_come_in_their_order() -> None:
    text = onstart.render(given(), "http://m/drop/1")
    lines = text.splitlines()
    assert lines[0] == "su contemplant -c '"
    assert [line.partition("=")[0] for line in lines[1:6]] == [
        "export HOME",
        "export TMUX_TMPDIR",
        "export MAGISTER_DROP_ENDPOINT",
        "export HIEROPHANT_WS_ADDRESS",
        "export HTTP_PORT",
    ]
    assert lines[-1] == f"{ENTRYPOINT}'"


def test_no_key_of_the_account_and_no_token_goes_into_a_box() -> None:
    settings = given(token="token-of-the-operator")
    text = onstart.render(settings, onstart.drop_url(settings, 1, "00"))
    assert "key-of-the-account" not in text
    assert "token-of-the-operator" not in text


@pytest.mark.parametrize(
    "template", ["{exports}\nexec ENTRY", "bash -c '{exports}; echo ${#x} {a} >&1; exec ENTRY'"]
)
def test_a_template_of_the_operator_takes_the_exports_bare_or_in_single_quotes(
    tmp_path: Path, template: str
) -> None:
    contemplant = Contemplant(
        onstart_template=template.replace("ENTRY", ENTRYPOINT), ssh_authorized_keys=NASTY_KEYS
    )
    raw = started(
        onstart.render(given(contemplant), "http://m/drop/1"), tmp_path, "#!/bin/bash\nexec env -0\n"
    )
    assert f"SSH_AUTHORIZED_KEYS={NASTY_KEYS}\0".encode() in raw
    assert (b"0 {a}\n" in raw) == ("{a}" in template)


def test_the_drop_address_has_its_published_form() -> None:
    settings = given()
    assert onstart.drop_url(settings, 12345, None) == "http://magister.example:8555/drop/12345"
    assert onstart.drop_url(settings, 12345, "00ff") == "http://magister.example:8555/drop/12345?key=00ff"


def test_the_longest_text_is_no_shorter_than_any_real_one() -> None:
    key = callback_key.make("5" * 64, 9_999_999_999, "a1b2" * 4)
    text = onstart.render(given(), onstart.drop_url(given(), 9_999_999_999, key))
    assert len(text) <= onstart.longest(given()) == len(text) + 9


def test_a_text_longer_than_vast_takes_is_a_problem_with_its_length() -> None:
    room = onstart.LIMIT - onstart.longest(given(Contemplant(ssh_authorized_keys=public_key())))
    fits = given(Contemplant(ssh_authorized_keys=public_key(room)))
    over = given(Contemplant(ssh_authorized_keys=public_key(room + 1)))
    assert onstart.problems(fits) == ()
    assert onstart.problems(over) == (
        "onstart would be 4049 characters long, 1 more than the 4048 Vast takes:"
        " shorten contemplant.ssh_authorized_keys or contemplant.onstart_template",
    )
