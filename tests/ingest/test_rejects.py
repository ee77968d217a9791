"""Which photos a retry takes, and for whom. (tests/cli/test_rejects.py does it on Elasticsearch.)"""

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.errors import PhotoError
from core.web import Limits
from ingest import rejects, rejects_commands
from ingest.rejects import Retry
from ingest.writer import text
from photos.sources import PersonFrom, Source, photos


@pytest.fixture
def retry(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(*stored: tuple[str, str | None], limits: Limits = Limits()) -> tuple[Retry, list[Source]]:  # noqa: B008
        hits = [{"_source": {"image": {"path": path}, **({"person": person} if person else {})}} for path, person in stored]
        monkeypatch.setattr(rejects, "scan", lambda *_, **__: iter(hits))
        again = Retry(None, "faces", limits=limits)  # type: ignore[arg-type]
        return again, list(again.photos())

    return of


def _why(source: Source) -> tuple[str, str]:
    with pytest.raises(PhotoError) as refused:
        source.place.read()
    return refused.value.code, str(refused.value)


def test_a_retry_takes_each_photo_from_where_it_was_for_its_person(tmp_path: Path, retry: Any) -> None:
    (tmp_path / "Ada").mkdir()
    (tmp_path / "Ada" / "1.jpg").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "Ada" / "b.zip", "w") as zipped:
        zipped.writestr("Ben/2.jpg", b"two")
        zipped.writestr("Cleo/3.jpg", b"three")
    stored = [(source.path, source.person) for source in photos([tmp_path / "Ada", tmp_path / "Ada" / "b.zip"], PersonFrom.folder)]
    again, found = retry(*stored)
    assert [(source.path, source.person) for source in found] == stored
    assert found[0].kept_in is None  # a file, as when it was ingested
    assert found[1].path.endswith("b.zip")
    assert found[1].place.read().startswith(b"PK")  # the file itself, which is no photo
    assert [source.place.read() for source in found[2:]] == [b"two", b"three"]
    (tmp_path / "Ada" / "b.zip").unlink()
    again, found = retry(*stored)
    assert (again.gone, again.gone_first, len(found)) == (3, [path for path, _ in stored[1:]], 1)


def test_a_folder_that_was_closed_names_nobody_for_what_is_in_it(tmp_path: Path, retry: Any) -> None:
    (tmp_path / "Ada").mkdir()
    (tmp_path / "Ada" / "1.jpg").write_bytes(b"x")
    _, (folder,) = retry((f"{tmp_path}/Ada", tmp_path.name))
    assert folder.path == f"{tmp_path}/Ada"
    assert _why(folder) == ("unreadable", "This folder could not be read: ingest the folder again.")


def test_lines_of_lists_and_addresses_that_name_no_file_stay_what_they_are(
    tmp_path: Path, retry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.jpg").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    _, found = retry((f"{tmp_path}/list.csv!/line 3", None), ("file://1.jpg", None), ("", None), ("http://[x/1.jpg", None))
    assert [source.path for source in found] == [f"{tmp_path}/list.csv!/line 3", "file://1.jpg", "", "http://[x/1.jpg"]
    assert {_why(source)[0] for source in found} == {"unreadable"}
    assert "line of the list" in _why(found[0])[1]


def test_a_retry_has_the_limits_that_were_set(retry: Any) -> None:
    _, (source,) = retry(("http://127.0.0.1:1/1.jpg", None))
    assert _why(source)[0] == "forbidden"
    _, (source,) = retry(("http://127.0.0.1:1/1.jpg", None), limits=Limits(1, allow_private=True))
    assert _why(source)[0] == "unreadable"
    again, found = retry(("https://host/1.jpg?sig=secret-0123abcd", None))
    assert (again.masked, again.gone, found) == (1, 0, [])


def test_names_that_are_not_utf8_are_found_again(tmp_path: Path, retry: Any) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("caf__/1.jpg", b"one")
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"caf__", b"caf\xe9\xe8"))
    (there,) = photos([tmp_path / "a.zip"], PersonFrom.folder)
    stored = text(there.path)
    assert stored.endswith("caf\\xe9\\xe8/1.jpg")
    _, (found,) = retry((stored, "x"))
    assert (text(found.path), found.place.read()) == (stored, b"one")


def test_names_of_photos_do_nothing_to_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "/p/\x1b]0;owned\x07\x1b[2J\u202e\nforged line.jpg"
    reject = {"image": bad, "person": "\x1b[31m", "reason": "no_face", "at": "2026-01-01T00:00:00"}

    class Nothing:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("es.client.connect", lambda *_, **__: Nothing())
    monkeypatch.setattr("es.collections.get", lambda *_: None)
    monkeypatch.setattr(rejects, "check", lambda *_: None)
    monkeypatch.setattr(rejects, "counts", lambda *_: {"no_face": 1})
    monkeypatch.setattr(rejects, "newest", lambda *_: [reject])
    monkeypatch.setattr(rejects, "matching", lambda *_: [reject])
    rejects_commands.list_()
    rejects_commands.show_("x")
    out = capsys.readouterr().out
    assert out.count("owned") == 2
    assert not {"\x1b", "\u202e", "\x07"} & set(out)
    assert "\nforged" not in out
    assert os.linesep in out
