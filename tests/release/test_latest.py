"""The tag `latest`: it moves when a release is out, and moves back when a release is taken back."""

import json
from dataclasses import replace
from pathlib import Path

from tests.release import world
from tests.release.test_release import move, refused, verify
from tests.release.world import VERSION, Runner

NAMES = ("ghcr", "dh", "do")
NEXT = "1.2.4"


def promote(runner: Runner) -> None:
    """Point latest at the runner's release."""
    done = runner.run("latest.py", "promote", runner.files / "release-record.json")
    assert done.returncode == 0, done.stderr


def next_release(runner: Runner) -> Runner:
    """Release the next version after the runner's, and point latest at it."""
    folder = runner.folder / "next"
    world.image(folder / "image", world.installed("magister", NEXT))
    following = replace(runner, folder=folder)
    world.release(following, NEXT)
    promote(following)
    return following


def rollbacks(runner: Runner) -> list[Path]:
    """Return the records of roll-backs that lie with a release."""
    return sorted(runner.files.glob("rollback-*.json"))


def test_latest_does_not_move_before_it_is_told_to(released: Runner) -> None:
    latest = f"docker://{released.repositories['ghcr']}:latest"
    assert released.logged_in("skopeo", "inspect", "--tls-verify=false", latest).returncode != 0
    promote(released)
    for name in NAMES:
        assert released.digest(name, "latest") == released.digest(name, VERSION)


def test_a_release_is_rolled_back_and_that_is_recorded_and_signed(released: Runner) -> None:
    promote(released)
    following = next_release(released)
    assert following.digest("dh", "latest") == following.digest("dh", NEXT)

    done = following.run("rollback.sh", following.files, "workers do not start")

    assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert following.digest(name, "latest") == following.digest(name, VERSION)
    (path,) = rollbacks(following)
    record = json.loads(path.read_text())
    assert (record["version"], record["why"]) == (NEXT, "workers do not start")
    moved = {move["registry"]: (move["before"], move["after"]) for move in record["moves"]}
    assert moved == {name: (following.digest(name, NEXT), following.digest(name, VERSION)) for name in NAMES}
    assert verify(following).returncode == 0
    path.write_text(path.read_text().replace("workers do not start", "no reason"))
    refused(verify(following), path.name)


def test_a_roll_back_is_rolled_back_by_its_own_record(released: Runner) -> None:
    promote(released)
    following = next_release(released)
    assert following.run("rollback.sh", following.files, "by mistake").returncode == 0
    (path,) = rollbacks(following)
    assert following.run("latest.py", "rollback", path, "--why", "it was well").returncode == 0
    assert following.digest("do", "latest") == following.digest("do", NEXT)


def test_a_roll_back_that_stopped_half_way_is_finished_by_doing_it_again(released: Runner) -> None:
    promote(released)
    following = next_release(released)
    target = f"docker://{following.repositories['ghcr']}"
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    following.skopeo("copy", *plain, f"{target}:{VERSION}", f"{target}:latest")
    assert following.run("rollback.sh", following.files, "again").returncode == 0
    for name in NAMES:
        assert following.digest(name, "latest") == following.digest(name, VERSION)


def test_nothing_moves_if_somebody_moved_one_tag_since(released: Runner) -> None:
    promote(released)
    following = next_release(released)
    move(following, "do", "latest")
    refused(
        following.run("rollback.sh", following.files, "why"), following.repositories["do"], "moved it since"
    )
    assert following.digest("ghcr", "latest") == following.digest("ghcr", NEXT)
    assert not rollbacks(following)


def test_the_first_release_has_nothing_to_go_back_to(released: Runner) -> None:
    promote(released)
    refused(
        released.run("rollback.sh", released.files, "why"), "did not exist before", "nothing to roll back to"
    )
    assert released.digest("ghcr", "latest") == released.digest("ghcr", VERSION)


def test_a_record_that_was_changed_rolls_nothing_back(released: Runner) -> None:
    promote(released)
    following = next_release(released)
    path = following.files / "release-record.json"
    path.write_text(path.read_text().replace(following.digest("do", VERSION), "sha256:" + "0" * 64))
    refused(following.run("rollback.sh", following.files, "why"), "release-record.json")
    assert following.digest("do", "latest") == following.digest("do", NEXT)


def test_a_record_of_other_repositories_moves_nothing(released: Runner) -> None:
    path = released.files / "release-record.json"
    path.write_text(path.read_text().replace(released.name, "another"))
    refused(released.run("latest.py", "promote", path), "is none of the registries set up here")


def test_an_image_that_is_gone_is_not_promoted(released: Runner) -> None:
    path = released.files / "release-record.json"
    path.write_text(path.read_text().replace(released.digest("ghcr", VERSION), "sha256:" + "0" * 64))
    refused(released.run("latest.py", "promote", path), "has no image sha256:000000")


def test_a_file_that_is_no_record_is_refused_in_a_line(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"version": "1"}')
    refused(runner.run("latest.py", "promote", path), f"{path} is no record of a release")
