"""Run the image with the settings that `magister check` reads here, for `make run`.

container.py usable ENGINE RUN_ARGUMENTS…: say what would keep a container from these settings; exit code 2.
container.py ENGINE run ARGUMENTS…: run that command with those settings, and with their port published.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from magister.errors import BadSettings
from magister.service.exit import complain
from magister.settings.contemplant import PROVER_VARIABLES
from magister.settings.describe import known
from magister.settings.model import DOTENV, FILE, Settings, load, value
from magister.settings.sources import variables_in

READER = 1000
"""The user in the container."""

PRIVATE = Path("out")
"""Where the file of variables lies until the engine has read it; git and the image leave this out."""


NOTHING = Path(os.devnull)


def main() -> None:
    """Do what the words name."""
    words = sys.argv[1:]
    try:
        if words[0] != "usable":
            sys.exit(run(words))
        require_usable(words[1:])
    except BadSettings as error:
        sys.exit(complain(error))


def require_usable(command: Sequence[str]) -> None:
    """Raise BadSettings if a container would not come to read what is set here."""
    if problems := unreadable(FILE, command) or changed():
        raise BadSettings(problems)


def changed() -> tuple[str, ...]:
    """Name each setting whose value would not reach the container as it is; raises BadSettings."""
    here = load(None).settings
    there = load(None, variables(), dotenv=NOTHING).settings
    return tuple(
        f"{setting.name} cannot be given to a container in a variable: set it in {FILE}"
        for setting in known(Settings)
        if value(here, setting) != value(there, setting)
    )


def unreadable(file: Path, command: Sequence[str]) -> tuple[str, ...]:
    """Say how the user in the container comes to read `file`, if it cannot.

    `command` = the engine and what it is told beside the rest.
    """
    seen = file.stat()
    rootless = Path(command[0]).name == "podman" and os.geteuid() != 0
    if seen.st_mode & 0o004 or any(word.startswith("--userns") for word in command):
        return ()
    if rootless:
        cure = f"DOCKER_RUN_ARGS=--userns=keep-id:uid={READER},gid={READER}"
        why = f"podman runs without root, and the user in its container ({READER}) is nobody here"
    elif seen.st_uid != READER:
        cure, why = f"chown {READER} {file}", f"the user in the container is {READER}"
    else:
        return ()
    return (f"{file} cannot be read in the container, for {why}: {cure}, or chmod o+r {file}",)


def variables() -> dict[str, str]:
    """Return what the container is given: the variables of .env, and over them those of the environment.

    Of the environment only what .env names or what is a setting. Raises BadSettings.
    """
    given = dict(variables_in(DOTENV).values)
    settings = {name for setting in known(Settings) for name in setting.variables} | set(PROVER_VARIABLES)
    for name in {*given, *settings}:
        if here := os.environ.get(name, "").strip():
            given[name] = here
    # an engine takes one line for a value; where there may be several, Magister takes \n for their ends
    return {name: text.replace("\n", "\\n") for name, text in given.items()}


def run(command: Sequence[str]) -> int:
    """Run the engine's command with those variables and the port in force, and return its exit code.

    They go by a file that only this user can read: a command line is shown to everyone, and `sudo` drops the
    environment. An engine takes its lines as they are, so they hold values as Magister has read them.
    Raises BadSettings.
    """
    at = command.index("run") + 1
    port = load(None).settings.http_port
    published = any(word.startswith(("--publish", "-p", "-P")) for word in command)
    own = () if published else ("--publish", f"{port}:{port}")
    PRIVATE.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=PRIVATE, prefix="container-", suffix=".env") as file:
        file.writelines(f"{name}={text}\n" for name, text in variables().items())
        file.flush()
        words = (*command[:at], "--env-file", file.name, *own, *command[at:])
        return subprocess.run(words, check=False).returncode  # noqa: S603 - what the Makefile says


if __name__ == "__main__":
    main()
