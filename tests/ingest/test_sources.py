import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from ingest.sources import PersonFrom, Source, check, photos, walk


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_the_folder_of_a_photo_names_its_person(tmp_path: Path) -> None:
    _make(tmp_path, "Ada/2.jpg", "Ada/1.jpg", "Ben/deep/down/3.jpg")
    found = list(photos([tmp_path], PersonFrom.folder))
    assert found == [
        Source(tmp_path / "Ada/1.jpg", "Ada"),
        Source(tmp_path / "Ada/2.jpg", "Ada"),
        Source(tmp_path / "Ben/deep/down/3.jpg", "down"),
    ]


def test_nobody_is_named_when_asked_so(tmp_path: Path) -> None:
    _make(tmp_path, "Ada/1.jpg")
    assert [source.person for source in photos([tmp_path], PersonFrom.none)] == [None]


def test_files_of_every_name_are_photos_but_hidden_ones(tmp_path: Path) -> None:
    _make(tmp_path, "a", "b.txt", ".hidden", ".git/config", "c.JPG")
    assert [path.name for path in walk(tmp_path)] == ["a", "b.txt", "c.JPG"]


def test_paths_are_absolute_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(tmp_path, "a/1.jpg", "b/2.jpg")
    monkeypatch.chdir(tmp_path / "a")
    assert [source.path for source in photos([Path(), Path("../b/2.jpg")], PersonFrom.none)] == [
        tmp_path / "a/1.jpg",
        tmp_path / "b/2.jpg",
    ]
    assert [source.person for source in photos([Path()], PersonFrom.folder)] == ["a"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    _make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    found = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)]
    assert found[0] == "a/1.jpg"
    assert "linked/1.jpg" in found
    assert len(found) < 10


def test_what_cannot_be_looked_into_is_given_out_to_become_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("not there")
    real = os.listdir

    def closed(folder: Path) -> list[str]:
        if folder.name == "b":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("ingest.sources.os.listdir", closed)  # root may look into every folder
    assert [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)] == ["a/1.jpg", "b", "loop", "nowhere"]


def test_a_pipe_is_no_list_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(UsageError, match="columns path and person"):
        check([tmp_path / "list.csv"], PersonFrom.csv)


def test_csv_lists_name_photos_and_people(tmp_path: Path) -> None:
    _make(tmp_path, "photos/1.jpg")
    listed = tmp_path / "list.csv"
    listed.write_text("\ufeffpath,person,camera\nphotos/1.jpg,Ada Lovelace,left\n/abs/2.jpg,,right\n,,\n", encoding="utf-8")
    check([listed], PersonFrom.csv)
    assert list(photos([listed], PersonFrom.csv)) == [Source(tmp_path / "photos/1.jpg", "Ada Lovelace"), Source(Path("/abs/2.jpg"), None)]


@pytest.mark.parametrize("text", ["", "file,name\na,b\n", "\xff\xfe"])
def test_a_csv_list_without_its_columns_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="columns path and person"):
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
    found = [path.relative_to(folder).as_posix() for path in walk(folder)]
    assert sorted(found) == sorted(names)
    assert found == [path.relative_to(folder).as_posix() for path in walk(folder)]
