"""Searches as they are typed: many targets, lists, filters, several photos of one person."""

import csv
import io
import zipfile
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from tests.cli.conftest import Type
from tests.faces_made import small_copies


@pytest.fixture
def people(client: Elasticsearch, name: str, tmp_path: Path, portraits: dict[str, Path], type_: Type) -> Path:
    folder = tmp_path / "people"
    small_copies(portraits["obama.jpg"], folder / "Barack", 2)
    small_copies(portraits["biden.jpg"], folder / "Joe", 2)
    rows = [f"{path},{path.parent.name},{'north' if path.stem == '0000' else 'south'}" for path in sorted(folder.rglob("*.jpg"))]
    (tmp_path / "people.csv").write_text("\n".join(["path,person,camera", *rows]))
    assert type_("ingest", tmp_path / "people.csv", "-c", name, "--workers", 0).code == 0
    return folder


@pytest.fixture
def targets(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """Twenty photos of two people in turn, one of them broken."""
    folder = tmp_path / "targets"
    for number, path in enumerate(small_copies(portraits["obama2.jpg"], folder, 20)):
        if number % 2:
            path.write_bytes(portraits["biden.jpg"].read_bytes() + bytes([number]))
    (folder / "0007.jpg").write_text("no photo")
    return folder


def first(answer: dict[str, object]) -> str | None:
    faces: list[dict[str, list[dict[str, str]]]] = answer["faces"]  # type: ignore[assignment]
    return faces[0]["matches"][0]["person"] if faces else None


def test_a_folder_a_list_an_archive_and_stdin_are_answered_in_order_and_a_broken_photo_harms_no_other(
    name: str, people: Path, targets: Path, tmp_path: Path, type_: Type
) -> None:
    paths = sorted(targets.iterdir())
    expected = [None if number == 7 else ("Joe" if number % 2 else "Barack") for number in range(20)]
    (tmp_path / "targets.csv").write_text("path\n" + "\n".join(f"targets/{path.name}" for path in paths))
    with zipfile.ZipFile(tmp_path / "targets.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    names = "\n".join(map(str, paths)) + "\n\n"
    ways: list[tuple[list[object], bytes]] = [
        ([targets], b""),
        ([tmp_path / "targets.csv"], b""),
        ([tmp_path / "targets.zip"], b""),
        (["--list", "-"], names.encode()),
    ]
    for words, stdin in ways:
        found = type_("search", *words, "-c", name, "--json", "--workers", 2, stdin=stdin)
        assert found.code == 1
        assert [first(answer) for answer in found.lines] == expected
        assert [answer["error"]["code"] for answer in found.lines if answer["error"]] == ["not_an_image"]
        assert [Path(answer["target"]).name for answer in found.lines] == [path.name for path in paths]


def test_few_and_many_are_answered_alike(name: str, people: Path, targets: Path, type_: Type) -> None:
    together = type_("search", targets, "-c", name, "--json", "--workers", 2).lines
    for path, answer in list(zip(sorted(targets.iterdir()), together, strict=True))[:4]:
        (alone,) = type_("search", path, "-c", name, "--json").lines
        assert alone["faces"] == answer["faces"]


def test_csv_has_a_row_for_each_person_named(name: str, people: Path, targets: Path, type_: Type) -> None:
    found = type_("search", targets / "0000.jpg", targets / "0007.jpg", "-c", name, "--csv", "--top", 2)
    rows = list(csv.DictReader(io.StringIO(found.out)))
    assert [(row["rank"], row["person"], row["verified"], row["error"]) for row in rows] == [
        ("1", "Barack", "1", ""),
        ("2", "Joe", "0", ""),
        ("", "", "", "not_an_image"),
    ]


def test_filters_leave_out_whom_they_name_and_are_told(name: str, people: Path, targets: Path, type_: Type) -> None:
    where = ["--where", "labels.camera=south", "--where", "person!=Joe"]
    (answer,) = type_("search", targets / "0001.jpg", "-c", name, "--json", *where).lines
    (match,) = answer["faces"][0]["matches"]
    assert (match["person"], Path(match["image"]).name) == ("Barack", "0001.jpg")
    assert answer["filters"] == ["labels.camera=south", "person!=Joe"]
    (answer,) = type_("search", targets / "0001.jpg", "-c", name, "--json", "--since", "2100-01-01").lines
    assert answer["faces"][0]["matches"] == []


def test_an_unknown_field_is_refused_before_anything_is_looked_at(name: str, people: Path, targets: Path, type_: Type) -> None:
    found = type_("search", targets, "-c", name, "--json", "--where", "colour=red")
    assert (found.code, found.json["error"]["code"]) == (2, "unknown_field")


def test_several_photos_of_one_person(name: str, people: Path, targets: Path, type_: Type) -> None:
    photos = [targets / "0000.jpg", targets / "0002.jpg", targets / "0007.jpg"]
    found = type_("search", *photos, "-c", name, "--json", "--same-person")
    (answer,) = found.lines
    assert first(answer) == "Barack"
    assert answer["target"] == f"{photos[0]} + {photos[1]}"
    assert "0007.jpg is left out" in found.err
    assert type_("search", photos[2], "-c", name, "--json", "--same-person").json["error"]["code"] == "not_an_image"


def test_exact_answers_are_those_of_the_index_where_that_misses_nothing(name: str, people: Path, targets: Path, type_: Type) -> None:
    words = ["search", targets, "-c", name, "--json", "--workers", 2]
    index, every = type_(*words).lines, type_(*words, "--exact").lines
    for one, other in zip(index, every, strict=True):
        assert [[(match["person"], match["id"]) for match in face["matches"]] for face in one["faces"]] == [
            [(match["person"], match["id"]) for match in face["matches"]] for face in other["faces"]
        ]
        for face, same in zip(one["faces"], other["faces"], strict=True):
            distances = [[match["distance"] for match in each["matches"]] for each in (face, same)]
            assert distances[0] == pytest.approx(distances[1], abs=2e-6)


def test_a_bad_line_of_a_list_harms_no_other(name: str, people: Path, targets: Path, tmp_path: Path, type_: Type) -> None:
    (tmp_path / "broken.zip").write_text("no archive")
    (tmp_path / "empty").mkdir()
    good = str(targets / "0000.jpg")
    bad = [f"{tmp_path}/broken.zip", "gopher://x/y.jpg", f"{tmp_path}/empty", "-", "nowhere.jpg"]
    lines = "\ufeff" + "\r\n".join([good, *bad, good])
    listed = lines.encode() + b"\n" + bytes(targets) + b"/caf\xe9.jpg\n"
    answers = type_("search", "--list", "-", "-c", name, "--json", stdin=listed).lines
    assert [first(answer) for answer in answers] == ["Barack", *[None] * len(bad), "Barack", None]
    assert all(answer["error"] for answer in answers[1:-2])
    assert answers[-1]["error"]["code"] == "unreadable"


def test_an_empty_list_is_refused(name: str, people: Path, type_: Type) -> None:
    found = type_("search", "--list", "-", "-c", name, "--json", stdin=b"\n\n")
    assert (found.code, found.json["error"]["code"]) == (2, "no_photos")


def test_csv_holds_whatever_a_file_is_called(name: str, people: Path, targets: Path, tmp_path: Path, type_: Type) -> None:
    for odd in ("line\nbreak", "return\rcarriage", 'quote"comma,'):
        photo = tmp_path / f"{odd}.jpg"
        photo.write_bytes((targets / "0000.jpg").read_bytes())
        found = type_("search", photo, "-c", name, "--csv", "--top", 1)
        (row,) = csv.DictReader(io.StringIO(found.out, newline=""))
        assert (row["target"], row["person"]) == (str(photo), "Barack")


def test_photos_of_two_people_are_not_one(name: str, people: Path, targets: Path, type_: Type) -> None:
    found = type_("search", targets / "0000.jpg", targets / "0001.jpg", "-c", name, "--json", "--same-person")
    assert (found.code, found.json["error"]["code"]) == (2, "not_the_same_person")
