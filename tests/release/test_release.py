"""Releases on loopback: what is signed is what is served, and whoever changes either is found out."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.release import world
from tests.release.world import VERSION, Runner

SIGNED = ("image-digests.txt", "ghcr-manifest.json", "dh-manifest.json", "do-manifest.json")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert that a script refused in plain lines that have the words."""
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def verify(runner: Runner, *options: str) -> subprocess.CompletedProcess[str]:
    """Verify the runner's release as an operator does who has the key."""
    return runner.logged_in(world.SCRIPTS / "verify.sh", *options, runner.files, runner.key)


def other_image(runner: Runner) -> Path:
    """Make an image that is not the released one."""
    return world.image(runner.folder / "other", {"etc/motd": b"another"})


def move(runner: Runner, name: str, tag: str) -> None:
    """Point a tag of one registry at another image, as somebody with its password could."""
    target = f"docker://{runner.repositories[name]}:{tag}"
    runner.skopeo("copy", "--dest-tls-verify=false", f"dir:{other_image(runner)}", target)


def test_a_release_is_verified(downloaded: Runner) -> None:
    done = verify(downloaded)
    assert done.returncode == 0, done.stderr
    assert f"verified: {VERSION}" in done.stdout


def test_each_registry_serves_the_signed_manifest_byte_for_byte(downloaded: Runner) -> None:
    lines = (downloaded.files / "image-digests.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["ghcr", "dh", "do"]
    for line in lines:
        name, image = line.split()
        tagged, _, digest = image.partition("@")
        assert tagged == f"{downloaded.repositories[name]}:{VERSION}"
        served = downloaded.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{tagged}").encode()
        assert served == (downloaded.files / f"{name}-manifest.json").read_bytes()
        assert digest == f"sha256:{hashlib.sha256(served).hexdigest()}"


@pytest.mark.parametrize("name", [*SIGNED, "provenance.json", "release-record.json"])
def test_a_file_that_was_changed_is_not_verified(downloaded: Runner, name: str) -> None:
    path = downloaded.files / name
    path.write_bytes(path.read_bytes() + b"\n")
    refused(verify(downloaded, "--offline"), name, "is not what the owner of")


@pytest.mark.parametrize("name", SIGNED)
def test_a_file_that_is_missing_is_not_verified(downloaded: Runner, name: str) -> None:
    (downloaded.files / name).unlink()
    refused(verify(downloaded, "--offline"), name, "is missing")


@pytest.mark.parametrize("name", SIGNED)
def test_a_file_without_a_signature_is_not_verified(downloaded: Runner, name: str) -> None:
    (downloaded.files / f"{name}.asc").unlink()
    refused(verify(downloaded, "--offline"), name, "has no signature")


def test_a_release_that_another_key_signed_is_not_verified(downloaded: Runner) -> None:
    with world.keyring() as stranger:
        other = world.secrets(downloaded.folder / "other-secrets", stranger, downloaded.hosts)
        done = downloaded.run("verify.sh", "--offline", downloaded.files, other / "gpg_public_key")
    refused(done, "is not what the owner of")


def test_signed_files_of_another_release_do_not_pass_for_this_one(downloaded: Runner) -> None:
    """They are signed all the same; what gives them away is the digest that they are about."""
    other_image(downloaded).rename(downloaded.folder / "next")
    other = downloaded.folder / "next-files"
    assert downloaded.run("provenance.py", downloaded.folder / "next", "1.2.4", other).returncode == 0
    (other / "provenance.json").rename(downloaded.files / "provenance.json")
    downloaded.run("sign.sh", downloaded.files, downloaded.files / "provenance.json")
    refused(verify(downloaded, "--offline"), "provenance.json is not about sha256:")


@pytest.mark.parametrize("name", ["ghcr", "dh", "do"])
def test_a_tag_that_was_moved_is_not_verified(released: Runner, name: str) -> None:
    move(released, name, VERSION)
    refused(verify(released), f"{released.repositories[name]}:{VERSION} is not the image that was released")
    assert verify(released, "--offline").returncode == 0


def test_a_version_never_changes(released: Runner) -> None:
    done = released.run("push.py", other_image(released), VERSION, released.folder / "again")
    refused(done, "a release never changes", *released.repositories.values())
    assert verify(released).returncode == 0


def test_a_version_that_one_registry_has_otherwise_is_pushed_nowhere(runner: Runner) -> None:
    move(runner, "do", VERSION)
    refused(runner.run("push.py", runner.folder / "image", VERSION, runner.files), "a release never changes")
    listing = runner.logged_in(
        "skopeo", "list-tags", "--tls-verify=false", f"docker://{runner.repositories['ghcr']}"
    )
    assert listing.returncode != 0


def test_a_release_that_is_tried_again_is_the_same(released: Runner) -> None:
    before = {name: (released.files / name).read_bytes() for name in (*SIGNED, "release-record.json")}
    assert released.run("latest.py", "promote", released.files / "release-record.json").returncode == 0
    world.release(released)
    assert before == {name: (released.files / name).read_bytes() for name in before}


def test_a_wrong_password_is_told_in_a_line_without_it(runner: Runner) -> None:
    (runner.secrets / "dh_token").write_text("not-the-password")
    done = runner.run("push.py", runner.folder / "image", VERSION, runner.files)
    refused(done, runner.repositories["dh"], "cannot be read")
    assert "not-the-password" not in done.stderr


@pytest.mark.parametrize("form", ["armour", "base64 of packets"])
def test_keys_are_taken_in_every_form_that_a_runner_may_have_them(
    runner: Runner, key: Path, form: str
) -> None:
    arguments = [] if form == "base64 of packets" else ["--armor"]
    for name, what in (("gpg_private_key", "--export-secret-keys"), ("gpg_public_key", "--export")):
        exported = world.gpg_bytes(key, *arguments, what)
        text = exported if form == "armour" else base64.b64encode(exported)
        (runner.secrets / name).write_bytes(text)
    assert runner.run("push.py", runner.folder / "image", VERSION, runner.files).returncode == 0
    done = runner.run("sign.sh", runner.files)
    assert done.returncode == 0, done.stderr
    assert (runner.files / "gpg-public-key.asc").read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK")
    assert verify(runner, "--offline").returncode == 0


def test_a_secret_that_is_no_key_is_told_in_a_line(runner: Runner) -> None:
    runner.key.write_text("%")
    refused(runner.run("verify.sh", "--offline", runner.files, runner.key), "is no GPG public key")


def test_docker_shows_the_signed_manifest_by_the_documented_command(downloaded: Runner) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker's command line is not installed on this machine")
    page = (world.SCRIPTS.parents[1] / "docs" / "verifying-releases.md").read_text()
    (command,) = re.findall(r"^docker manifest inspect .*$", page, re.MULTILINE)
    image = f"{downloaded.repositories['ghcr']}:{VERSION}"
    command = command.replace("ghcr.io/OWNER/magister:0.1.0", image).replace(
        "--verbose", "--verbose --insecure"
    )
    login = [str(world.SCRIPTS / "registries.py"), "run", "sh", "-c"]
    assert downloaded.shell([*login, command], at=downloaded.files).returncode == 0
    changed = downloaded.files / "ghcr-manifest.json"
    changed.write_bytes(changed.read_bytes().replace(b"layers", b"lawers"))
    assert downloaded.shell([*login, command], at=downloaded.files).returncode != 0


def test_a_public_key_that_is_not_the_private_keys_is_noticed_when_signing(runner: Runner) -> None:
    assert runner.run("push.py", runner.folder / "image", VERSION, runner.files).returncode == 0
    with world.keyring() as stranger:
        runner.key.write_text(world.encoded(world.gpg(stranger, "--armor", "--export")))
    refused(runner.run("sign.sh", runner.files), "is not what the owner of")


def test_no_credential_is_left_behind_or_written_into_a_file(downloaded: Runner) -> None:
    done = downloaded.logged_in("sh", "-c", "echo $DOCKER_CONFIG; ls -l $REGISTRY_AUTH_FILE")
    folder, listing = done.stdout.splitlines()
    assert listing.startswith("-rw-------")
    assert not Path(folder).exists()
    written = b"".join(path.read_bytes() for path in downloaded.files.iterdir())
    for secret in (world.PASSPHRASE, "release-token", "PRIVATE KEY"):
        assert secret.encode() not in written


def test_the_provenance_names_image_commit_and_what_it_was_built_on(downloaded: Runner) -> None:
    statement = json.loads((downloaded.files / "provenance.json").read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert f"sha256:{statement['subject'][0]['digest']['sha256']}" == downloaded.digest("ghcr", VERSION)
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][0]["digest"]["gitCommit"] == "c" * 40
    assert definition["externalParameters"]["RUNTIME_IMAGE"] == "debian:run"


def test_a_signature_of_a_key_that_has_expired_is_not_verified(downloaded: Runner) -> None:
    """gpg itself only warns of it."""
    with world.keyring(made="20200101T000000") as old:
        past = world.secrets(downloaded.folder / "old-secrets", old, downloaded.hosts)
        for path in downloaded.files.glob("*.asc"):
            path.unlink()
        for path in downloaded.files.iterdir():
            world.gpg(old, "--faked-system-time", "20200101T000100", "--armor", "--detach-sign", str(path))
        done = downloaded.run("verify.sh", "--offline", downloaded.files, past / "gpg_public_key")
    refused(done, "is not what the owner of")
