import io
import os
import pickle
import re
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PhotoError, UsageError
from core.web import Limits
from photos.sources import PersonFrom, Source, check, photos, walk


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_the_folder_of_a_photo_names_its_person(tmp_path: Path) -> None:
    _make(tmp_path, "Ada/2.jpg", "Ada/1.jpg", "Ben/deep/down/3.jpg")
    found = list(photos([tmp_path], PersonFrom.folder))
    assert found == [
        Source(f"{tmp_path}/Ada/1.jpg", "Ada"),
        Source(f"{tmp_path}/Ada/2.jpg", "Ada"),
        Source(f"{tmp_path}/Ben/deep/down/3.jpg", "down"),
    ]


def test_nobody_is_named_when_asked_so(tmp_path: Path) -> None:
    _make(tmp_path, "Ada/1.jpg")
    assert [source.person for source in photos([tmp_path], PersonFrom.none)] == [None]


def test_files_of_every_name_are_photos_but_hidden_ones(tmp_path: Path) -> None:
    _make(tmp_path, "a", "b.txt", ".hidden", ".git/config", "c.JPG")
    assert [Path(path).name for path in walk(str(tmp_path))] == ["a", "b.txt", "c.JPG"]


def test_paths_are_absolute_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(tmp_path, "a/1.jpg", "b/2.jpg")
    monkeypatch.chdir(tmp_path / "a")
    assert [source.path for source in photos([Path(), Path("../b/2.jpg")], PersonFrom.none)] == [
        f"{tmp_path}/a/1.jpg",
        f"{tmp_path}/b/2.jpg",
    ]
    assert [source.person for source in photos([Path()], PersonFrom.folder)] == ["a"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    _make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    found = [Path(path).relative_to(tmp_path).as_posix() for path in walk(str(tmp_path))]
    assert found[0] == "a/1.jpg"
    assert "linked/1.jpg" in found
    assert len(found) < 10


def test_folders_that_link_each_other_are_entered_once(tmp_path: Path) -> None:
    names = [f"d{n}" for n in range(7)]
    _make(tmp_path, *(f"{name}/1.jpg" for name in names))
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / other).symlink_to(tmp_path / other)
    found = list(walk(str(tmp_path)))
    assert len(found) <= 2 * len(names)
    assert {f"{tmp_path}/{name}/1.jpg" for name in names} <= set(found)


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with z.jpg, and 1.jpg 1,100 folders further down. Taken away again: pytest's own clean-up, which recurses, cannot."""
    _make(tmp_path, "z.jpg")
    monkeypatch.chdir(tmp_path)
    for _ in range(1100):
        Path("a").mkdir()
        os.chdir("a")
    Path("1.jpg").write_bytes(b"x")
    yield tmp_path
    Path("1.jpg").unlink()
    for _ in range(1100):
        os.chdir("..")
        Path("a").rmdir()


def test_folders_may_be_nested_a_thousand_times(deep: Path) -> None:
    check([deep], PersonFrom.folder)
    found = [source.path for source in photos([deep], PersonFrom.folder)]
    assert [path.rpartition("/")[2] for path in found] == ["1.jpg", "z.jpg"]


def test_what_cannot_be_looked_into_is_given_out_to_become_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("not there")
    real = os.scandir

    def closed(folder: str) -> Any:
        if folder.endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("photos.sources.os.scandir", closed)  # root may look into every folder
    assert [Path(path).relative_to(tmp_path).as_posix() for path in walk(str(tmp_path))] == ["a/1.jpg", "b", "loop", "nowhere"]


def test_a_pipe_is_no_list_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(UsageError, match="column path"):
        check([tmp_path / "list.csv"], PersonFrom.csv)


def test_csv_lists_name_photos_and_people(tmp_path: Path) -> None:
    _make(tmp_path, "photos/1.jpg")
    listed = tmp_path / "list.csv"
    listed.write_text("\ufeffpath,person,camera\nphotos/1.jpg,Ada Lovelace,left\n/abs/2.jpg,,right\n,,\n", encoding="utf-8")
    check([listed], PersonFrom.csv)
    assert list(photos([listed], PersonFrom.csv)) == [
        Source(f"{tmp_path}/photos/1.jpg", "Ada Lovelace", {"camera": "left"}),
        Source("/abs/2.jpg", None, {"camera": "right"}),
    ]


@pytest.mark.parametrize("text", ["", "file,name\na,b\n", "\xff\xfe"])
def test_a_csv_list_without_its_columns_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="column path"):
        check([tmp_path / "list.csv"], PersonFrom.csv)


def test_a_missing_source_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as missing:
        check([tmp_path / "not there"], PersonFrom.folder)
    assert missing.value.code == "no_such_source"
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(UsageError, match="no file or folder"):
        check([tmp_path / ("x" * 300)], PersonFrom.folder)
    with pytest.raises(UsageError) as empty:
        check([tmp_path], PersonFrom.folder)
    assert empty.value.code == "empty_folder"


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")  # noqa: PTH118 - bytes
    try:
        with open(name, "wb") as file:  # noqa: PTH123
            file.write(b"x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (found,) = photos([tmp_path], PersonFrom.none)
    assert os.fsencode(found.path) == name


@given(st.lists(st.sampled_from(["a/1", "a/2", "b/c/3", "4", "b/5"]), unique=True, min_size=1))
def test_every_file_comes_once_and_in_the_same_order(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tree")
    _make(folder, *names)
    found = [Path(path).relative_to(folder).as_posix() for path in walk(str(folder))]
    assert found == sorted(names, key=lambda name: name.split("/"))


def test_lists_name_members_of_archives_and_addresses(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("Ada/1.jpg", b"one")
    fsspec.filesystem("memory").pipe("/listed/2.jpg", b"two")
    (tmp_path / "3.jpg").write_bytes(b"three")
    rows = [
        "a.zip!/Ada/1.jpg",
        "memory://listed/2.jpg",
        f"file://{tmp_path}/3.jpg",
        "http://ada:secret@127.0.0.1:1/4.jpg",
        "simplecache::memory://x",
    ]
    (tmp_path / "list.csv").write_text("path,,set,empty\n" + "".join(f"{row},0,train,\n" for row in rows))
    check([tmp_path / "list.csv"], PersonFrom.csv)
    found = list(photos([tmp_path / "list.csv"], PersonFrom.csv))
    assert [source.path for source in found] == [
        *(
            f"{tmp_path}/a.zip!/Ada/1.jpg",
            "memory://listed/2.jpg",
            f"{tmp_path}/3.jpg",
            "http://127.0.0.1:1/4.jpg",
            "simplecache::memory://x",
        ),
    ]
    assert {tuple(source.labels.items()) for source in found} == {(("set", "train"),)}
    assert [source.place.read() for source in found[:3]] == [b"one", b"two", b"three"]
    for source, code in zip(found[3:], ["forbidden", "unreadable"], strict=True):
        assert source.place.sha256() is None
        with pytest.raises(PhotoError) as refused:
            pickle.loads(pickle.dumps(source.place)).read()  # noqa: S301
        assert refused.value.code == code


@pytest.mark.parametrize("column", ["x" * 256, "a\0b"])
def test_columns_that_no_label_can_be_named_after_are_refused(tmp_path: Path, column: str) -> None:
    (tmp_path / "list.csv").write_text(f"path,{column}\n1.jpg,x\n")
    with pytest.raises(UsageError, match="label"):
        check([tmp_path / "list.csv"], PersonFrom.csv)


def test_folders_of_other_file_systems_are_walked_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    files = fsspec.filesystem("memory")
    for name in ("Ben/2.jpg", "Ada/1.jpg", ".hidden/3.jpg", "Ada/.4.jpg", "top.jpg"):
        files.pipe(f"/bucket/photos/{name}", name.encode())
    check(["memory://bucket/photos/"], PersonFrom.folder)
    found = list(photos(["memory://bucket/photos/"], PersonFrom.folder))
    assert [(source.path, source.person) for source in found] == [
        ("memory://bucket/photos/Ada/1.jpg", "Ada"),
        ("memory://bucket/photos/Ben/2.jpg", "Ben"),
        ("memory://bucket/photos/top.jpg", "photos"),
    ]
    assert [source.place.read() for source in found] == [b"Ada/1.jpg", b"Ben/2.jpg", b"top.jpg"]
    (one,) = photos(["memory://bucket/photos/Ben/2.jpg"], PersonFrom.folder)
    assert (one.person, one.place.sha256()) == ("Ben", found[1].place.sha256())
    monkeypatch.setattr("core.remote.MAX_BYTES", 3)
    (again,) = photos(["memory://bucket/photos/top.jpg"], PersonFrom.folder)
    with pytest.raises(PhotoError, match="more than"):
        again.place.read()


def test_neither_servers_nor_passwords_name_a_person() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/ada:secret@host/1.jpg", b"x")
    for source in ("memory://ada:secret@host/1.jpg", "memory://ada:secret@host"):
        assert list(photos([source], PersonFrom.folder)) == [Source("memory://host/1.jpg", None)]
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("Ada/1.jpg", b"one")
    files.pipe("/ada:secret@host/a.zip", zipped.getvalue())
    (one,) = photos(["memory://ada:secret@host/a.zip!/Ada/1.jpg"], PersonFrom.folder)
    assert (one.path, one.person, one.place.read()) == ("memory://host/a.zip!/Ada/1.jpg", "Ada", b"one")
    files.pipe("/ada:secret@host/bad.zip", b"nope")
    for source in ("memory://ada:secret@host/bad.zip", "memory://ada:secret@host/none", "https://ada:secret@host/a.zip"):
        with pytest.raises(UsageError) as refused:
            check([source], PersonFrom.folder)
        assert "secret" not in str(refused.value)


def test_what_may_lead_into_private_networks_needs_to_be_allowed() -> None:
    with pytest.raises(UsageError, match="private"):
        check(["ftp://127.0.0.1:1/1.jpg"], PersonFrom.folder, Limits())
    with pytest.raises(UsageError, match="private"):
        list(photos(["ftp://127.0.0.1:1/1.jpg"], PersonFrom.folder, Limits()))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_of_other_file_systems_are_read_in_place(kind: str) -> None:
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as zipped:
            zipped.writestr("Ada/1.jpg", b"one")
    else:
        with tarfile.open(fileobj=data, mode="w:gz" if kind == "tar.gz" else "w") as tar:
            member = tarfile.TarInfo("Ada/1.jpg")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"one"))
    fsspec.filesystem("memory").pipe(f"/bucket/a.{kind}", data.getvalue())
    check([f"memory://bucket/a.{kind}"], PersonFrom.folder)
    (found,) = photos([f"memory://bucket/a.{kind}"], PersonFrom.folder)
    assert (found.path, found.person) == (f"memory://bucket/a.{kind}!/Ada/1.jpg", "Ada")
    assert pickle.loads(pickle.dumps(found.place)).read() == b"one"  # noqa: S301


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("s3://bucket/photos", "facedex[s3]"),
        ("gs://bucket/photos", "facedex[gcs]"),
        ("nonsense://bucket", "no kind of address"),
        ("simplecache::memory://bucket", "no kind of address"),
        ("memory://not/there", "nothing at"),
        ("memory://not/there.zip", "nothing at"),
        ("https://example.org/photos.zip", "bring"),
        ("file:///no/such/folder", "no file or folder"),
        ("file://photo.jpg", "three slashes"),
        ("file://[1].jpg", "three slashes"),
        ("http://[bad/1.jpg", "misspelled"),
        ("http://exam\u2100ple.com/1.jpg", "misspelled"),
    ],
)
def test_addresses_that_cannot_be_sources_are_refused_in_one_sentence(source: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError, match=re.escape(words)):
        check([source], PersonFrom.folder)


def test_photos_of_the_web_are_one_photo_each() -> None:
    check(["https://example.org/people/Ada%20L/1.jpg?size=2"], PersonFrom.folder)
    (found,) = photos(["https://example.org/people/Ada%20L/1.jpg?size=2"], PersonFrom.folder)
    assert (found.path, found.person) == ("https://example.org/people/Ada%20L/1.jpg?size=2", "Ada L")


@given(
    names=st.lists(st.sampled_from(["a/1", "a/2", "b/c/3", "4", "b/5"]), unique=True, min_size=1),
    kind=st.sampled_from(["zip", "tar", "memory"]),
)
def test_every_photo_of_a_source_comes_once_and_in_the_same_order(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], kind: str
) -> None:
    folder = tmp_path_factory.mktemp("source")
    _make(folder, *names)
    source = str(folder / f"a.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as zipped:
            for name in names:
                zipped.write(folder / name, name)
    elif kind == "tar":
        with tarfile.open(source, "w") as tar:
            for name in names:
                tar.add(folder / name, name)
    else:
        source = f"memory://{folder}"
        fsspec.filesystem("memory").put(str(folder), str(folder), recursive=True)
    found = [each.path for each in photos([source], PersonFrom.none)]
    mark = "/" if kind == "memory" else "!/"
    ordered = sorted(names, key=lambda name: name.split("/")) if kind == "memory" else names
    assert found == [f"{source}{mark}{name}" for name in ordered]


@pytest.mark.parametrize("kind", ["csv", "tar"])
def test_memory_stays_flat_whatever_the_number_of_photos(tmp_path: Path, kind: str) -> None:
    count, source = 200_000, tmp_path / f"photos.{kind}"
    if kind == "csv":
        source.write_text("path,person,camera\n" + "".join(f"{n % 100}/{n}.jpg,Person {n % 7000},left\n" for n in range(count)))
    else:
        count = 20_000
        with tarfile.open(source, "w") as tar:
            for n in range(count):
                tar.addfile(tarfile.TarInfo(f"{n % 100}/{n}.jpg"))
                tar.members = []  # type: ignore[attr-defined]
    tracemalloc.start()
    try:
        assert sum(1 for _ in photos([source], PersonFrom.csv if kind == "csv" else PersonFrom.folder)) == count
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
