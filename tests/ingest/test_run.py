import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from core.errors import EngineError
from core.settings import settings
from es import collections
from es.documents import alias
from faces.recipe import DEFAULT
from ingest import resume
from ingest.report import RejectsFile, Report
from ingest.run import Options, ingest
from photos.places import Nowhere
from photos.sources import PersonFrom, Source, photos
from tests.faces_made import small_copies, worker_at_work
from workers.worker import Detection

ONE = Options(workers=1)


def run(client: Elasticsearch, name: str, folder: Path, options: Options = ONE, rejects: Path | None = None) -> Report:
    if collections.find(client, name) is None:
        collections.create(client, name, DEFAULT.as_dict())
    with RejectsFile(rejects or folder.parent / "rejects.jsonl") as file:
        return ingest(client, name, DEFAULT, photos([folder], PersonFrom.folder), file, options)


def content(client: Elasticsearch, name: str) -> dict[str, list[float]]:
    """Every id with its vector."""
    client.indices.refresh(index=alias(name))
    hits = client.search(index=alias(name), size=10_000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"]["embedding"] for hit in hits}


@pytest.fixture
def folder(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    small_copies(portraits["obama.jpg"], tmp_path / "photos" / "Barack", 3)
    small_copies(portraits["biden.jpg"], tmp_path / "photos" / "Joe", 2)
    (tmp_path / "photos" / "notes.txt").write_text("not a photo")
    (tmp_path / "photos" / "cut.jpg").write_bytes(portraits["obama.jpg"].read_bytes()[:9000])
    return tmp_path / "photos"


def test_every_photo_is_accounted_for_and_a_second_run_embeds_nothing(
    client: Elasticsearch, name: str, folder: Path, tmp_path: Path
) -> None:
    first = run(client, name, folder, rejects=tmp_path / "out" / "rejects.jsonl")
    assert (first.photos, first.indexed, first.faces, first.skipped) == (7, 5, 5, 0)
    assert first.rejected == {"not_an_image": 1, "truncated": 1}
    assert first.rejects_file is not None
    noted = Path(first.rejects_file).read_text().splitlines()
    assert len(noted) == 2
    assert "cut.jpg" in noted[0]
    before = content(client, name)

    second = run(client, name, folder)
    assert (second.photos, second.indexed, second.faces, second.skipped, second.embedded) == (7, 0, 0, 5, 0)
    assert second.rejected == first.rejected
    assert content(client, name) == before
    counted = collections.count(client, collections.get(client, name))
    assert (counted["faces"], counted["people"], counted["photos"], counted["rejects"]) == (5, 2, 5, 2)


def test_the_same_photo_under_two_names_is_one(client: Elasticsearch, name: str, folder: Path) -> None:
    (folder / "Zoe").mkdir()
    (folder / "Zoe" / "again.jpg").write_bytes((folder / "Barack" / "0000.jpg").read_bytes())
    report = run(client, name, folder)
    assert (report.indexed, report.skipped, report.faces) == (5, 1, 5)


def test_another_face_size_looks_again(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder)
    again = run(client, name, folder, Options(Detection(min_face=60), workers=1))
    assert again.embedded == 7
    assert len(content(client, name)) == 5


def test_two_workers_give_what_one_gives(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder)
    alone = content(client, name)
    collections.delete(client, collections.get(client, name))
    report = run(client, name, folder, Options(workers=2))
    assert report.stages["start"] > 0
    assert content(client, name) == alone


def test_a_photo_that_takes_too_long_is_given_up(client: Elasticsearch, name: str, folder: Path) -> None:
    Image.effect_noise((5000, 4000), 50).save(folder / "large.png")  # some seconds of looking for faces
    report = run(client, name, folder, Options(workers=1, seconds_per_photo=1))
    assert report.rejected["timeout"] >= 1
    assert report.photos == 8
    again = run(client, name, folder)  # it is tried again the next time
    assert again.rejected == {"not_an_image": 1, "truncated": 1, "no_face": 1}


def test_people_without_names(client: Elasticsearch, name: str, folder: Path) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    with RejectsFile(folder.parent / "r.jsonl") as file:
        ingest(client, name, DEFAULT, photos([folder], PersonFrom.none), file, ONE)
    assert collections.count(client, collections.get(client, name))["people"] == 0


def _start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "facedex", "ingest", str(folder), "-c", name, "--json", "--workers", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ})


def _wait_for(client: Elasticsearch, name: str, faces: int) -> None:
    for _ in range(600):
        found = collections.find(client, name)
        if found is not None:
            client.indices.refresh(index=alias(name))
            if collections.count(client, found)["faces"] >= faces:
                return
        time.sleep(0.05)
    pytest.fail(f"{faces} faces never came")


def _settled(client: Elasticsearch, name: str) -> int:
    """How many faces there are, once the server is done with the last request of a run that was killed."""
    before = -1
    while (now := len(content(client, name))) != before:
        before = now
        time.sleep(0.5)
    return now


def test_killed_half_way_and_run_again_it_equals_an_undisturbed_run(
    client: Elasticsearch, name: str, tmp_path: Path, portraits: dict[str, Path]
) -> None:
    folder = tmp_path / "photos"
    small_copies(portraits["obama2.jpg"], folder / "Barack", 1400)
    process = _start(folder, name)
    _wait_for(client, name, 1)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "workers outlive a killed run"
    half = _settled(client, name)
    assert 0 < half < 1400

    finished = run(client, name, folder, Options(workers=2))
    assert (finished.photos, finished.skipped + finished.indexed) == (1400, 1400)
    assert finished.skipped == half
    resumed = content(client, name)
    collections.delete(client, collections.get(client, name))
    run(client, name, folder, Options(workers=2))
    assert content(client, name) == resumed


def test_a_worker_that_dies_costs_its_one_photo(client: Elasticsearch, name: str, tmp_path: Path, portraits: dict[str, Path]) -> None:
    folder = tmp_path / "photos"
    small_copies(portraits["obama2.jpg"], folder / "Barack", 300)
    process = _start(folder, name)
    worker = worker_at_work(process.pid)
    worker.kill()
    out, _ = process.communicate(timeout=120)
    report: dict[str, Any] = json.loads(out)
    assert report["photos"] == 300
    assert report["indexed"] + sum(report["rejected"].values()) == 300
    assert sum(report["rejected"].values()) <= 1
    assert set(report["rejected"]) <= {"worker_died"}


def test_the_engine_that_goes_away_is_told(name: str, tmp_path: Path, portraits: dict[str, Path]) -> None:
    small_copies(portraits["obama2.jpg"], tmp_path / "photos" / "B", 1)
    env = {**os.environ, "ELASTICSEARCH_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "facedex", "ingest", str(tmp_path / "photos"), "-c", name]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "can't be reached" in done.stderr
    assert settings().url is None


def test_many_new_photos_switch_to_a_bulk_load_and_back(
    client: Elasticsearch, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.run._MANY", 2)
    monkeypatch.setattr("ingest.writer._CHUNK_FACES", 1)
    collections.create(client, name, DEFAULT.as_dict())
    intervals: list[str | None] = []

    def seen(_: Report) -> None:
        (shape,) = client.indices.get_settings(index=alias(name)).values()
        intervals.append(shape["settings"]["index"].get("refresh_interval"))

    with RejectsFile(folder.parent / "rejects.jsonl") as file:
        ingest(client, name, DEFAULT, photos([folder], PersonFrom.folder), file, Options(workers=0, merge=False), seen)
    assert intervals[0] is None
    assert intervals[-1] == "-1"
    (shape,) = client.indices.get_settings(index=alias(name)).values()
    assert "refresh_interval" not in shape["settings"]["index"]


def test_photos_are_taken_no_faster_than_they_are_stored(client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    full, room = threading.Event(), threading.Event()

    def endless() -> Iterator[Source]:
        nonlocal taken
        for taken in range(1_000_000):
            yield Source(f"/nowhere/{taken}", kept_in=Nowhere("It is not there."))

    def stuck(*_: object) -> list[object]:
        full.set()
        room.wait(60)
        raise EngineError("The disk is slow no more.", code="unreachable")

    monkeypatch.setattr("ingest.writer.send", stuck)
    collections.create(client, name, DEFAULT.as_dict())
    ended: list[Exception] = []

    def run_() -> None:
        with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
            try:
                ingest(client, name, DEFAULT, endless(), file, Options(workers=1))
            except EngineError as error:
                ended.append(error)

    thread = threading.Thread(target=run_)
    thread.start()
    assert full.wait(60)
    before = -1
    while before != taken:  # what is ahead may still be taken
        before = taken
        time.sleep(0.5)
    assert taken < 8 * resume._LARGEST  # batches read, asked and decided, and what is on its way to be stored
    room.set()
    thread.join(60)
    assert len(ended) == 1
