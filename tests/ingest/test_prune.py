import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es import collections
from es import scan as scanning
from es.documents import alias, rejects_alias
from faces.recipe import DEFAULT
from ingest.presence import files, is_gone
from ingest.prune import gone, prune
from ingest.writer import Work, Writer
from photos.sources import Source
from tests.faces_made import face, sha
from workers.worker import Outcome, Reject


def stored(client: Elasticsearch, name: str) -> set[str]:
    hits = client.search(index=[alias(name), rejects_alias(name)], size=1000)["hits"]["hits"]
    return {hit["_source"]["image"]["path"] for hit in hits}


def fill(client: Elasticsearch, name: str, *paths: str | Path) -> None:
    collections.create(client, name, DEFAULT.as_dict(), shards=2)
    writer = Writer(client, name, model="Dlib", run="r", detection="min_face=80")

    def work(path: str | Path) -> Work:
        reject = Reject("no_face", "A sentence.") if "reject" in str(path) else None
        faces = () if reject else (face(1), face(2))
        return Work(Source(str(path)), Outcome(sha(str(path)), 640, 480, faces, reject))

    list(writer.write(map(work, paths)))
    client.indices.refresh(index=[alias(name), rejects_alias(name)])


def test_only_what_is_below_the_sources_and_gone_goes(client: Elasticsearch, name: str, tmp_path: Path) -> None:
    here, other, file = tmp_path / "here", tmp_path / "here too", tmp_path / "one.jpg"
    for path in (here / "kept.jpg", here / "kept reject.jpg", other / "kept.jpg"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    paths = [here / "kept.jpg", here / "kept reject.jpg", here / "gone.jpg", here / "deep" / "gone.jpg", here / "gone reject.jpg"]
    elsewhere = [other / "gone.jpg", file, here / "photos.zip::gone.jpg", here / "kept.jpg" / "within.jpg"]
    fill(client, name, *paths, *elsewhere)
    assert gone(client, name, [here]) == {"faces": 4, "rejects": 1}
    assert prune(client, name, [here]) == {"faces": 4, "rejects": 1}
    assert stored(client, name) == {str(path) for path in [*paths[:2], *elsewhere]}
    assert prune(client, name, [here]) == Counter()
    assert prune(client, name, [file]) == {"faces": 2}


def test_more_than_a_page(client: Elasticsearch, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_PAGE", 7)
    (tmp_path / "0.jpg").touch()
    fill(client, name, *(tmp_path / f"{number}.jpg" for number in range(40)))
    assert prune(client, name, [tmp_path]) == {"faces": 78}
    assert stored(client, name) == {str(tmp_path / "0.jpg")}


def test_names_that_are_not_utf8_and_the_root(client: Elasticsearch, name: str, tmp_path: Path) -> None:
    odd, literal = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")), tmp_path / "caf\\xea.jpg"
    odd.touch()
    literal.touch()
    fill(client, name, odd, literal, tmp_path / "caf\\xeb.jpg")
    assert prune(client, name, [Path("/")]) == {"faces": 2}
    assert len(stored(client, name)) == 2


def test_what_can_not_be_looked_at_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "lstat", refusing)
    assert not is_gone(str(tmp_path / "photo.jpg"))


def test_in_doubt_a_photo_is_there(tmp_path: Path) -> None:
    assert is_gone(str(tmp_path / "photo.jpg"))
    link = tmp_path / "link.jpg"
    link.symlink_to(link)
    for doubtful in ("https://host/photo.jpg", str(tmp_path / "nul\0"), str(tmp_path / ("x" * 5000)), str(link), str(link / "a.jpg")):
        assert not is_gone(doubtful)
    assert files("s3://bucket/photo.jpg") == []


def test_what_another_run_has_moved_meanwhile_stays(
    client: Elasticsearch, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client, name, tmp_path / "old.jpg", tmp_path / "gone.jpg")
    (tmp_path / "new.jpg").touch()

    def scan_then_move(*args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        hits = list(scanning.scan(*args, **kwargs))
        for hit in client.search(index=alias(name), query={"term": {"image.path": str(tmp_path / "old.jpg")}})["hits"]["hits"]:
            client.update(index=hit["_index"], id=hit["_id"], doc={"image": {"path": str(tmp_path / "new.jpg")}}, refresh=True)
        yield from hits

    monkeypatch.setattr("ingest.prune.scan", scan_then_move)
    assert prune(client, name, [tmp_path]) == {"faces": 2}
    assert stored(client, name) == {str(tmp_path / "new.jpg")}
