"""What programs import: the names, the collection, and that it is light to import."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

import demo
import facedex
from es import collections
from faces.recipe import DEFAULT
from tests.faces_made import small_copies


@pytest.fixture
def opened(node: object, name: str) -> Iterator[facedex.Collection]:
    with facedex.open(name, create=True) as made:
        yield made


@pytest.fixture
def people(portraits: dict[str, Path], tmp_path: Path) -> Path:
    for person, names in demo.PEOPLE.items():
        (tmp_path / "people" / person).mkdir(parents=True)
        for name in names:
            shutil.copy(portraits[name], tmp_path / "people" / person)
    return tmp_path / "people"


@pytest.fixture
def filled(opened: facedex.Collection, people: Path) -> facedex.Collection:
    assert opened.ingest(people, workers=0).faces == 5
    return opened


def test_the_public_names() -> None:
    assert facedex.__all__ == [
        *("Answer", "Collection", "CollectionError", "EngineError", "FaceAnswer", "FacedexError", "Match", "ModelError", "Photo"),
        *("PhotoError", "RecipeMismatch", "Report", "StorageError", "UsageError", "Verdict", "find", "open", "verify"),
    ]
    for name in facedex.__all__:
        assert getattr(facedex, name).__name__ == name
    assert set(facedex.__all__) <= set(dir(facedex))
    with pytest.raises(AttributeError, match="nothing"):
        facedex.nothing  # noqa: B018


def test_the_methods_of_a_collection() -> None:
    public = {name for name in vars(facedex.Collection) if not name.startswith("_")}
    assert public == {"close", "find", "ingest", "search", "search_many", "search_person", "verify"}
    for name in [*public, "open", "find", "verify"]:
        assert getattr(facedex.Collection, name, None) is None or getattr(facedex.Collection, name).__doc__


def test_importing_is_light() -> None:
    code = "import sys, facedex; facedex.FacedexError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(done.stdout.split()) & {"numpy", "elasticsearch", "onnxruntime", "dlib", "deepface", "pandas", "PIL", "library"}


def test_search_names_people(filled: facedex.Collection, portraits: dict[str, Path]) -> None:
    answer = filled.search(portraits["obama2.jpg"], top=2)
    assert isinstance(answer, facedex.Answer)
    assert [match.person for match in answer.faces[0].matches] == ["Barack Obama", "Joe Biden"]
    assert len(filled) == 5
    assert filled.search(portraits["obama2.jpg"], where=["person!=Barack Obama"]).faces[0].matches[0].person == "Joe Biden"
    assert not filled.search(portraits["obama2.jpg"], since=datetime.now() + timedelta(days=1)).found
    assert not filled.search(portraits["obama2.jpg"], min_quality=["size=5000"]).found


def test_one_photo_that_cannot_be_used_raises_and_one_of_many_does_not(
    filled: facedex.Collection, portraits: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(portraits["obama.jpg"].read_bytes()[:500])
    with pytest.raises(facedex.PhotoError, match=r"broken\.jpg") as caught:
        filled.search(tmp_path / "broken.jpg")
    assert caught.value.code == "truncated"
    with pytest.raises(facedex.UsageError, match="no photo"):
        filled.search("nobody.jpg")
    with pytest.raises(facedex.UsageError, match="search_many"):
        filled.search(tmp_path)
    broken, good = filled.search_many([tmp_path / "broken.jpg", portraits["biden.jpg"].read_bytes()])
    assert broken.error
    assert good.faces[0].matches[0].person == "Joe Biden"


def test_photos_of_one_person_are_one_target(filled: facedex.Collection, portraits: dict[str, Path]) -> None:
    answer = filled.search_person([portraits["obama2.jpg"], portraits["obama3.jpg"]])
    assert len(answer.faces) == 1
    assert answer.faces[0].matches[0].person == "Barack Obama"


def test_what_cannot_be_opened(client: Elasticsearch, name: str) -> None:
    with pytest.raises(facedex.CollectionError, match=name):
        facedex.open(name)
    collections.create(client, name, DEFAULT.as_dict())
    with pytest.raises(facedex.RecipeMismatch):
        facedex.open(name, model="Facenet512")
    with pytest.raises(facedex.EngineError, match=r"no Elasticsearch at http://127\.0\.0\.1:1"):
        facedex.open(name, url="http://127.0.0.1:1")


def test_ingest_skips_what_is_there_and_reports_what_is_left_out(filled: facedex.Collection, people: Path, tmp_path: Path) -> None:
    assert filled.ingest([people], workers=0).skipped == 5
    (tmp_path / "notes.txt").write_text("no photo")
    report = filled.ingest(tmp_path / "notes.txt", workers=0)
    assert isinstance(report, facedex.Report)
    assert dict(report.rejected) == {"not_an_image": 1}
    with pytest.raises(facedex.UsageError, match="nobody"):
        filled.ingest("nobody")
    with pytest.raises(facedex.UsageError, match="surname"):
        filled.ingest(tmp_path, person="surname")


def test_verify_needs_no_collection(portraits: dict[str, Path]) -> None:
    verdict = facedex.verify(portraits["obama.jpg"], portraits["obama2.jpg"].read_bytes())
    assert isinstance(verdict, facedex.Verdict)
    assert verdict.verified
    assert not facedex.verify(portraits["obama.jpg"], portraits["biden.jpg"]).verified


def test_two_searches_at_once_do_not_mix_how_they_look(filled: facedex.Collection, portraits: dict[str, Path]) -> None:
    photos = [portraits["obama2.jpg"], portraits["biden.jpg"]]
    fine, coarse = filled.search_many(photos), filled.search_many(photos, min_face=3000)
    both = list(zip(fine, coarse, strict=True))
    assert [answer.found for answer, _ in both] == [True, True]
    assert [answer.error and answer.error[0] for _, answer in both] == ["no_face", "no_face"]


def test_threads_share_a_collection(filled: facedex.Collection, portraits: dict[str, Path]) -> None:
    found: list[str | None] = []

    def search() -> None:
        found.extend(filled.search(portraits["obama2.jpg"]).faces[0].matches[0].person for _ in range(3))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["Barack Obama"] * 9


def test_a_script_needs_no_guard_for_worker_processes(filled: facedex.Collection, portraits: dict[str, Path], tmp_path: Path) -> None:
    small_copies(portraits["obama2.jpg"], tmp_path / "photos", 12)
    script = tmp_path / "script.py"
    script.write_text(
        "import facedex\n"
        "print('begun')\n"
        f"with facedex.open({filled.name!r}) as faces:\n"
        f"    print(len(list(faces.search_many({str(tmp_path / 'photos')!r}, workers=2))))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120, cwd=demo.__file__.rpartition("/")[0]
    )
    assert (done.stdout.split(), done.stderr) == (["begun", "12"], "")
