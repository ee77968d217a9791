"""Runs that are cut off, meet others, or find something else than a moment ago; and lists that say something new."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from core.errors import PhotoError, UsageError
from core.settings import settings
from es import collections
from es.documents import alias
from faces.recipe import DEFAULT
from ingest.report import RejectsFile, Report
from ingest.run import Options, ingest
from photos.places import File, Place
from photos.sources import PersonFrom, Source, photos
from tests.ingest.runs_made import left_out, places, run, stored, undisturbed
from workers.worker import Detection


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
        again = ingest(client, name, DEFAULT, vanishing, file, Options(Detection(min_face=60), workers=0))
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
        ingest(client, name, DEFAULT, broken(), file, Options(workers=0))
    client.indices.refresh(index=alias(name))
    assert len(stored(client, name)) == 6


def test_copies_within_a_bulk_load_are_not_embedded_again(
    client: Elasticsearch, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.resume._SMALLEST", 1)
    monkeypatch.setattr("ingest.resume._LARGEST", 1)
    monkeypatch.setattr("ingest.writer._CHUNK_FACES", 1)
    shutil.copytree(folder, folder / "copies")
    report = run(client, name, folder, bulk_load=True, merge=False)  # one photo after the other
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
            return ingest(client, name, DEFAULT, photos([tmp_path / "list.csv"], PersonFrom.csv), file, Options(workers=0))

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
        again = ingest(client, name, DEFAULT, sources, file, Options(workers=0))
    assert (again.renamed, again.embedded) == (6, 0)
    assert set(places(client, name).values()) == {"Somebody"}


@pytest.mark.usefixtures("patient")
def test_a_list_that_says_nothing_new_costs_no_reading(
    client: Elasticsearch, name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    paths = sorted(folder.rglob("*.jpg"))

    def listed(*cameras: str) -> Report:
        lines = [f"{path},{camera}" for path, camera in zip(paths, cameras, strict=True)]
        (tmp_path / "list.csv").write_text("\n".join(["path,camera", *lines]))
        sources = photos([tmp_path / "list.csv"], PersonFrom.csv)
        with RejectsFile(tmp_path / "rejects.jsonl") as file:
            return ingest(client, name, DEFAULT, sources, file, Options(workers=0, remember=tmp_path / "seen"))

    assert listed(*["north"] * 6).indexed == 6
    read: list[str] = []
    monkeypatch.setattr("ingest.fingerprints.sha256_of", read.append)
    monkeypatch.setattr("ingest.resume.current", pytest.fail)  # the documents themselves
    assert listed(*["north"] * 6).skipped == 6
    assert not read
    monkeypatch.undo()
    monkeypatch.setattr("ingest.fingerprints._RACY_NS", 0)
    assert listed(*["north"] * 5, "south").renamed == 1
    assert listed(*["north"] * 5, "south").renamed == 0
