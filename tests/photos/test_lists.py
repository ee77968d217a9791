from pathlib import Path

import pytest

from core.errors import PhotoError, UsageError
from photos.sources import PersonFrom, Source, check, photos


def _read(path: Path, text: str | bytes) -> list[Source]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    check([path], PersonFrom.csv)
    return list(photos([path], PersonFrom.csv))


def _named(found: list[Source]) -> list[tuple[str, str | None]]:
    return [(Path(source.path).name, source.person) for source in found]


def _why(source: Source) -> str:
    with pytest.raises(PhotoError) as refused:
        source.place.read()
    assert refused.value.code == "unreadable"
    return str(refused.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


@pytest.mark.parametrize("end", ["", "9.jpg,\n", '9.jpg,"Eve, the 9th"\n', '9.jpg,"\n'])
def test_a_quote_that_is_not_closed_costs_its_line(path: Path, end: str) -> None:
    found = _read(path, 'path,person\n0.jpg,"Zed"\n1.jpg,"Ada\n2.jpg,Ben\n3.jpg,Cleo\n' + end)
    assert _named(found)[:4] == [("0.jpg", "Zed"), ("line 3", None), ("2.jpg", "Ben"), ("3.jpg", "Cleo")]
    assert "Line 3" in _why(found[1])
    assert found[1].path == f"{path}!/line 3"


def test_a_quote_that_is_not_closed_costs_its_line_of_many(path: Path) -> None:
    found = _read(path, 'path,person\n1.jpg,"Ada\n' + "".join(f"{n}.jpg,P{n}\n" for n in range(20_000)))
    assert len(found) == 20_001
    assert _named(found)[0] == ("line 2", None)
    assert _named(found)[-1] == ("19999.jpg", "P19999")


def test_a_label_may_go_over_lines_but_a_person_not(path: Path) -> None:
    found = _read(path, 'path,person,note\n1.jpg,Ada,"two\nlines"\n2.jpg,"Ben\nBen",x\n3.jpg,Cleo,y\n')
    assert found[0].labels == {"note": "two\nlines"}
    assert _named(found)[1:] == [("line 4", None), ('Ben"', "x"), ("3.jpg", "Cleo")]  # better one photo that is not there than lost lines


def test_bytes_that_are_not_utf8_stop_nothing(path: Path) -> None:
    found = _read(path, b"path,person,tag\n" + b"x.jpg,Ada,\n" * 20_000 + b"caf\xe9.jpg,Ren\xe9,\xe9\nlast.jpg,Ben,\n")
    assert [source.person for source in found[-2:]] == ["Ren\\xe9", "Ben"]
    assert found[-2].path.endswith("caf\udce9.jpg")  # the file's own name
    assert found[-2].labels == {"tag": "\\xe9"}


def test_a_list_of_another_encoding_is_told_so(path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        _read(path, "path,person\n1.jpg,Ada\n".encode("utf-16"))


def test_a_person_without_a_photo_is_told(path: Path) -> None:
    found = _read(path, "path,person,tag\n1.jpg,Ada,\n,Ben,\n,,x\n,,\n\n2.jpg,Cy,\n")
    assert _named(found) == [("1.jpg", "Ada"), ("line 3", None), ("line 4", None), ("2.jpg", "Cy")]
    assert "names no photo" in _why(found[1])


def test_columns_are_named_once_and_blanks_do_not_count(path: Path) -> None:
    with pytest.raises(UsageError, match="twice"):
        _read(path, "path,tag,tag\n1.jpg,a,b\n")
    with pytest.raises(UsageError, match="twice"):
        _read(path, "path,person, person\n1.jpg,Ada,\n")
    found = _read(path, 'path, person , tag,,\n1.jpg, Ada , "x, y",0,1\n')
    assert (_named(found), found[0].labels) == ([("1.jpg", "Ada")], {"tag": "x, y"})


def test_endless_lines_and_persons_are_told(path: Path) -> None:
    found = _read(path, f"path,person\n{'x' * 3_000_000}\n1.jpg,{'y' * 2000}\n{'z' * 200_000},\n2.jpg,Ada\n")
    assert _named(found) == [("line 2", None), ("line 3", None), ("line 4", None), ("2.jpg", "Ada")]


def test_an_address_that_is_misspelled_costs_its_line(path: Path, tmp_path: Path) -> None:
    found = _read(
        path,
        "path\na.jpg\nfile://[1]x.jpg\nfile://photo.jpg\nhttp://[x/1.jpg\nftp://127.0.0.1:9/x.jpg\nfile:///photos/a%23b#c.jpg\nb.jpg\n",
    )
    assert [source.path for source in found] == [
        *(f"{tmp_path}/a.jpg", "file://[1]x.jpg", "file://photo.jpg", "http://[x/1.jpg", "ftp://127.0.0.1:9/x.jpg", "/photos/a#b#c.jpg"),
        f"{tmp_path}/b.jpg",
    ]
    for source, code in zip(found[1:5], ["unreadable", "unreadable", "unreadable", "forbidden"], strict=True):
        with pytest.raises(PhotoError) as refused:
            source.place.read()
        assert refused.value.code == code


def test_secrets_are_neither_stored_nor_told(path: Path) -> None:
    rows = [
        *("memory://ada:secret@host/bad.zip!/1.jpg", "sftp://ada:sec/ret@host/1.jpg", "ftp://ada:secret@host/1.jpg"),
        "https://ada:secret@127.0.0.1/1.jpg?X-Amz-Signature=secret",
    ]
    found = _read(path, "path\n" + "".join(f"{row}\n" for row in rows))
    assert len(found) == 4
    for source in found[:1] + found[2:]:
        with pytest.raises(PhotoError) as refused:
            source.place.read()
        assert "secret" not in source.path.replace("secret-", "") + str(refused.value)
    assert found[1].path == "sftp://host/1.jpg"


def test_addresses_that_no_index_can_hold_are_shortened_rejects(path: Path) -> None:
    (found,) = _read(path, f"path,person\nhttps://example.org/{'x' * 40_000},Ada\n")
    assert len(found.path) < 300
    assert "4096 bytes" in _why(found)
