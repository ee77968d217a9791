import os
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from es import collections
from es.documents import alias
from tests.ingest.runs_made import contents, left_out, places, run, stored, undisturbed


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
