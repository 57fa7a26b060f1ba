"""The commands of the pages on releases do what the pages say, on a release made up on loopback."""

from dataclasses import replace
from pathlib import Path

from tests.pages import DOCS, blocks
from tests.release import world
from tests.release.test_release import move
from tests.release.world import VERSION, Runner


def marked(page: str, mark: str) -> list[str]:
    """Return the commands of a page under a mark."""
    return [block.text for block in blocks(DOCS / page, "sh") if block.mark == mark]


def operator(runner: Runner) -> Runner:
    """Return the runner as an operator sees it: a keyring of one's own, and plain HTTP to loopback."""
    home = runner.folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    plain = home / ".config" / "containers" / "registries.conf"
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.write_text(
        "".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in runner.hosts.values())
    )
    return replace(runner, environment={"HOME": str(home), "GNUPGHOME": str(home)})


def run(runner: Runner, commands: str) -> str:
    """Run commands in the folder of the release's files as they stand, and return all that they say."""
    login = [str(world.SCRIPTS / "registries.py"), "run"]
    done = operator(runner).shell([*login, "sh", "-c", f"exec 2>&1\n{commands}"], at=runner.files)
    return done.stdout


def test_an_operator_who_copies_the_commands_sees_that_all_is_well(downloaded: Runner) -> None:
    key, signatures, digests, served = marked("verifying-releases.md", "on a release")
    assert "Nobody" in run(downloaded, key)
    said = run(downloaded, signatures)
    assert said.count("Good signature") == len(list(downloaded.files.glob("*.asc"))) - 1
    assert "DO NOT USE" not in said
    assert run(downloaded, digests).count(": OK") == 3
    assert run(downloaded, served) == "ghcr: the same\ndh: the same\ndo: the same\n"


def test_an_operator_who_copies_the_commands_sees_what_was_changed(released: Runner) -> None:
    key, signatures, digests, served = marked("verifying-releases.md", "on a release")
    run(released, key)
    move(released, "do", VERSION)
    assert "do-manifest.json differ" in run(released, served)
    path = released.files / "dh-manifest.json"
    path.write_text(path.read_text() + " ")
    assert "DO NOT USE: dh-manifest.json" in run(released, signatures)
    assert "dh-manifest.json: FAILED" in run(released, digests)


def test_the_commands_for_the_clone_are_those_of_the_scripts(downloaded: Runner) -> None:
    verifying, rolling_back = marked("verifying-releases.md", "beside a release")
    (downloaded.folder / "magister-0.1.0").symlink_to(downloaded.files)
    (downloaded.folder / ".github").symlink_to(world.SCRIPTS.parent)
    key = downloaded.files / "gpg-public-key.asc"
    (downloaded.folder / key.name).symlink_to(key)
    login = [str(world.SCRIPTS / "registries.py"), "run"]
    done = downloaded.shell([*login, "sh", "-c", verifying], at=downloaded.folder)
    assert done.stdout == f"verified: {VERSION} in magister-0.1.0\n"
    done = downloaded.shell(["sh", "-c", rolling_back], at=downloaded.folder)
    assert "there is nothing to roll back to" in done.stderr  # it is the first release


def test_the_tests_of_releases_are_where_the_page_says() -> None:
    (command,) = marked("workflow-testing.md", "")
    assert (DOCS.parent / command.split("ARGS=")[1].strip()) == Path(__file__).parent
