"""What Kibana imports: data views, saved searches, visualisations and the dashboard, as the lines of a file.

Ids stay the same, so that installing again replaces what was there. The shapes are those of Kibana 8.16 and later: an import upgrades older
ones, and refuses newer ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from es.kibana.charts import Json, Panel
from es.kibana.panels import panels
from es.kibana.views import VIEWS, View

DASHBOARD = "facedex-dashboard"
COLUMNS = 48  # of Kibana's grid

_VERSIONS = {"index-pattern": "8.0.0", "search": "10.5.0", "visualization": "8.5.0", "dashboard": "10.2.0"}
_NO_QUERY: Json = {"query": {"query": "", "language": "kuery"}, "filter": []}
_SEARCH_HEIGHT = 14


def saved_objects() -> list[Json]:
    """All of them, each after what it refers to."""
    searches = [(view, key) for view in VIEWS for key in view.searches]
    return [
        *map(_view, VIEWS),
        *(_search(view, key) for view, key in searches),
        *map(_visualisation, panels()),
        _dashboard([key for _, key in searches]),
    ]


def ndjson() -> str:
    """The file that Kibana imports: a JSON document on each line."""
    return "".join(_json(made) + "\n" for made in saved_objects())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(kind: str, id_: str, attributes: Json, references: Iterable[tuple[str, str, str]] = ()) -> Json:
    """A saved object; references are name, type and id."""
    return {
        "type": kind,
        "id": id_,
        "attributes": attributes,
        "references": [{"name": name, "type": to, "id": which} for name, to, which in references],
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": _VERSIONS[kind],
        "managed": False,
    }


def _view(view: View) -> Json:
    attributes = {
        "title": view.title,
        "name": view.name,
        "timeFieldName": "@timestamp",
        "allowNoIndex": True,  # before the first collection there is nothing to see
        "fields": "[]",
        "fieldAttrs": _json({name: {"customLabel": label} for name, label in view.labels.items()}),
        "fieldFormatMap": _json(dict(view.formats)),
        "runtimeFieldMap": "{}",
        "sourceFilters": _json([{"value": "embedding"}, {"value": "thumbnail"}] if view.id == "faces" else []),
    }
    return _object("index-pattern", f"facedex-{view.id}", attributes)


def _search(view: View, key: str) -> Json:
    title, columns, query = view.searches[key]
    reference = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": reference}
    attributes = {
        "title": title,
        "description": "",
        "columns": list(columns),
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(source)},
    }
    return _object("search", f"facedex-{key}", attributes, [(reference, "index-pattern", f"facedex-{view.id}")])


def _visualisation(panel: Panel) -> Json:
    title = f"Facedex: {panel.title}"
    # Indented, so that a person can change it in Kibana's editor.
    spec = json.dumps(panel.spec(), ensure_ascii=False, indent=2)
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "uiStateJSON": "{}",
        "visState": _json({"title": title, "type": "vega", "aggs": [], "params": {"spec": spec}}),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(_NO_QUERY)},
    }
    return _object("visualization", f"facedex-panel-{panel.id}", attributes)


def _dashboard(searches: list[str]) -> Json:
    placed = [(f"facedex-panel-{panel.id}", "visualization", panel.title, panel.grid) for panel in panels()]
    bottom = max(y + height for *_, (_, y, _, height) in placed)
    titles = {key: title.removeprefix("Facedex: ").capitalize() for view in VIEWS for key, (title, *_) in view.searches.items()}
    for number, key in enumerate(("searches", "runs")):
        width = COLUMNS // 2
        placed.append((f"facedex-{key}", "search", titles[key], (number * width, bottom, width, _SEARCH_HEIGHT)))
    shown, references = [], []
    for id_, kind, title, (x, y, width, height) in placed:
        shown.append(
            {
                "type": kind,
                "panelIndex": id_,
                "gridData": {"x": x, "y": y, "w": width, "h": height, "i": id_},
                "title": title,
                "embeddableConfig": {"title": title, "enhancements": {}},
                "panelRefName": f"panel_{id_}",
            }
        )
        references.append((f"{id_}:panel_{id_}", kind, id_))
    attributes = {
        "title": "Facedex",
        "description": "Faces, people, their quality, what was left out, ingest runs and searches.",
        "panelsJSON": _json(shown),
        "optionsJSON": _json(
            {"useMargins": True, "syncColors": False, "syncCursor": True, "syncTooltips": False, "hidePanelTitles": False}
        ),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _json(_NO_QUERY)},
        "timeRestore": True,
        "timeFrom": "now-1y",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60_000},
        "version": 1,
    }
    return _object("dashboard", DASHBOARD, attributes, references)
