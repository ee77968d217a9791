"""The commands as a person types them, on the real engine."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from core.settings import ELASTICSEARCH_VERSION
from tests.cli.conftest import Type
from tests.faces_made import small_copies


@pytest.fixture
def people(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    small_copies(portraits["obama.jpg"], tmp_path / "people" / "Barack Obama", 2)
    small_copies(portraits["biden.jpg"], tmp_path / "people" / "Joe Biden", 1)
    return tmp_path / "people"


def test_from_photos_to_a_person(client: Elasticsearch, name: str, people: Path, portraits: dict[str, Path], type_: Type) -> None:
    done = type_("ingest", people, "-c", name, "--workers", 1, "--json")
    assert done.code == 0
    assert done.json.items() >= {"collection": name, "photos": 3, "faces": 3, "skipped": 0, "rejected": {}}.items()
    assert done.json.keys() >= {"run", "seconds", "photos_per_second"}

    found = type_("search", portraits["obama2.jpg"], "-c", name, "--json")
    assert found.code == 0
    (answer,) = found.lines
    assert answer.keys() == {"target", "collection", "faces", "threshold", "fpir", "filters", "error"}
    assert answer["error"] is None
    (face,) = answer["faces"]
    assert [match["person"] for match in face["matches"]] == ["Barack Obama", "Joe Biden"]
    assert [match["verified"] for match in face["matches"]] == [True, False]
    photo = {"image", "box", "distance", "similarity", "id"}
    assert face["matches"][0].keys() == {"person", "verified", "matched", "fpir", "photos"} | photo
    assert face["matches"][0]["photos"][0].keys() == photo
    assert face["matches"][0]["matched"] == 2
    assert Path(face["matches"][0]["image"]).parent.name == "Barack Obama"

    table = type_("search", portraits["obama2.jpg"], "-c", name)
    assert "Barack Obama" in table.out
    assert "yes" in table.out

    piped = type_("search", "-", "-c", name, "--json", stdin=portraits["biden.jpg"].read_bytes())
    assert piped.lines[0]["target"] == "-"
    assert piped.lines[0]["faces"][0]["matches"][0]["person"] == "Joe Biden"

    again = type_("ingest", people, "-c", name, "--workers", 0)
    assert again.code == 0
    assert "skipped" in again.out


def test_a_photo_without_a_face_is_answered_and_the_rest_too(name: str, people: Path, tmp_path: Path, type_: Type) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    type_("ingest", people, "-c", name, "--workers", 0)
    photo = next(people.rglob("*.jpg"))
    found = type_("search", tmp_path / "notes.txt", photo, "-c", name, "--json")
    assert found.code == 1
    broken, good = found.lines
    assert broken["error"]["code"] == "not_an_image"
    assert broken["faces"] == []
    assert good["faces"][0]["matches"][0]["distance"] == pytest.approx(0, abs=1e-5)


def test_a_missing_photo_among_others_is_one_answer(name: str, people: Path, type_: Type) -> None:
    type_("collections", "create", name)
    type_("ingest", people, "-c", name, "--workers", 0)
    found = type_("search", "gone.jpg", next(people.rglob("*.jpg")), "-c", name, "--json")
    assert found.code == 1
    assert [line["error"] and line["error"]["code"] for line in found.lines] == ["unreadable", None]


def test_one_name_for_all_is_pointed_out(name: str, people: Path, type_: Type) -> None:
    flat = people / "Barack Obama"
    assert "'Barack Obama'" in type_("ingest", flat, "-c", name, "--workers", 0).out
    again = type_("ingest", flat, "-c", name, "--workers", 0, "--min-face", 60, "--json").json
    assert (again["again"], again["embedded"]) == (2, 2)


def test_rejects_are_reported_and_noted(name: str, people: Path, tmp_path: Path, type_: Type) -> None:
    (people / "notes.txt").write_text("no photo")
    done = type_("ingest", people, "-c", name, "--workers", 0, "--json", "--rejects", tmp_path / "left-out.jsonl")
    assert done.code == 1
    assert done.json["rejected"] == {"not_an_image": 1}
    assert "notes.txt" in (tmp_path / "left-out.jsonl").read_text()
    shown = type_("collections", "show", name, "--json")
    assert shown.json["rejected"] == {"not_an_image": 1}


def test_people_from_a_csv_list(name: str, people: Path, type_: Type) -> None:
    listed = people.parent / "list.csv"
    listed.write_text("path,person\npeople/Joe Biden/0000.jpg,The president\npeople/gone.jpg,Nobody\n")
    done = type_("ingest", listed, "-c", name, "--person", "csv", "--workers", 0, "--json")
    assert done.json["faces"] == 1
    assert done.json["rejected"] == {"unreadable": 1}
    found = type_("search", people / "Joe Biden" / "0000.jpg", "-c", name, "--json")
    assert found.lines[0]["faces"][0]["matches"][0]["person"] == "The president"


def test_collections_are_made_listed_shown_and_deleted(client: Elasticsearch, name: str, type_: Type) -> None:
    made = type_("collections", "create", name, "--shards", 2, "--replicas", 0, "--index-type", "hnsw", "--json")
    assert made.code == 0
    assert made.json["recipe"]["model"] == "Dlib"
    assert name in type_("collections", "list").out
    assert name in [entry["name"] for entry in type_("collections", "list", "--json").json["collections"]]
    shown = type_("collections", "show", name, "--json").json
    assert shown.items() >= {"shards": 2, "replicas": 0, "index_type": "hnsw", "faces": 0, "people": 0}.items()
    assert "int8" not in type_("collections", "show", name).out
    asked = type_("collections", "delete", name)
    assert asked.code == 2
    assert "--yes" in asked.err
    assert type_("collections", "delete", name, "--yes", "--json").json == {"deleted": name, "faces": 0}
    assert type_("collections", "show", name).code == 2


def test_a_collection_is_sized_changed_and_moved(client: Elasticsearch, name: str, type_: Type) -> None:
    made = type_("collections", "create", name, "--expected-faces", 25_000_000, "--index-type", "flat", "--json").json
    assert made["expected"].keys() == {"faces", "memory_bytes", "disk_bytes"}
    shown = type_("collections", "show", name, "--json").json
    assert shown.items() >= {"shards": 13, "expected_faces": 25_000_000, "old": [], "migrating_to": None}.items()
    copied = type_("collections", "set", name, "--replicas", 1)
    assert "13 shards would be better" not in copied.out
    assert "for 1 copy of a shard it takes 2 nodes, and there is 1" in copied.err
    assert type_("collections", "set", name).code == 2
    changed = type_("collections", "set", name, "--index-type", "int8_flat", "--expected-faces", 3, "--json").json
    assert changed.items() >= {"replicas": 1, "index_type": "int8_flat", "expected_faces": 3}.items()
    assert "1 shard would be better" in type_("collections", "set", name, "--expected-faces", 2).out
    refused = type_("collections", "set", name, "--index-type", "flat", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "needs_migration")
    moved = type_("collections", "migrate", name, "--index-type", "flat", "--replicas", 0, "--json")
    assert moved.code == 0
    assert moved.json.items() >= {"shards": 1, "index_type": "flat", "faces": 0, "kept": True, "ingest": None}.items()
    assert "drop-old" in type_("collections", "show", name).out
    assert type_("collections", "drop-old", name).code == 2
    assert type_("collections", "drop-old", name, "--yes", "--json").json["dropped"] == [moved.json["old"]]
    assert type_("collections", "migrate", "nobody").code == 2


def test_status_tells_all(client: Elasticsearch, name: str, type_: Type) -> None:
    type_("collections", "create", name)
    status = type_("status", "--json").json
    assert status["version"] == ELASTICSEARCH_VERSION
    assert status["health"] in {"green", "yellow"}
    assert status["url"].startswith("http://127.0.0.1:")
    assert len(status["nodes"]) == 1
    assert Path(status["log"]).is_file()
    (entry,) = [entry for entry in status["collections"] if entry["name"] == name]
    assert entry.items() >= {"faces": 0, "people": 0}.items()
    assert entry["recipe"]["model"] == "Dlib"
    assert name in type_("status").out
    assert type_("up", "--json").json["url"] == status["url"]


def test_status_of_an_engine_that_is_not_running_starts_nothing(tmp_path: Path, type_: Type) -> None:
    env = {"FACEDEX_DATA_DIR": str(tmp_path)}
    status = type_("status", "--json", env=env)
    assert status.code == 0
    assert status.json["health"] == "stopped"
    assert "not running" in type_("status", env=env).out
    assert type_("down", "--json", env=env).json == {"stopped": False}


def test_verify_needs_no_engine(portraits: dict[str, Path], type_: Type) -> None:
    env = {"ELASTICSEARCH_URL": "http://127.0.0.1:1"}
    same = type_("verify", portraits["obama.jpg"], portraits["obama2.jpg"], "--json", env=env)
    assert same.code == 0
    assert same.json.items() >= {"verified": True, "threshold": 0.093, "metric": "cosine", "model": "Dlib"}.items()
    other = type_("verify", portraits["obama.jpg"], portraits["biden.jpg"], env=env)
    assert other.code == 0
    assert "Not the same person" in other.out
    assert "0.093" in other.out


def test_verify_judges_the_pairs_of_a_list(tmp_path: Path, portraits: dict[str, Path], type_: Type) -> None:
    env = {"ELASTICSEARCH_URL": "http://127.0.0.1:1"}
    pairs = tmp_path / "pairs.csv"
    obama, again, biden = (portraits[name] for name in ("obama.jpg", "obama2.jpg", "biden.jpg"))
    pairs.write_text(f"a,b,same\n{obama},{again},1\n{obama},{biden},0\n")
    *lines, last = type_("verify", "--pairs", pairs, "--json", env=env).lines
    assert [line["verified"] for line in lines] == [True, False]
    assert last["summary"]["accuracy"].items() >= {"rate": 1.0, "number": 2, "of": 2}.items()

    pairs.write_text(f"a,b\n{obama},{again}\n{obama},nobody.jpg\n")
    done = type_("verify", "--pairs", pairs, "--csv", env=env)
    assert done.code == 1
    head, good, bad = csv.reader(done.out.splitlines())
    assert head == ["line", "a", "b", "same", "verified", "distance", "error"]
    assert good[:5] == ["2", str(obama), str(again), "", "1"]
    assert bad[3:] == ["", "", "", "unreadable"]

    shown = type_("verify", "--pairs", pairs, env=env)
    assert "accuracy" not in shown.out
    assert "line 3" in shown.err


def test_the_page_shows_who_was_found(name: str, people: Path, tmp_path: Path, portraits: dict[str, Path], type_: Type) -> None:
    type_("ingest", people, "-c", name, "--workers", 0)
    done = type_("search", portraits["obama2.jpg"], "-c", name, "--html", tmp_path / "page.html")
    assert done.code == 0
    page = (tmp_path / "page.html").read_text()
    assert "Barack Obama" in page
    assert page.count('<li class="match">') == 2
    assert "http" not in page.replace("http-equiv", "")
