import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core import files
from core.errors import PhotoError, UsageError
from photos import archives, places, streams
from photos.places import Dear, Place, Streamed
from photos.sources import PersonFrom, Source, check, photos

KINDS = ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"]
PHOTOS = {"Ada/2.jpg": b"two" * 5000, "Ada/1.jpg": b"one" * 512, "Ben/deep/3.jpg": b"", "top.jpg": b"top"}


def _archive(path: Path, content: Mapping[str, bytes] = PHOTOS) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in content.items():
                zipped.writestr(name, data)
        return path
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(path.name.rsplit(".", 1)[1], "w")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _code(place: Place) -> str:
    assert place.sha256() is None
    with pytest.raises(PhotoError) as refused:
        place.read()
    return refused.value.code


def _travelled(place: Place) -> Place:
    sent: Place = pickle.loads(pickle.dumps(place))  # noqa: S301
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_read_in_place_and_their_folder_names_the_person(tmp_path: Path, kind: str) -> None:
    archive = _archive(tmp_path / f"photos.{kind}")
    check([archive], PersonFrom.folder)
    found = list(photos([archive], PersonFrom.folder))
    assert found == [Source(f"{archive}!/{name}", person) for name, person in zip(PHOTOS, ["Ada", "Ada", "deep", None], strict=True)]
    assert [source.place.sha256() for source in found] == [hashlib.sha256(data).hexdigest() for data in PHOTOS.values()]
    assert [_travelled(source.place).read() for source in found] == list(PHOTOS.values())
    assert [_travelled(source.place).read() for source in reversed(found)] == list(PHOTOS.values())[::-1]
    assert found == list(photos([archive], PersonFrom.folder))
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("kind", KINDS)
def test_without_room_compressed_members_are_read_again(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dear, "_room", places._Room(10))
    archive = _archive(tmp_path / f"photos.{kind}")
    found = list(photos([archive], PersonFrom.none))
    assert [_travelled(source.place).read() for source in found] == list(PHOTOS.values())


def test_what_is_kept_makes_room_when_it_travels_or_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dear, "_room", room := places._Room(20_000))
    first, second, *_ = [place for _, place in archives.members(str(_archive(tmp_path / "photos.tgz")))]
    assert isinstance(second, Streamed)
    assert room._left < 20_000 - 15_000
    _travelled(first)
    del second, _
    assert room._left == 20_000


def test_hidden_members_and_folders_are_left_out_and_dots_are_plain(tmp_path: Path) -> None:
    content = {"./Ada/1.jpg": b"1", "__MACOSX/._1.jpg": b"2", ".git/config": b"3", "/Ben/2.jpg": b"4", "Folder/": b""}
    for kind in ("zip", "tar"):
        archive = _archive(tmp_path / f"photos.{kind}", content | {"../up.jpg": b"5"})
        names = [name for name, _ in archives.members(str(archive))]
        assert [name for name in names if name != "Folder"] == ["Ada/1.jpg", "Ben/2.jpg", "../up.jpg"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_member_can_be_named(tmp_path: Path, kind: str) -> None:
    archive = _archive(tmp_path / f"photos.{kind}")
    (one,) = photos([f"{archive}!/Ada/1.jpg"], PersonFrom.folder)
    assert (one.path, one.person, one.place.read()) == (f"{archive}!/Ada/1.jpg", "Ada", PHOTOS["Ada/1.jpg"])
    (none,) = photos([f"{archive}!/Ada/9.jpg"], PersonFrom.folder)
    assert _code(none.place) == "unreadable"


@pytest.mark.parametrize("kind", KINDS)
def test_large_members_are_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _archive(tmp_path / f"photos.{kind}", {"bomb.jpg": b"\0" * 5000, "1.jpg": b"fine"})
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    bomb, fine = photos([archive], PersonFrom.none)
    assert _code(bomb.place) == "too_large"
    assert fine.place.read() == b"fine"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
def test_a_zip_that_lies_about_sizes_is_refused(tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w", method) as zipped:
        zipped.writestr("1.jpg", bytes(50_000))
    data = bytearray(archive.read_bytes())
    at = data.rindex(b"PK\1\2") + 24
    for size in (10, 1_000_000):
        data[at : at + 4] = struct.pack("<I", size)
        archive.write_bytes(data)
        (one,) = photos([archive], PersonFrom.none)
        assert _code(one.place) == "unreadable"
    monkeypatch.setattr(files, "MAX_BYTES", 20_000)
    (one,) = photos([archive], PersonFrom.none)
    assert _code(one.place) == "too_large"


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "photos.zip", {"1.jpg": b"one"})
    data = bytearray(archive.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    (one,) = photos([archive], PersonFrom.none)
    assert _code(one.place) == "unreadable"
    with pytest.raises(PhotoError, match="encrypted"):
        one.place.read()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_or_empty_is_refused(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"photos.{kind}"
    for content in (b"no archive" * 200, b""):
        archive.write_bytes(content)
        with pytest.raises(UsageError, match=r"photos\.") as refused:
            check([archive], PersonFrom.folder)
        assert refused.value.code == "unreadable_archive"
    _archive(archive, {})
    with pytest.raises(UsageError) as empty:
        check([archive], PersonFrom.folder)
    assert empty.value.code == "empty_archive"


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("how", ["cut", "garbled"])
def test_a_broken_tar_gives_its_readable_members_and_one_reject(tmp_path: Path, kind: str, how: str) -> None:
    import random

    noise = random.Random(1).randbytes(1_200_000)  # bzip2 decompresses blocks of 900 kB
    archive = _archive(tmp_path / f"photos.{kind}", {"1.jpg": b"one", "2.jpg": noise, "3.jpg": b"three"})
    data = bytearray(archive.read_bytes())
    if how == "cut":
        data = data[: len(data) - 20_000]
    else:
        at = data.rindex(b"3.jpg") if kind == "tar" else len(data) - 200_000
        data[at : at + 200] = b"\xff" * 200
    archive.write_bytes(data)
    *found, last = photos([archive], PersonFrom.none)
    assert found[0].place.read() == b"one"
    assert len(found) <= (3 if how == "garbled" and kind in {"tar.gz", "tar.xz"} else 2)  # there, only the checksum at the end tells
    assert _code(last.place) == "unreadable"


def test_links_and_names_without_end_within_a_tar_become_rejects(tmp_path: Path) -> None:
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        long = tarfile.TarInfo("long")
        long.type, long.size = tarfile.GNUTYPE_LONGNAME, 3 << 20
        tar.addfile(long, io.BytesIO(bytes(3 << 20)))
    found = list(photos([archive], PersonFrom.none))
    assert [_code(source.place) for source in found] == ["unreadable", "unreadable"]


def test_photos_of_a_compressed_archive_are_decompressed_once_where_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dear, "_room", places._Room(10))
    monkeypatch.setattr(places, "_PASSED", 1000)
    monkeypatch.setattr(places, "_MOST_PASSED", 50_000)
    content = {f"{n}.jpg": bytes([n]) * 10_000 for n in range(20)}
    found = list(photos([_archive(tmp_path / "photos.tgz", content)], PersonFrom.none))
    monkeypatch.setattr(places, "_cursor", cursor := places._Cursor())
    opened: list[str] = []

    def opening(archive: str) -> AbstractContextManager[streams.Stream]:
        opened.append(archive)
        return streams.decompressed(archive)

    monkeypatch.setattr(places, "decompressed", opening)
    order = [n + 1 - 2 * (n % 2) for n in range(20)]  # each overtakes the one before it
    sent = [pickle.dumps(found[n].place) for n in order]
    assert len(opened) == 1
    assert sum(len(piece) for _, piece in cursor._passed) < 100_000
    monkeypatch.setattr(places, "decompressed", None)  # workers don't
    assert [pickle.loads(each).read() for each in sent] == [bytes([n]) * 10_000 for n in order]  # noqa: S301
    (tmp_path / "photos.tgz").write_bytes(b"gone")
    monkeypatch.setattr(places, "decompressed", streams.decompressed)
    monkeypatch.setattr(places, "_cursor", another := places._Cursor())
    assert _code(pickle.loads(pickle.dumps(Streamed(str(tmp_path / "photos.tgz"), 0, 10)))) == "unreadable"  # noqa: S301
    for each in (cursor, another):  # one that is only dropped warns of an open file, in whatever test comes then
        each._opened.close()
