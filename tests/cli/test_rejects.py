"""What was left out, and what is gone, as a person types it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es.documents import alias
from tests.cli.conftest import Type
from tests.faces_made import small_copies


@pytest.fixture
def people(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    small_copies(portraits["obama.jpg"], tmp_path / "people" / "Barack Obama", 2)
    (tmp_path / "people" / "notes.txt").write_text("not a photo")
    (tmp_path / "people" / "cut.jpg").write_bytes(portraits["obama.jpg"].read_bytes()[:9000])
    return tmp_path / "people"


def test_what_was_left_out_is_listed_shown_and_tried_again(name: str, people: Path, portraits: dict[str, Path], type_: Type) -> None:
    assert type_("ingest", people, "-c", name, "--workers", 0).code == 1
    listed = type_("rejects", "list", "-c", name, "--json").json
    assert listed["rejected"] == {"not_an_image": 1, "truncated": 1}
    assert {Path(each["image"]).name for each in listed["newest"]} == {"notes.txt", "cut.jpg"}
    (one,) = type_("rejects", "list", "-c", name, "--reason", "truncated", "--json").json["newest"]
    text = type_("rejects", "list", "-c", name)
    assert text.code == 0
    assert "not_an_image" in text.out

    for asked in (one["id"], people / "cut.jpg"):
        assert type_("rejects", "show", asked, "-c", name, "--json").json["rejects"] == [one]
    assert one["message"] in type_("rejects", "show", one["id"], "-c", name).out.replace("\n", " ")

    (people / "cut.jpg").write_bytes(portraits["obama.jpg"].read_bytes())  # whole now
    (people / "notes.txt").unlink()
    again = type_("rejects", "retry", "-c", name, "--workers", 0, "--json")
    assert again.code == 1
    assert (again.json["indexed"], again.json["gone"], again.json["gone_first"]) == (1, 1, [str(people / "notes.txt")])
    assert type_("rejects", "list", "-c", name, "--json").json["rejected"] == {"not_an_image": 1}
    assert type_("ingest", people, "-c", name, "--prune", "--yes", "--json").json["pruned"] == {"rejects": 1}
    assert "Nothing was left out" in type_("rejects", "list", "-c", name).out


def test_a_smaller_face_is_found_the_second_time(name: str, tmp_path: Path, portraits: dict[str, Path], type_: Type) -> None:
    from PIL import Image

    (tmp_path / "p").mkdir()
    with Image.open(portraits["obama.jpg"]) as image:
        small = image.convert("RGB").resize((image.width * 120 // image.height, 120))
    canvas = Image.new("RGB", (300, 300), "gray")
    canvas.paste(small, (50, 50))
    canvas.save(tmp_path / "p" / "small.png")
    options = ("-c", name, "--workers", 1, "--json")
    assert type_("ingest", tmp_path / "p", "--min-face", 400, *options).json["rejected"] == {"no_face": 1}
    assert type_("rejects", "retry", "--reason", "no_face", "--min-face", 400, *options).json["embedded"] == 1
    assert type_("rejects", "retry", "--reason", "no_face", "--min-face", 20, *options).json["indexed"] == 1
    assert type_("rejects", "list", "-c", name, "--json").json["rejected"] == {}


def test_wrong_use_of_rejects(name: str, people: Path, type_: Type) -> None:
    assert type_("rejects", "list", "-c", name, "--json").json["error"]["code"] == "no_collection"
    type_("ingest", people, "-c", name, "--workers", 0)
    assert type_("rejects", "retry", "-c", name, "--reason", "nonsense", "--json").json["error"]["code"] == "no_such_reason"
    assert type_("rejects", "show", "nonsense", "-c", name, "--json").json["error"]["code"] == "no_such_reject"


def test_prune_deletes_what_is_gone_and_only_when_told(client: Elasticsearch, name: str, people: Path, type_: Type) -> None:
    type_("ingest", people, "-c", name, "--workers", 0)
    (people / "Barack Obama" / "0000.jpg").unlink()
    assert type_("ingest", people, "-c", name, "--json").json["pruned"] == {}
    refused = type_("ingest", people, "-c", name, "--prune")
    assert refused.code == 2
    assert "Delete 1 face and 0 rejects whose photos are gone?" in refused.err
    assert "add --yes" in refused.err
    assert client.count(index=alias(name))["count"] == 2
    done = type_("ingest", people, "-c", name, "--prune", "--yes", "--json")
    assert done.json["pruned"] == {"faces": 1}
    assert client.count(index=alias(name))["count"] == 1
    assert "Pruned" not in type_("ingest", people, "-c", name, "--prune", "--yes").out


def test_nothing_is_pruned_where_a_folder_can_not_be_read(
    client: Elasticsearch, name: str, people: Path, type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_("ingest", people, "-c", name, "--workers", 0)
    (people / "Barack Obama" / "0000.jpg").unlink()
    (people / "closed").mkdir()
    import os

    scandir = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("/closed"):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = type_("ingest", people, "-c", name, "--prune", "--yes", "--json")
    assert done.json["pruned"] == {}
    assert "can't be read" in done.err
    assert client.count(index=alias(name))["count"] == 2


def test_a_list_can_not_be_pruned(name: str, people: Path, type_: Type) -> None:
    (people / "list.csv").write_text("path,person\nnotes.txt,\n")
    assert type_("ingest", people / "list.csv", "-c", name, "--prune", "--yes").code == 2


def test_a_folder_that_is_empty_is_not_pruned_by_itself(client: Elasticsearch, name: str, people: Path, type_: Type) -> None:
    type_("ingest", people, "-c", name, "--workers", 0)
    held = client.count(index=alias(name))["count"]
    folder = people / "Barack Obama"
    for photo in folder.iterdir():
        photo.unlink()
    refused = type_("ingest", folder, "-c", name, "--prune", "--yes", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "empty_folder")
    assert "Nothing was pruned" in refused.err
    assert client.count(index=alias(name))["count"] == held
    done = type_("ingest", people, "-c", name, "--prune", "--yes", "--json")
    assert done.json["pruned"]["faces"] == held - client.count(index=alias(name))["count"]
