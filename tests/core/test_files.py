import hashlib
import os
from pathlib import Path

import pytest

from core import files
from core.errors import PhotoError


def test_reads_and_hashes_the_same_bytes(tmp_path: Path) -> None:
    photo = tmp_path / "photo"
    photo.write_bytes(b"bytes" * 1000)
    assert files.sha256_of(photo) == hashlib.sha256(files.read(photo)).hexdigest()


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "device", "nul", "long", "loop"])
def test_what_is_not_a_file_is_unreadable_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # opening one waits for a writer, for ever
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "nul":
        path = tmp_path / "a\0b"
    elif kind == "long":
        path = tmp_path / ("x" * 300)
    elif kind == "loop":
        path.symlink_to("it")
    with pytest.raises(PhotoError) as caught:
        files.read(path)
    assert caught.value.code == "unreadable"
    assert files.sha256_of(path) is None


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    with pytest.raises(PhotoError) as caught:
        files.read(path)
    assert caught.value.code == "too_large"
    assert files.sha256_of(path) is None


def test_a_file_that_grows_while_it_is_read_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"x" * 10)
    real = os.fstat

    def before(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        status[6] = 5  # the size
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", before)
    with pytest.raises(PhotoError, match="grew"):
        files.read(path)
    assert files.sha256_of(path) is None
