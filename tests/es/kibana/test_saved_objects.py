"""What Kibana is given is whole: every reference leads somewhere, every text in a text can be read, no panel covers another."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from es.documents import REJECT_MAPPING, face_mapping
from es.kibana.panels import panels
from es.kibana.saved_objects import COLUMNS, DASHBOARD, ndjson, saved_objects
from es.kibana.views import VIEWS
from es.operations import MAPPING

OBJECTS = {(made["type"], made["id"]): made for made in saved_objects()}
REQUIRED = {
    "index-pattern": {"title", "name", "timeFieldName", "fieldAttrs", "fieldFormatMap"},
    "search": {"title", "columns", "sort", "kibanaSavedObjectMeta", "hideChart", "isTextBasedQuery", "grid"},
    "visualization": {"title", "visState", "uiStateJSON", "kibanaSavedObjectMeta"},
    "dashboard": {"title", "panelsJSON", "optionsJSON", "timeRestore", "timeFrom", "timeTo", "kibanaSavedObjectMeta"},
}


def texts_in(value: Any) -> list[str]:
    """The JSON that stands as text inside of JSON."""
    if isinstance(value, dict):
        json_texts = [each for key, each in value.items() if key.endswith("JSON") or key in {"visState", "fieldAttrs", "fieldFormatMap"}]
        return json_texts + [text for each in value.values() for text in texts_in(each)]
    return []


def fields(mapping: Any, before: str = "") -> set[str]:
    found = set()
    for name, field in mapping["properties"].items():
        found |= fields(field, f"{before}{name}.") if "properties" in field else {f"{before}{name}"}
    return found


STORED = {
    "faces": fields(face_mapping(128, "cosine", {}, {})),
    "rejects": fields(REJECT_MAPPING),
    "operations": fields(MAPPING),
}


def test_there_is_one_of_each_and_it_is_the_same_every_time() -> None:
    lines = [json.loads(line) for line in ndjson().splitlines()]
    assert lines == list(OBJECTS.values())
    assert ndjson() == ndjson()
    assert {kind for kind, _ in OBJECTS} == set(REQUIRED)
    assert ("dashboard", DASHBOARD) in OBJECTS


@pytest.mark.parametrize("made", OBJECTS.values(), ids=lambda made: made["id"])
def test_an_object_is_whole(made: dict[str, Any]) -> None:
    assert REQUIRED[made["type"]] <= made["attributes"].keys()
    assert {"coreMigrationVersion", "typeMigrationVersion", "references"} <= made.keys()
    for reference in made["references"]:
        assert (reference["type"], reference["id"]) in OBJECTS
    for text in texts_in(made["attributes"]):
        json.loads(text)
    source = json.loads(made["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}"))
    assert "indexRefName" not in source or source["indexRefName"] in {reference["name"] for reference in made["references"]}


def test_every_panel_is_on_the_dashboard_and_none_covers_another() -> None:
    dashboard = OBJECTS["dashboard", DASHBOARD]
    shown = json.loads(dashboard["attributes"]["panelsJSON"])
    references = {reference["name"]: reference["id"] for reference in dashboard["references"]}
    placed = {references[f"{panel['panelIndex']}:{panel['panelRefName']}"]: panel["gridData"] for panel in shown}
    assert {id_ for kind, id_ in OBJECTS if kind == "visualization"} <= placed.keys()
    for grid in placed.values():
        assert grid["x"] >= 0
        assert grid["x"] + grid["w"] <= COLUMNS
    for one, other in combinations(placed.values(), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel.id)
def test_kibana_fills_in_the_time_picker_and_the_filters(panel: Any) -> None:
    made = OBJECTS["visualization", f"facedex-panel-{panel.id}"]
    state = json.loads(made["attributes"]["visState"])
    spec = json.loads(state["params"]["spec"])
    assert state["type"] == "vega"
    assert spec == panel.spec()
    url = spec["data"]["url"]
    assert (url["%context%"], url["%timefield%"], url["index"]) == (True, "@timestamp", panel.index)
    assert "query" not in url["body"]  # Kibana refuses it beside its own
    assert "aggs" in url["body"]  # Kibana looks for its marks there, and not below "aggregations"


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.id)
def test_views_name_fields_that_are_stored(view: Any) -> None:
    stored = STORED[view.id]
    assert view.labels.keys() <= stored
    assert view.formats.keys() <= view.labels.keys()
    for _, columns, _ in view.searches.values():
        assert set(columns) <= stored
    hidden = {"embedding", "thumbnail", "face.landmarks"}
    assert stored - hidden <= view.labels.keys()
