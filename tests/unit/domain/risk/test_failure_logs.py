"""What is kept of the logs of a box that failed: the last lines, no secret, and how it failed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from magister.domain.risk.failure_logs import LIMIT, LINES, Findings, findings, in_a_line, legible, refined
from magister.service.logging import masker
from magister.states import Failure

KEY = "the-key-of-the-account"
MASK = masker((SecretStr(KEY),))


def found(log: str, failure: Failure | None = Failure.NEVER_VERIFIED) -> Findings:
    return findings(log, failure, MASK)


def test_the_last_lines_are_kept() -> None:
    kept = found("\n".join(f"line {n}" for n in range(100))).words.splitlines()
    assert (len(kept), kept[0], kept[-1]) == (LINES, "line 60", "line 99")


def test_long_lines_leave_room_for_no_more_than_the_limit() -> None:
    kept = found("\n".join(f"{n} " + "word " * 500 for n in range(100))).words
    assert len(kept) <= LIMIT
    assert kept.splitlines()[-1].startswith("99 word")


def test_an_endless_line_does_not_push_the_others_out() -> None:
    kept = found("first\n" + "x y " * 100_000 + "\nlast").words.splitlines()
    assert (kept[0], kept[-1]) == ("first", "last")


@pytest.mark.parametrize(
    "line",
    [
        f"calling with {KEY} now",
        "GET http://203.0.113.7:8555/verify/5?key=0123456789abcdef0123456789abcdef",
        "mac 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "CONTAINER_API_KEY=0a1b2c",
        'export HF_TOKEN="hunter2!"',
        "password: hunter2!",
        "Authorization: Bearer hunter2.hunter2",
        "postgresql://me:hunter2@db/prod",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHunter2Hunter2Hunter2 alice",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2hunter2\nhunter2\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2 which is cut off",
        "jwt eyJhbGciOi.eyJzdWIiOi.c2lnbmF0",
        "with ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    ],
)
def test_what_is_or_looks_like_a_secret_is_not_kept(line: str) -> None:
    kept = found(f"before\n{line}\n").words
    for secret in (KEY, "hunter2", "0123456789abcdef", "0a1b2c", "AAAAC3Nz", "eyJhbG", "16C7e42F"):
        assert secret not in kept
    assert kept.startswith("before")
    assert "***" in kept


@pytest.mark.parametrize(
    "line",
    [
        "OCI runtime create failed: runc create failed: unable to start container process",
        "manifest for example/worker:1.2 not found: manifest unknown: manifest unknown",
        "KeyError: 'model'",
        "2026-11-24T12:00:00Z  INFO contemplant: connecting to ws://203.0.113.8:9010/ws",
        "nvidia-smi cannot communicate with the NVIDIA driver /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    ],
)
def test_what_explains_a_failure_stays_as_it_is(line: str) -> None:
    assert found(line).words == line


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_whatever_a_log_holds_what_is_kept_can_be_shown_and_stored(log: str) -> None:
    kept = found(log).words
    assert all(char.isprintable() or char in "\n\t" for char in kept)
    assert "\x00" not in kept
    kept.encode()


def test_colours_go_without_a_trace() -> None:
    assert legible("\x1b[31mred\x1b[0m \x1b]0;title\x07text\r\n", MASK) == "red text\n"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("OCI runtime create failed: runc create failed", Failure.DRIVER_OCI),
        ("Failed to initialize NVML: Driver/library version mismatch", Failure.DRIVER_OCI),
        ("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8", Failure.DRIVER_OCI),
        ("manifest for a/b:c not found: manifest unknown", Failure.IMAGE_PULL),
        ("pull access denied for a/b, repository does not exist", Failure.IMAGE_PULL),
        ("unauthorized: authentication required", Failure.IMAGE_PULL),
        ("write /layer.tar: no space left on device", Failure.DISK_FULL),
        ("all is well", Failure.NEVER_VERIFIED),
    ],
)
def test_the_words_tell_how_a_box_failed_that_never_worked(words: str, kind: Failure) -> None:
    assert found(f"begin\n{words}\nend").failure is kind


def test_of_a_box_that_worked_the_words_tell_nothing_finer() -> None:
    assert refined(Failure.DIED, "no space left on device") is Failure.DIED
    assert refined(None, "no space left on device") is None


def test_the_line_that_tells_most_is_shown() -> None:
    assert in_a_line("start\nError: OCI runtime create failed\nbye") == "Error: OCI runtime create failed"
    assert in_a_line("start\nbye  now") == "bye now"
    assert in_a_line(None) == in_a_line(" \n") == ""
    assert len(in_a_line("x" * 500)) == 160
