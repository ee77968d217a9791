import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from core.files import sha256_of
from ingest import fingerprints
from ingest.fingerprints import Fingerprints, Look


def old(path: Path, content: str) -> str:
    """A file that was written long ago, as far as its times say."""
    path.write_text(content)
    os.utime(path, (time.time() - 3600,) * 2)
    return str(path)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_RACY_NS", 0)


def remembered(file: Path | None, path: str, owner: str = "one") -> Look:
    """What is known of a file after it was read once and remembered."""
    with Fingerprints(file, owner) as files:
        (look,) = files.look([path])
        files.remember(path, look)
    with Fingerprints(file, owner) as files:
        (look,) = files.look([path])
    return look


@pytest.mark.usefixtures("patient")
def test_an_unchanged_file_is_remembered_across_runs(tmp_path: Path) -> None:
    path = old(tmp_path / "a", "x")
    look = remembered(tmp_path / "deep" / "seen.sqlite", path)
    assert look.remembered
    assert look.sha256 == sha256_of(path)
    assert (tmp_path / "deep").stat().st_mode & 0o077 == 0


def test_a_file_modified_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    # Its own times may say otherwise: the time of change can't be set.
    assert not remembered(tmp_path / "seen", old(tmp_path / "a", "x")).remembered


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("how", ["grown", "same size and time", "another file", "touched"])
def test_a_changed_file_is_read_again(tmp_path: Path, how: str) -> None:
    path = old(tmp_path / "a", "x")
    times = Path(path).stat()
    assert remembered(tmp_path / "seen", path).remembered
    if how == "grown":
        Path(path).write_text("xy")
    elif how == "same size and time":  # only the time of change tells
        Path(path).write_text("z")
    elif how == "another file":
        Path(old(tmp_path / "b", "z")).rename(path)
    if how != "touched":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        os.utime(path)
    with Fingerprints(tmp_path / "seen", "one") as files:
        (look,) = files.look([path])
    assert not look.remembered
    assert look.sha256 == sha256_of(path)


@pytest.mark.usefixtures("patient")
def test_another_owner_and_no_trust_read_again(tmp_path: Path) -> None:
    path = old(tmp_path / "a", "x")
    assert remembered(tmp_path / "seen", path).remembered
    with Fingerprints(tmp_path / "seen", "one", trust=False) as files:
        assert not files.look([path])[0].remembered
    with Fingerprints(tmp_path / "seen", "two") as files:
        assert not files.look([path])[0].remembered


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("what", ["garbage", "another schema", "a folder", "no room"])
def test_a_cache_that_can_not_be_used_is_done_without(tmp_path: Path, what: str) -> None:
    path, file = old(tmp_path / "a", "x"), tmp_path / "seen"
    if what == "garbage":
        file.write_bytes(os.urandom(20_000))
    elif what == "another schema":
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE photo (path TEXT)")
        database.close()
    elif what == "a folder":
        file.mkdir()
    else:
        file = Path("/proc/nowhere/seen")
    assert remembered(file, path).sha256 == sha256_of(path)


def test_what_can_not_be_read_has_no_hash(tmp_path: Path) -> None:
    with Fingerprints(None, "one") as files:
        looks = files.look([str(tmp_path / "not there"), str(tmp_path), "nul\0", old(tmp_path / "a", "x")])
    assert [look.sha256 is None for look in looks] == [True, True, True, False]


@pytest.mark.usefixtures("patient")
def test_two_runs_at_once_share_a_cache(tmp_path: Path) -> None:
    paths = [old(tmp_path / str(number), str(number)) for number in range(50)]
    with Fingerprints(tmp_path / "seen", "one") as first, Fingerprints(tmp_path / "seen", "one") as second:
        for files, some in ((first, paths[:25]), (second, paths[25:])):
            for path, look in zip(some, files.look(some), strict=True):
                files.remember(path, look)
    with Fingerprints(tmp_path / "seen", "one") as files:
        assert all(look.remembered for look in files.look(paths))


def test_a_file_that_another_run_holds_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.fingerprints._LOCK_SECONDS", 0.1)
    file = tmp_path / "seen.sqlite"
    with Fingerprints(file, "owner"):
        pass
    inode = file.stat().st_ino
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with Fingerprints(file, "another owner") as files:
            assert files.look([str(file)])[0].sha256 is not None
    assert file.stat().st_ino == inode
