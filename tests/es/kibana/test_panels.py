"""Every panel's query runs on a real node, and its own Vega-Lite draws what comes back."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
from PIL import Image, ImageChops

from es import operations
from es.collections import create, delete
from es.documents import OPERATIONS, alias, rejects_alias
from es.kibana.charts import Panel
from es.kibana.panels import FACES, panels
from es.kibana.render import answer, dashboard, picture
from faces.recipe import DEFAULT

# A time in which nothing else of these tests happens: the panels look at all collections.
SINCE = datetime(2001, 1, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=30)
BEFORE = (SINCE - timedelta(days=90), SINCE - timedelta(days=60))
PANELS = {panel.id: panel for panel in panels()}

Asked = Callable[[str], tuple[str, str]]


def _face(number: int, person: str | None) -> dict[str, Any]:
    when = SINCE + timedelta(days=number % 30, hours=3)
    quality = {"size": 50 + number, "sharpness": 5.0 * number, "brightness": 0.51, "frontal": 0.9}
    face = {"ordinal": 0, "confidence": 1.0 + number / 100, "quality": quality}
    named = {} if person is None else {"person": person}
    return {"@timestamp": when.isoformat(), "image": {"sha256": f"{number}", "path": f"/{number}.jpg", "faces": 1}, "face": face, **named}


@pytest.fixture(scope="module")
def made(client: Elasticsearch) -> Iterator[str]:
    """A collection of 100 photos: 40 people with one, 10 with two, one with 30, and 10 photos of nobody; 4 rejects, 3 runs, 6 searches."""
    name = f"test-{uuid.uuid4().hex}"
    collection = create(client, name, DEFAULT.as_dict())
    people = [*(f"one {n}" for n in range(40)), *(f"two {n // 2}" for n in range(20)), *["many"] * 30, *[None] * 10]
    faces = [{"_index": alias(name), **_face(number, person)} for number, person in enumerate(people)]
    rejects = [
        {"_index": rejects_alias(name), "@timestamp": SINCE.isoformat(), "image": {"path": f"/{n}"}, "reason": reason, "message": "Why."}
        for n, reason in enumerate(["no_face", "no_face", "no_face", "corrupt"])
    ]
    bulk(client, [*faces, *rejects])
    for number, outcome in enumerate(("finished", "interrupted", "failed")):
        ran = {"photos": 100 * (number + 1), "photos_per_second": 10.0 * (number + 1), "rejected": 2}
        at = SINCE + timedelta(days=5 * number)
        operations.write(client, "ingest", name, at, {"outcome": outcome, "seconds": 9, "faces": 90, "ingest": ran})
    for number in range(6):
        latency = {"median": 4.0 + number, "p95": 20.0 + number}
        counts = {"targets": 10, "results": 50, "verified": 9, "latency": latency, "outcome": "finished", "seconds": 1.5}
        at = SINCE + timedelta(days=4 * number)
        operations.write(client, "search", name, at, counts, purpose="gate" if number < 4 else None)
    client.indices.refresh(index=f"facedex-*{name}*,{OPERATIONS}")
    yield name
    delete(client, collection)
    operations.prune(client, UNTIL)


def svg(panel: Panel, response: Mapping[str, Any]) -> str:
    return str(vl_convert.vegalite_to_svg(panel.drawn(response) | {"width": 400, "height": 200}, vl_version="5.8"))


@pytest.fixture
def asked(client: Elasticsearch, made: str) -> Asked:
    """The texts of a panel's drawing, and what its marks say of themselves."""

    def draw(id_: str) -> tuple[str, str]:
        drawn = svg(PANELS[id_], answer(client, PANELS[id_], SINCE, UNTIL))
        return " ".join(re.findall(r">([^<>]+)</text>", drawn)), " | ".join(re.findall(r'aria-label="([^"]*)"', drawn))

    return draw


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_every_panel_draws_what_a_node_says(client: Elasticsearch, made: str, asked: Asked, panel: Panel) -> None:
    assert "no data yet" not in asked(panel.id)[0]
    empty = Image.open(io.BytesIO(picture(panel, answer(client, panel, *BEFORE))))
    for dark in (False, True):
        drawn = Image.open(io.BytesIO(picture(panel, answer(client, panel, SINCE, UNTIL), dark=dark)))
        assert drawn.size == empty.size
        assert len(drawn.convert("RGB").getcolors(1 << 20) or []) > 10
    assert drawn.tobytes() != empty.tobytes()


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_says_when_there_is_nothing_in_it(client: Elasticsearch, made: str, panel: Panel) -> None:
    # Nothing in that time; no such index, which is answered without aggregations.
    for response in (answer(client, panel, *BEFORE), {"hits": {"total": 0, "hits": []}}):
        assert "no data yet" in svg(panel, response)
        drawn = Image.open(io.BytesIO(picture(panel, response))).convert("RGB")
        box = ImageChops.difference(drawn, Image.new("RGB", drawn.size, drawn.getpixel((0, 0)))).getbbox()
        assert box is not None
        left, top, right, bottom = box
        assert min(left, top, drawn.width - right, drawn.height - bottom) > 5  # all of it can be seen


def test_numbers(asked: Asked) -> None:
    expected = {"faces": "100", "photos": "100", "people": "51", "rejects": "4", "searches": "60", "latency": "6.5"}
    assert {id_: asked(id_)[0].split()[0] for id_ in expected} == expected
    assert "1.8 photos each" in asked("people")[0]  # nobody's photos don't count
    assert "54 matches verified" in asked("searches")[0]


def test_photos_per_person_are_shares_of_people(asked: Asked) -> None:
    labels = asked("photos-per-person")[1]
    for photos, share in (("1", 40 / 51), ("2", 10 / 51), ("21-50", 1 / 51)):
        assert f"photos: {photos}; share of people: {share:.0%}" in labels


def test_names_reasons_purposes_and_users_have_their_numbers(asked: Asked) -> None:
    assert "photos: 30" in asked("most-photos")[1]
    assert "3" in asked("reasons")[0].split()
    assert {"gate", "40", "20"} <= set(asked("purposes")[0].split())
    assert "(not said)" in asked("purposes")[0]
    assert "60" in asked("users")[0].split()


def test_time_goes_from_one_end_of_the_picker_to_the_other(client: Elasticsearch, made: str) -> None:
    for id_, by in (("faces-over-time", "by"), ("searches-over-time", "by"), ("latency-over-time", None), ("runs", None)):
        found = answer(client, PANELS[id_], SINCE, UNTIL)["aggregations"]["all"]
        times = (found[by]["buckets"][0] if by else found)["times"]["buckets"]
        assert times[0]["key"] <= SINCE.timestamp() * 1000
        assert times[-1]["key"] > (UNTIL - timedelta(days=1)).timestamp() * 1000
        assert 25 < len(times) < 80


def test_only_current_faces_count(client: Elasticsearch, made: str) -> None:
    client.indices.create(index=f"{alias(made)}--copy-test")
    try:
        client.index(index=f"{alias(made)}--copy-test", document={"@timestamp": SINCE.isoformat()}, refresh=True)
        found = client.search(index=FACES, size=0, query={"range": {"@timestamp": {"lt": UNTIL.isoformat()}}}, track_total_hits=True)
        assert found["hits"]["total"]["value"] == 100
    finally:
        client.indices.delete(index=f"{alias(made)}--copy-test")


def test_a_sample_of_people_stands_for_many(client: Elasticsearch, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es.kibana.panels._SAMPLE", 20)
    panel = next(panel for panel in panels() if panel.id == "photos-per-person")
    found = answer(client, panel, SINCE, UNTIL)["aggregations"]["all"]
    assert found["of1"]["sum_other_doc_count"] > 0
    assert 0 < len(found["of16"]["buckets"]) < 20
    singles = sum(bucket["doc_count"] == 1 for bucket in found["of16"]["buckets"]) / len(found["of16"]["buckets"])
    assert f"photos: 1; share of people: {singles:.0%}" in svg(panel, answer(client, panel, SINCE, UNTIL))


def test_the_whole_dashboard_is_a_picture(client: Elasticsearch, made: str, tmp_path: Path) -> None:
    drawn = dashboard(client, SINCE, UNTIL)
    assert drawn.width > 1_400
    assert drawn.height > 1_000
