"""Drops as files: what is put there is found again, by whoever looks, and a full disk has room for them."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from magister.web.drops.spool import Drop, Spool, place_for

AT = datetime(2026, 11, 28, 15, 30, 7, tzinfo=UTC)
KEY = "0123456789abcdef" * 2


def a_drop(offer_id: int = 77, *, key: str | None = None, why: str = "strikes: 3", at: datetime = AT) -> Drop:
    return Drop(offer_id=offer_id, key=key, why=why, heard_at=at)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    found = Spool(tmp_path / "drops")
    assert found.prepare() == ""
    return found


@pytest.mark.parametrize(
    "drop",
    [a_drop(), a_drop(key=KEY), a_drop(2**63 - 1), a_drop(why=""), a_drop(why="größer\nals 'vi\x00el'")],
)
def test_what_is_put_there_is_found_again(spool: Spool, drop: Drop) -> None:
    assert spool.put(drop)
    assert list(Spool(spool.place).drops()) == [drop]
    spool.remove(drop)
    assert (list(spool.drops()), spool.count()) == ([], 0)


def test_the_longest_known_comes_first(spool: Spool) -> None:
    drops = [a_drop(offer, at=AT.replace(minute=minute)) for offer, minute in ((1, 30), (2, 10), (3, 20))]
    for drop in drops:
        spool.put(drop)
    assert [drop.offer_id for drop in spool.drops()] == [2, 3, 1]


def test_one_asked_for_at_another_moment_is_the_same(spool: Spool) -> None:
    first, second = a_drop(), a_drop(at=AT.replace(hour=20))
    spool.put(first)
    assert spool.has(second)
    assert not spool.has(a_drop(key=KEY))
    assert not spool.has(a_drop(777))
    spool.put(second)
    spool.remove(first)
    assert spool.count() == 0


def test_without_room_for_the_reason_the_drop_is_there_all_the_same(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert spool.put(a_drop())
    assert list(spool.drops()) == [a_drop(why="")]


@pytest.mark.parametrize("call", ["open", "fsync"])
def test_what_the_disk_does_not_take_is_said(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def broken(*arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, broken)
    assert not spool.put(a_drop())


def test_a_key_that_is_none_lies_on_no_disk(spool: Spool) -> None:
    for key in ("../../etc", "", "x" * 5000, KEY.upper(), f"{KEY}\n", "\udcff"):
        assert not spool.put(a_drop(key=key))
    assert spool.count() == 0


def test_what_else_lies_there_is_let_lie(spool: Spool) -> None:
    assert spool.place
    for name in ("README", "77-open", "77-open-x", f"77-{KEY}-1764343722.bak", "-1-open-1"):
        (spool.place / name).touch()
    assert (spool.count(), list(spool.drops())) == (0, [])


def test_what_another_process_has_just_taken_away_is_passed_over(spool: Spool) -> None:
    spool.put(a_drop(1))
    spool.put(a_drop(2))
    found = spool.drops()
    assert next(found).offer_id == 1
    spool.remove(a_drop(2))
    assert list(found) == []


def test_nobody_else_may_read_them(spool: Spool) -> None:
    spool.put(a_drop(key=KEY))
    assert spool.place
    (file,) = spool.place.iterdir()
    assert (spool.place.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_where_it_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Spool(tmp_path / "file").prepare() == f"{tmp_path / 'file'}: File exists"
    assert (
        Spool(tmp_path / "none" / "drops").prepare()
        == f"{tmp_path / 'none' / 'drops'}: No such file or directory"
    )
    nowhere = Spool(None)
    assert nowhere.prepare()
    assert not nowhere.put(a_drop())
    assert (nowhere.count(), list(nowhere.drops()), nowhere.has(a_drop())) == (0, [], False)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("sqlite:///magister.db", Path("magister.db-drops")),
        ("sqlite:////var/lib/magister/pool.db", Path("/var/lib/magister/pool.db-drops")),
        ("sqlite://", None),
        ("postgresql+psycopg://magister:secret@host/pool", Path("pool-drops")),
        ("postgresql+psycopg://host/..%2Fpool", Path("pool-drops")),
        ("postgresql+psycopg://", Path("magister-drops")),
    ],
)
def test_the_folder_is_named_after_the_database(url: str, place: Path | None) -> None:
    assert place_for(url) == place
