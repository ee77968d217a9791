"""Archives that were made to harm: what they cost, and that everything else in them is still found."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import files
from core.errors import PhotoError, UsageError
from core.web import Limits
from photos import archives, streams
from photos.sources import PersonFrom, Source, check, photos, place_of


def _counted(source: Path | str, most: int = 4 << 20) -> list[Source]:
    """The photos of a source, found in little memory."""
    tracemalloc.start()
    try:
        found = list(photos([source], PersonFrom.folder))
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    return found


def _why(source: Source) -> str:
    with pytest.raises(PhotoError) as refused:
        source.place.read()
    return refused.value.code


def _names(found: list[Source]) -> list[str]:
    return [source.path.partition("!/")[2] for source in found]


def _header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def _photo(name: str = "Ada/1.jpg", data: bytes = b"one") -> bytes:
    return _header(name, len(data)) + _padded(data)


def _pax(**records: str) -> bytes:
    data = b""
    for name, value in records.items():
        record = f" {name.replace('_', '.')}={value}\n".encode()
        data += b"%07d" % (len(record) + 7) + record
    return _header("pax", len(data), tarfile.XHDTYPE) + _padded(data)


def _gz(path: Path, *parts: bytes) -> Path:
    with gzip.open(path, "wb", 1) as file:
        for part in parts:
            file.write(part)
        file.write(bytes(1024))
    return path


def test_maps_of_sparse_files_are_not_expanded(tmp_path: Path) -> None:
    holes = 2_000_000
    data = b"%d\n" % holes + b"0\n" * (2 * holes)
    headers = {"GNU_sparse_major": "1", "GNU_sparse_minor": "0", "GNU_sparse_name": "s.jpg", "GNU_sparse_realsize": "10"}
    archive = _gz(tmp_path / "a.tar.gz", _pax(**headers), _header("x", len(data)), _padded(data), _photo())
    found = _counted(archive)
    assert _names(found) == ["s.jpg", "Ada/1.jpg"]
    assert (_why(found[0]), found[1].place.read()) == ("unreadable", b"one")


def test_old_maps_of_sparse_files_are_passed_over(tmp_path: Path) -> None:
    header = bytearray(_header("s.jpg", 3, tarfile.GNUTYPE_SPARSE))
    header[482] = 1
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    block = (b"1" * 11 + b" ") * 42 + b"\1" + bytes(7)
    blocks = [block] * 20_000 + [block[:504] + bytes(8)]
    found = _counted(_gz(tmp_path / "a.tar.gz", bytes(header), *blocks, _padded(b"abc"), _photo()))
    assert _names(found) == ["s.jpg", "Ada/1.jpg"]
    assert _why(found[0]) == "unreadable"


def test_headers_for_all_that_follow_are_not_kept(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        for n in range(60):
            record = b" k%d=" % n + b"x" * 500_000 + b"\n"
            record = b"%07d" % (len(record) + 7) + record
            yield _header("g", len(record), tarfile.XGLTYPE) + _padded(record) + _photo(f"{n}.jpg")

    assert len(_counted(_gz(tmp_path / "a.tar.gz", *parts()))) == 60


def test_long_names_and_sizes_of_pax_headers_are_read(tmp_path: Path) -> None:
    long = "Ada/" + "\u540d" * 100 + "/1.jpg"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(
            tmp_path / "a.tar", "w", format=form, pax_headers={"comment": "x"} if form == tarfile.PAX_FORMAT else None
        ) as tar:
            member = tarfile.TarInfo(long)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"one"))
        (found,) = photos([tmp_path / "a.tar"], PersonFrom.none)
        assert (_names([found]), found.place.read()) == ([long], b"one")
    (tmp_path / "b.tar").write_bytes(_pax(size="3", path="2.jpg") + _header("x", 0) + _padded(b"two") + _photo() + bytes(1024))
    found_there = list(photos([tmp_path / "b.tar"], PersonFrom.none))
    assert [(source.path.partition("!/")[2], source.place.read()) for source in found_there] == [("2.jpg", b"two"), ("Ada/1.jpg", b"one")]


@pytest.mark.parametrize("record", [b"", b"5", b"0 path=x\n", b"99999999999 path=x\n", b"-3 path=x\n", b"9 size=x\n", b"11 size=-12\n"])
def test_headers_that_make_no_sense_end_an_archive_in_a_reject(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(
        _photo() + _header("x", len(record), tarfile.XHDTYPE) + _padded(record) + _photo("2.jpg") + bytes(1024)
    )
    found = list(photos([tmp_path / "a.tar"], PersonFrom.none))
    assert _names(found)[0] == "Ada/1.jpg"
    assert _names(found)[1:] == (["the rest"] if record else ["2.jpg"])


def test_xz_gets_no_more_memory_than_is_good(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.xz"
    large = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    archive.write_bytes(lzma.compress(_photo() + bytes(1024), filters=large))
    with pytest.raises(UsageError, match="LZMAError"):
        check([archive], PersonFrom.none)
    archive.write_bytes(lzma.compress(_photo()) + lzma.compress(_photo("2.jpg") + bytes(1024)) + bytes(4))  # two parts, padded
    assert _names(list(photos([archive], PersonFrom.none))) == ["Ada/1.jpg", "2.jpg"]


@pytest.mark.parametrize("kind", ["tar.bz2", "tar.gz", "zip"])
def test_what_expands_beyond_measure_is_not_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE", 1 << 20)
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as zipped:
            zipped.writestr("Ada/1.jpg", b"one")
            zipped.writestr("bomb.jpg", bytes(5 << 20))
    else:
        data = _photo() + _photo("bomb.jpg", bytes(5 << 20)) + bytes(1024)
        archive.write_bytes(bz2.compress(data) if kind == "tar.bz2" else gzip.compress(data))
    found = list(photos([archive], PersonFrom.none))
    assert _names(found)[0] == "Ada/1.jpg"
    assert (_names(found)[-1], _why(found[-1])) == ("the rest", "too_large")


def test_members_without_end_are_not_all_told(tmp_path: Path) -> None:
    links = _header("1.jpg", 0, tarfile.SYMTYPE) * 2000
    found = sum(1 for _ in photos([_gz(tmp_path / "a.tar.gz", *[links] * 20)], PersonFrom.none))
    assert found < 20_000


def test_a_zip_is_not_believed_about_its_directory(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    size = 600 << 20
    with archive.open("wb") as file:  # sparse
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0))
    with pytest.raises(UsageError, match="BadZipFile"):
        _counted(archive)


def test_one_member_of_many_is_found_in_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.tar").open("wb") as file:
        file.writelines(_header(f"{n}/{n}.jpg") for n in range(15_000))
        file.write(_photo() + bytes(1024))
    (one,) = _counted(f"{tmp_path}/a.tar!/Ada/1.jpg", 1 << 20)
    assert (one.person, one.place.read()) == ("Ada", b"one")


def _zip(path: Path, **content: bytes) -> bytearray:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, data in content.items():
            zipped.writestr(name, data)
    return bytearray(path.read_bytes())


def test_one_name_that_is_not_what_it_claims_costs_nothing(tmp_path: Path) -> None:
    data = _zip(tmp_path / "a.zip", **{"Ad\u00e9/1.jpg": b"one", "Ben/2.jpg": b"two"})
    (tmp_path / "a.zip").write_bytes(bytes(data).replace("Ad\u00e9".encode(), b"Ad\xff\xfe"))
    check([tmp_path / "a.zip"], PersonFrom.folder)
    found = list(photos([tmp_path / "a.zip"], PersonFrom.folder))
    assert [(source.person, source.place.read()) for source in found] == [("Ad\udcff\udcfe", b"one"), ("Ben", b"two")]


def test_names_are_utf8_whatever_the_zip_says(tmp_path: Path) -> None:
    data = _zip(tmp_path / "a.zip", **{"Zo\u00eb/1.jpg": b"one"})
    data[data.index(b"PK\3\4") + 7] &= 0xF7
    data[data.index(b"PK\1\2") + 9] &= 0xF7
    (tmp_path / "a.zip").write_bytes(data)
    (one,) = photos([tmp_path / "a.zip"], PersonFrom.folder)
    assert (one.person, one.place.read()) == ("Zo\u00eb", b"one")


def test_backslashes_separate_folders_where_nothing_else_does(tmp_path: Path) -> None:
    data = _zip(tmp_path / "a.zip", **{"Ada/1.jpg": b"one"})
    (tmp_path / "a.zip").write_bytes(bytes(data).replace(b"Ada/1.jpg", b"Ada\\1.jpg"))
    (one,) = photos([tmp_path / "a.zip"], PersonFrom.folder)
    assert (_names([one]), one.person, one.place.read()) == (["Ada/1.jpg"], "Ada", b"one")


def test_large_and_shifted_zips_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = _zip(tmp_path / "a.zip", **{"Ada/1.jpg": b"one" * 10, "Ada/2.jpg": b"two" * 10, "Ada/": b""})
    assert b"PK\6\6" in data
    (tmp_path / "a.zip").write_bytes(b"#!/bin/sh\n" + data)
    found = list(photos([tmp_path / "a.zip"], PersonFrom.none))
    assert [pickle.loads(pickle.dumps(source.place)).read() for source in found] == [b"one" * 10, b"two" * 10]  # noqa: S301


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_members_of_one_name_have_addresses_of_their_own(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped, pytest.warns(UserWarning, match="Duplicate"):
            zipped.writestr("Ada/1.jpg", b"one")
            zipped.writestr("./Ada/1.jpg", b"two")
            zipped.writestr("Ada/1.jpg", b"three")
    else:
        data = _photo() + _photo("./Ada/1.jpg", b"two") + _photo("Ada/1.jpg", b"three") + bytes(1024)
        archive.write_bytes(data if kind == "tar" else gzip.compress(data))
    found = list(photos([archive], PersonFrom.folder))
    assert _names(found) == ["Ada/1.jpg", "Ada/1.jpg#2", "Ada/1.jpg#3"]
    assert [source.person for source in found] == ["Ada"] * 3
    assert [place_of(source.path, Limits()).read() for source in found] == [b"one", b"two", b"three"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_above_the_archive_can_be_named(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        _zip(archive, **{"../up.jpg": b"one"})
    else:
        archive.write_bytes(_photo("../up.jpg") + bytes(1024))
    (one,) = photos([archive], PersonFrom.none)
    (again,) = photos([one.path], PersonFrom.none)
    assert (again.path, again.place.read()) == (one.path, b"one")
    (tmp_path / "list.csv").write_text(f"path\na.{kind}!/../up.jpg\n")
    (listed,) = photos([tmp_path / "list.csv"], PersonFrom.csv)
    assert (listed.path, listed.place.read()) == (one.path, b"one")


def test_names_that_no_index_can_hold_become_rejects(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        _pax(path="L" * 40_000 + "/1.jpg") + _photo("x") + _pax(path="L" * 40_000 + "/2.jpg") + _photo("x") + _photo() + bytes(1024)
    )
    first, second, last = photos([tmp_path / "a.tar"], PersonFrom.folder)
    assert first.path != second.path
    assert len(first.path) < 300
    assert (first.person, _why(first)) == (None, "unreadable")
    assert last.place.read() == b"one"


def test_names_are_numbered_by_mistake_hardly_ever() -> None:
    names = archives._Names(100_000 * 512)
    assert sum(names.repeats(f"{n % 1000}/{n}.jpg") for n in range(100_000)) < 100
    assert all(names.repeats(f"{n % 1000}/{n}.jpg") for n in range(0, 100_000, 1000))


def test_a_member_of_a_zip_is_as_large_as_allowed_and_no_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _zip(tmp_path / "a.zip", **{"1.jpg": b"x" * 1000, "2.jpg": b"x" * 1001})
    found = list(photos([tmp_path / "a.zip"], PersonFrom.none))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    assert len(found[0].place.read()) == 1000
    assert _why(found[1]) == "too_large"
