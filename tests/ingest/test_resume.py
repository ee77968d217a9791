import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from core.errors import PhotoError, UsageError
from core.settings import settings
from es import collections
from es.documents import alias, rejects_alias
from faces.recipe import DEFAULT
from ingest.report import RejectsFile, Report
from ingest.run import Options, ingest
from photos.places import File, Place
from photos.sources import PersonFrom, Source, photos
from tests.faces_made import small_copies
from workers.worker import Detection


@pytest.fixture
def folder(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """Six photos of two people, old enough to be remembered."""
    small_copies(portraits["obama.jpg"], tmp_path / "photos" / "Barack", 3)
    small_copies(portraits["biden.jpg"], tmp_path / "photos" / "Joe", 3)
    age(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture(params=[True, False], ids=["remembering", "reading"])
def remember(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "seen" if request.param else None


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are remembered at once, so that tests need not wait until they are old."""
    monkeypatch.setattr("ingest.fingerprints._RACY_NS", 0)


def age(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        os.utime(path, (time.time() - 3600,) * 2)


def run(client: Elasticsearch, name: str, *folders: Path, remember: Path | None = None, **options: Any) -> Report:
    if collections.find(client, name) is None:
        collections.create(client, name, DEFAULT.as_dict())
    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
        sources = photos(folders, PersonFrom.folder)
        return ingest(client, name, DEFAULT, sources, file, Options(**{"workers": 1, "remember": remember, **options}))


def stored(client: Elasticsearch, name: str) -> dict[str, dict[str, Any]]:
    hits = client.search(index=alias(name), size=1000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def places(client: Elasticsearch, name: str) -> dict[str, str]:
    """Person by path."""
    return {face["image"]["path"]: str(face.get("person")) for face in stored(client, name).values()}


def contents(client: Elasticsearch, name: str) -> dict[str, str]:
    """SHA-256 by path."""
    return {face["image"]["path"]: face["image"]["sha256"] for face in stored(client, name).values()}


def left_out(client: Elasticsearch, name: str) -> dict[str, str]:
    hits = client.search(index=rejects_alias(name), size=1000)["hits"]["hits"]
    return {hit["_source"]["image"]["path"]: hit["_source"]["reason"] for hit in hits}


def undisturbed(client: Elasticsearch, name: str, *folders: Path) -> None:
    """The collection holds what one made anew would hold."""
    before, before_rejects = contents(client, name), left_out(client, name)
    collections.delete(client, collections.get(client, name))
    run(client, name, *folders)
    assert before == contents(client, name)
    assert before_rejects == left_out(client, name)


@pytest.mark.usefixtures("patient")
def test_a_moved_photo_keeps_its_vector_and_gets_its_new_path_and_person(
    client: Elasticsearch, name: str, folder: Path, remember: Path | None
) -> None:
    run(client, name, folder, remember=remember)
    before = stored(client, name)
    (folder / "Joe" / "0000.jpg").rename(folder / "Barack" / "moved.jpg")
    again = run(client, name, folder, remember=remember)
    assert (again.photos, again.skipped, again.moved, again.embedded) == (6, 6, 1, 0)
    after = stored(client, name)
    assert after.keys() == before.keys()
    changed = []
    for id_, face in after.items():
        assert np.allclose(face.pop("embedding"), before[id_].pop("embedding"), atol=1e-6)
        if face != before[id_]:
            changed.append((before[id_], face))
    ((old, new),) = changed
    assert (new["image"]["path"], new["person"]) == (str(folder / "Barack" / "moved.jpg"), "Barack")
    assert new | {"image": old["image"], "person": "Joe"} == old
    assert run(client, name, folder, remember=remember).moved == 0
    undisturbed(client, name, folder)


def test_the_moved_face_is_still_found(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder)
    (folder / "Joe").rename(folder / "Joseph")
    assert run(client, name, folder).moved == 3
    id_, face = next((id_, face) for id_, face in stored(client, name).items() if face["person"] == "Joseph")
    found = client.search(index=alias(name), knn={"field": "embedding", "query_vector": face["embedding"], "k": 6, "num_candidates": 100})
    assert id_ in [hit["_id"] for hit in found["hits"]["hits"] if hit["_score"] > 0.999]


@pytest.mark.usefixtures("patient")
def test_a_copy_changes_nothing_while_the_first_is_there(client: Elasticsearch, name: str, folder: Path, remember: Path | None) -> None:
    run(client, name, folder, remember=remember)
    before = places(client, name)
    (folder / "Ann").mkdir()
    (folder / "Ann" / "copy.jpg").write_bytes((folder / "Joe" / "0000.jpg").read_bytes())
    again = run(client, name, folder, remember=remember)
    assert (again.moved, again.skipped, again.embedded) == (0, 7, 0)
    assert places(client, name) == before
    (folder / "Joe" / "0000.jpg").unlink()  # now the copy is the photo
    assert run(client, name, folder, remember=remember).moved == 1
    assert places(client, name)[str(folder / "Ann" / "copy.jpg")] == "Ann"


def test_a_photo_that_is_still_there_in_a_source_of_another_run_is_not_moved(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder / "Joe")
    (folder / "Barack" / "copy.jpg").write_bytes((folder / "Joe" / "0000.jpg").read_bytes())
    assert run(client, name, folder / "Barack").moved == 0
    assert places(client, name)[str(folder / "Joe" / "0000.jpg")] == "Joe"


@pytest.mark.usefixtures("patient")
def test_a_changed_photo_replaces_its_faces(
    client: Elasticsearch, name: str, folder: Path, portraits: dict[str, Path], remember: Path | None
) -> None:
    run(client, name, folder, remember=remember)
    path = folder / "Joe" / "0001.jpg"
    before = contents(client, name)
    path.write_bytes(portraits["obama2.jpg"].read_bytes())
    again = run(client, name, folder, remember=remember)
    assert (again.indexed, again.skipped, again.replaced, again.embedded) == (1, 5, 1, 1)
    after = contents(client, name)
    assert {each for each in after if after[each] != before[each]} == {str(path)}
    assert len(stored(client, name)) == 6
    undisturbed(client, name, folder)


@pytest.mark.usefixtures("patient")
def test_a_changed_photo_that_is_no_photo_any_more(client: Elasticsearch, name: str, folder: Path, remember: Path | None) -> None:
    run(client, name, folder, remember=remember)
    path = folder / "Joe" / "0001.jpg"
    good = path.read_bytes()
    path.write_text("nothing")
    assert run(client, name, folder, remember=remember).rejected == {"not_an_image": 1}
    assert len(stored(client, name)) == 5
    assert left_out(client, name) == {str(path): "not_an_image"}
    path.write_bytes(good)
    assert run(client, name, folder, remember=remember).indexed == 1
    assert len(stored(client, name)) == 6
    assert left_out(client, name) == {}


@pytest.mark.usefixtures("patient")
def test_photos_that_change_places(client: Elasticsearch, name: str, folder: Path, remember: Path | None) -> None:
    run(client, name, folder, remember=remember)
    a, b, c = (folder / "Joe" / f"000{number}.jpg" for number in range(3))
    a.rename(folder / "t")
    b.rename(a)
    c.rename(b)
    (folder / "t").rename(c)
    again = run(client, name, folder, remember=remember)
    assert (again.moved, again.embedded, again.replaced) == (3, 0, 0)
    undisturbed(client, name, folder)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("back", [False, True])
def test_an_old_content_that_comes_back_elsewhere_is_never_lost(
    client: Elasticsearch,
    name: str,
    folder: Path,
    portraits: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    remember: Path | None,
    back: bool,
) -> None:
    # Batches of one photo, so that what moves and what is replaced never meet in one.
    monkeypatch.setattr("ingest.resume._SMALLEST", 1)
    monkeypatch.setattr("ingest.resume._LARGEST", 1)
    run(client, name, folder, remember=remember)
    first, last = folder / "Barack" / "0000.jpg", folder / "Joe" / "last.jpg"
    if back:
        first, last = folder / "Joe" / "0002.jpg", folder / "Barack" / "0000a.jpg"
    first.rename(last)
    first.write_bytes(portraits["obama2.jpg"].read_bytes())
    run(client, name, folder, remember=remember)
    assert len(stored(client, name)) == 7
    undisturbed(client, name, folder)


@pytest.mark.usefixtures("patient")
def test_a_photo_overwritten_by_a_copy_of_another(client: Elasticsearch, name: str, folder: Path, remember: Path | None) -> None:
    run(client, name, folder, remember=remember)
    (folder / "Joe" / "0001.jpg").write_bytes((folder / "Joe" / "0000.jpg").read_bytes())
    again = run(client, name, folder, remember=remember)
    assert (again.skipped, again.replaced, again.embedded) == (6, 1, 0)
    assert len(stored(client, name)) == 5
    undisturbed(client, name, folder)


def test_an_unreadable_photo_that_works_later_leaves_the_rejects(client: Elasticsearch, name: str, folder: Path, tmp_path: Path) -> None:
    photo = folder / "Joe" / "link.jpg"
    photo.symlink_to(tmp_path / "not there")
    assert run(client, name, folder).rejected == {"unreadable": 1}
    assert left_out(client, name) == {str(photo): "unreadable"}
    photo.unlink()
    photo.write_bytes((folder / "Joe" / "0000.jpg").read_bytes() + b"one more")
    assert run(client, name, folder).indexed == 1
    assert left_out(client, name) == {}


def test_a_photo_that_can_not_be_read_any_more_keeps_its_faces(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder)
    photo = folder / "Joe" / "0000.jpg"
    photo.rename(folder / "kept")
    photo.symlink_to(photo)  # a loop: there, but unreadable
    assert run(client, name, folder / "Joe").rejected == {"unreadable": 1}
    assert len(stored(client, name)) == 6


def test_names_that_are_not_utf8_move_too(client: Elasticsearch, name: str, folder: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/Joe/caf\xe9.jpg"))
    (folder / "Joe" / "0000.jpg").rename(odd)
    run(client, name, folder)
    assert run(client, name, folder).moved == 0
    (folder / "Barack" / "copy.jpg").write_bytes(odd.read_bytes())
    assert run(client, name, folder).moved == 0
    odd.unlink()
    assert run(client, name, folder).moved == 1


@pytest.mark.usefixtures("patient")
def test_unchanged_photos_are_not_even_read(client: Elasticsearch, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = folder.parent / "seen"
    run(client, name, folder, remember=seen)
    read: list[str] = []
    monkeypatch.setattr("ingest.fingerprints.sha256_of", read.append)
    assert run(client, name, folder, remember=seen).skipped == 6
    assert not read
    run(client, name, folder, remember=seen, rehash=True)
    assert len(read) == 6


def test_a_collection_made_anew_does_not_trust_what_the_old_one_remembered(client: Elasticsearch, name: str, folder: Path) -> None:
    seen = folder.parent / "seen"
    run(client, name, folder, remember=seen)
    collections.delete(client, collections.get(client, name))
    assert run(client, name, folder, remember=seen).indexed == 6


class Vanishing(Place):
    """A file that is there when it is hashed, and can't be read when it is looked at."""

    def __init__(self, path: str) -> None:
        self.path = path

    def sha256(self) -> str | None:
        return File(self.path).sha256()

    def read(self) -> bytes:
        raise PhotoError("The file can't be read.", code="unreadable")


@pytest.mark.parametrize("had_faces", [False, True])
def test_a_photo_that_vanishes_between_hash_and_look_is_seen_to_by_the_next_run(
    client: Elasticsearch, name: str, folder: Path, had_faces: bool
) -> None:
    if had_faces:
        run(client, name, folder)
    else:
        collections.create(client, name, DEFAULT.as_dict())
    vanishing = [replace(source, kept_in=Vanishing(source.path)) for source in photos([folder], PersonFrom.folder)]
    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
        again = ingest(client, name, DEFAULT, vanishing, file, Options(Detection(min_face=60), workers=1))
    assert again.rejected == {"unreadable": 6}
    assert len(stored(client, name)) == (6 if had_faces else 0)
    assert run(client, name, folder, detection=Detection(min_face=60)).embedded == 6
    assert len(stored(client, name)) == 6
    assert left_out(client, name) == {}


def test_a_move_that_was_cut_off_half_way_goes_on(client: Elasticsearch, name: str, folder: Path, portraits: dict[str, Path]) -> None:
    with Image.open(portraits["obama.jpg"]) as one, Image.open(portraits["biden.jpg"]) as two:
        both = Image.new("RGB", (one.width + two.width, max(one.height, two.height)))
        both.paste(one, (0, 0))
        both.paste(two, (one.width, 0))
        both.save(folder / "both.jpg")
    run(client, name, folder)
    faces = [id_ for id_, face in stored(client, name).items() if face["image"]["faces"] == 2]
    assert len(faces) == 2
    part = {"image": {"path": str(folder / "before.jpg")}, "person": "before"}
    client.update(index=alias(name), id=faces[0], doc=part, refresh=True)
    again = run(client, name, folder)
    assert (again.moved, again.skipped, again.embedded) == (1, 7, 0)
    assert {stored(client, name)[id_]["image"]["path"] for id_ in faces} == {str(folder / "both.jpg")}
    undisturbed(client, name, folder)


@pytest.mark.parametrize("batch", [1, 256])
def test_faces_stay_where_a_copy_still_has_them(
    client: Elasticsearch, name: str, folder: Path, portraits: dict[str, Path], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("ingest.resume._SMALLEST", batch)
    monkeypatch.setattr("ingest.resume._LARGEST", batch)
    first = folder / "Joe" / "0000.jpg"
    run(client, name, folder)
    (folder / "Ann").mkdir()
    (folder / "Ann" / "copy.jpg").write_bytes(first.read_bytes())
    first.write_bytes(portraits["obama2.jpg"].read_bytes())  # after the copy in the order of a run
    again = run(client, name, folder)
    assert (again.moved, again.embedded) == (1, 1)
    assert places(client, name)[str(folder / "Ann" / "copy.jpg")] == "Ann"
    assert len(stored(client, name)) == 7
    undisturbed(client, name, folder)


def test_sources_that_break_half_way_lose_nothing_before_that(client: Elasticsearch, name: str, folder: Path) -> None:
    collections.create(client, name, DEFAULT.as_dict())

    def broken() -> Iterator[Source]:
        yield from photos([folder], PersonFrom.folder)
        raise UsageError("The list is broken.")

    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file, pytest.raises(UsageError):
        ingest(client, name, DEFAULT, broken(), file, Options(workers=1))
    client.indices.refresh(index=alias(name))
    assert len(stored(client, name)) == 6


def test_copies_within_a_bulk_load_are_not_embedded_again(
    client: Elasticsearch, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.resume._SMALLEST", 1)
    monkeypatch.setattr("ingest.resume._LARGEST", 1)
    monkeypatch.setattr("ingest.writer._CHUNK_FACES", 1)
    shutil.copytree(folder, folder / "copies")
    report = run(client, name, folder, bulk_load=True, merge=False, workers=0)  # one photo after the other
    assert (report.indexed, report.skipped, report.embedded) == (6, 6, 6)
    assert len(stored(client, name)) == 6


def test_two_runs_that_move_the_same_photos_do_not_stop_each_other(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder)
    (folder / "Joe").rename(folder / "Joseph")
    failed: list[BaseException] = []

    def one() -> None:
        try:
            run(client, name, folder)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failed.append(error)

    both = [threading.Thread(target=one) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert not failed
    undisturbed(client, name, folder)


def test_a_corrected_list_brings_its_names_and_labels(client: Elasticsearch, name: str, folder: Path, tmp_path: Path) -> None:
    run(client, name, folder)
    paths = sorted(folder.rglob("*.jpg"))

    def listed(*rows: tuple[str, str]) -> Report:
        lines = [f"{path},{person},{camera}" for path, (person, camera) in zip(paths, rows, strict=False)]
        (tmp_path / "list.csv").write_text("\n".join(["path,person,camera", *lines]))
        with RejectsFile(tmp_path / "rejects.jsonl") as file:
            return ingest(client, name, DEFAULT, photos([tmp_path / "list.csv"], PersonFrom.csv), file, Options(workers=1))

    first = listed(("Barack", "north"), ("Renamed", "north"), ("", "south"))
    assert (first.skipped, first.renamed, first.moved, first.embedded) == (3, 3, 0, 0)
    held = {face["image"]["path"]: (face.get("person"), face.get("labels")) for face in stored(client, name).values()}
    assert [held[str(path)] for path in paths[:4]] == [
        ("Barack", {"camera": "north"}),
        ("Renamed", {"camera": "north"}),
        ("Barack", {"camera": "south"}),
        ("Joe", None),
    ]
    assert listed(("Barack", "north"), ("Renamed", "north"), ("", "south")).renamed == 0
    assert listed(("Barack", "south")).renamed == 1
    assert run(client, name, folder).renamed == 1, "the folder names the second one again"


def test_the_folder_names_people_anew_without_looking_at_them(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder)
    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
        sources = [replace(source, person="Somebody") for source in photos([folder], PersonFrom.folder)]
        again = ingest(client, name, DEFAULT, sources, file, Options(workers=1))
    assert (again.renamed, again.embedded) == (6, 0)
    assert set(places(client, name).values()) == {"Somebody"}
