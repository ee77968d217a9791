"""Moving a collection to another model: its photos are looked at anew, by the real pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, RecipeMismatch
from core.files import sha256_of
from core.settings import settings
from core.web import Limits
from es import collections, versions
from es.documents import alias, rejects_alias
from es.migration import Moved, Shape
from es.scan import current, delete, scan
from faces.recipe import DEFAULT
from ingest.migration import Photos, migrate
from ingest.report import RejectsFile, Report
from ingest.run import Options
from ingest.writer import Work, Writer
from photos.sources import Source
from tests.faces_made import face, sha, vector, work
from tests.ingest.runs_made import left_out, places, run, stored
from workers.worker import Outcome

OLD = replace(DEFAULT, alignment="as it once was")


@pytest.fixture
def old(client: Elasticsearch, name: str, folder: Path) -> dict[str, str]:
    """The people of a collection whose vectors are of another recipe, by path."""
    collections.create(client, name, OLD.as_dict(), expected_faces=7)
    collections.annotate(client, name, calibration={"threshold": 1})
    paths = sorted(folder.rglob("*.jpg"))
    works = [
        Work(Source(str(path), f"P{number}", {"n": str(number)}), Outcome(sha256_of(path), 1, 1, (face(number),)))
        for number, path in enumerate(paths)
    ]
    list(Writer(client, name, model="Dlib", run="r", detection="min_face=80").write(works))
    client.indices.refresh(index=alias(name))
    return places(client, name)


def move(client: Elasticsearch, name: str, *, leave_missing: bool = False) -> tuple[Moved, Report, Photos]:
    counts: list[int] = []

    def seen(_: Report) -> None:
        counts.append(client.count(index=alias(name))["count"])  # searches go on in the old index

    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
        done = migrate(client, name, DEFAULT, Shape(shards=2), Options(workers=0), file, Limits(), seen, leave_missing=leave_missing)
    assert set(counts) == {6}
    return done


def test_photos_are_looked_at_anew_and_keep_their_people(client: Elasticsearch, name: str, old: dict[str, str], folder: Path) -> None:
    writer = Writer(client, name, model="Dlib", run="late", detection="min_face=80")
    moved, report, photos = move(client, name)
    assert (moved.faces, report.faces, photos.gone, moved.kept) == (6, 6, 0, True)
    assert places(client, name) == old
    assert {document["labels"]["n"] for document in stored(client, name).values()} == set("012345")
    found = collections.get(client, name)
    assert found.recipe == DEFAULT.as_dict()
    assert found.notes == {"expected_faces": 7}
    first = next(document for document in stored(client, name).values() if document["person"] == "P0")
    assert not np.allclose(first["embedding"], vector(0))
    assert not client.indices.exists_alias(name=[alias(versions.next_name(name)), rejects_alias(versions.next_name(name))])
    # A run that began with the old recipe stores nothing more.
    with pytest.raises(RecipeMismatch):
        list(writer.write([work("late.jpg", 1)]))
    again = run(client, name, folder)
    assert (again.faces, again.skipped) == (0, 6)


def test_photos_that_are_gone_are_told_and_left_only_when_asked(client: Elasticsearch, name: str, old: dict[str, str]) -> None:
    gone, faceless = sorted(old)[:2]
    Path(gone).unlink()
    with pytest.raises(CollectionError, match="leave-missing") as caught:
        move(client, name)
    assert caught.value.code == "photos_missing"
    assert places(client, name) == old
    assert versions.versions(client, name).filling is None
    assert collections.get(client, name).recipe == OLD.as_dict()
    list(Writer(client, name, model="Dlib", run="r", detection="min_face=80").write([]))
    from PIL import Image

    Image.new("RGB", (200, 200)).save(faceless)
    _, report, photos = move(client, name, leave_missing=True)
    assert (photos.gone, photos.gone_first, report.rejected) == (1, [gone], {"no_face": 1})
    assert places(client, name).keys() == old.keys() - {gone, faceless}
    assert left_out(client, name) == {faceless: "no_face"}


def test_photos_that_can_not_be_read_now_or_only_with_a_secret_are_not_lost(client: Elasticsearch, name: str, old: dict[str, str]) -> None:
    paths = ["http://127.0.0.1:1/p.jpg", "http://127.0.0.1:1/q.jpg?token=secret-12345678"]
    works = [Work(Source(path, "P"), Outcome(sha(path), 1, 1, (face(9),))) for path in paths]
    list(Writer(client, name, model="Dlib", run="r", detection="min_face=80").write(works))
    client.indices.refresh(index=alias(name))
    photos = Photos(client, alias(name), Limits())
    assert {source.path for source in photos.sources()} == old.keys() | {paths[0]}
    assert photos.gone_first == [paths[1]]
    delete(client, current(client, scan(client, alias(name), {"term": {"image.path": paths[1]}}, []), []))
    client.indices.refresh(index=alias(name))
    with (
        RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file,
        pytest.raises(CollectionError, match="looked at now") as caught,
    ):
        migrate(client, name, DEFAULT, Shape(), Options(workers=0), file, Limits())
    assert caught.value.code == "photos_missing"
    assert collections.get(client, name).recipe == OLD.as_dict()


def test_who_writes_meanwhile_is_told_to_run_again(
    client: Elasticsearch, name: str, old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es.bulk.settings", lambda: settings().model_copy(update={"retry_seconds": 0.2}))
    writer = Writer(client, name, model="Dlib", run="late", detection="min_face=80")
    told: list[str] = []

    def seen(_: Report) -> None:
        with pytest.raises(EngineError) as caught:
            list(writer.write([work("late.jpg", 1)]))
        told.append(caught.value.code)

    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
        migrate(client, name, DEFAULT, Shape(), Options(workers=0), file, Limits(), seen)
    assert set(told) == {"held"}
