from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from PIL import Image, ImageFilter

from core.errors import UsageError
from es import collections
from es.documents import alias
from faces.quality import gate
from faces.recipe import DEFAULT
from ingest.report import RejectsFile, Report
from ingest.run import Options, ingest
from photos.sources import PersonFrom, photos
from workers.worker import Detection


@pytest.fixture
def folder(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    (tmp_path / "photos" / "B").mkdir(parents=True)
    with Image.open(portraits["obama.jpg"]) as image:
        sharp = image.convert("RGB").resize((500, int(500 * image.height / image.width)))
    blurred = sharp.filter(ImageFilter.GaussianBlur(4))
    sharp.save(tmp_path / "photos/B/1-sharp.png")
    blurred.save(tmp_path / "photos/B/2-blurred.png")
    both = Image.new("RGB", (sharp.width * 2, sharp.height))
    both.paste(sharp, (0, 0))
    both.paste(blurred, (sharp.width, 0))
    both.save(tmp_path / "photos/B/3-both.png")
    return tmp_path / "photos"


def run(client: Elasticsearch, name: str, folder: Path, options: Options) -> Report:
    if collections.find(client, name) is None:
        collections.create(client, name, DEFAULT.as_dict())
    with RejectsFile(folder.parent / "rejects.jsonl") as file:
        return ingest(client, name, DEFAULT, photos([folder], PersonFrom.folder), file, options)


def test_measures_are_stored_and_nothing_is_left_out_unless_asked(client: Elasticsearch, name: str, folder: Path) -> None:
    report = run(client, name, folder, Options(workers=0))
    assert (report.indexed, report.faces, report.below_quality) == (3, 4, 0)
    found = client.search(index=alias(name), query={"range": {"face.quality.sharpness": {"gte": 50}}})["hits"]["hits"]
    assert sorted(Path(hit["_source"]["image"]["path"]).name for hit in found) == ["1-sharp.png", "3-both.png"]
    assert found[0]["_source"]["face"]["quality"].keys() == {"size", "sharpness", "brightness", "frontal"}
    assert "thumbnail" not in found[0]["_source"]


def test_the_gate_leaves_out_and_says_why(client: Elasticsearch, name: str, folder: Path) -> None:
    options = Options(Detection(min_quality=gate(["sharpness=50"])), workers=1)
    report = run(client, name, folder, options)
    assert (report.indexed, report.faces, report.below_quality) == (2, 2, 1)
    assert report.rejected == {"low_quality": 1}
    (noted,) = [json.loads(line) for line in (folder.parent / "rejects.jsonl").read_text().splitlines()]
    assert Path(noted["image"]).name == "2-blurred.png"
    assert "sharpness" in noted["message"]
    assert "below 50" in noted["message"]
    assert run(client, name, folder, options).embedded == 0
    assert run(client, name, folder, Options(workers=0)).faces == 4  # without the gate everything is looked at again, and comes in


def test_thumbnails_on_request(client: Elasticsearch, name: str, folder: Path) -> None:
    run(client, name, folder, Options(workers=1, thumbnails=True))
    hits = client.search(index=alias(name), source={"includes": ["thumbnail"]})["hits"]["hits"]
    assert len(hits) == 4
    assert all(base64.b64decode(hit["_source"]["thumbnail"]).startswith(b"\xff\xd8") for hit in hits)


@pytest.mark.parametrize("text", ["sharpness", "beauty=3", "size=large", "=", "size>=3", "brightness=nan"])
def test_a_gate_that_is_not_understood(text: str) -> None:
    with pytest.raises(UsageError, match="sharpness"):
        gate([text])
