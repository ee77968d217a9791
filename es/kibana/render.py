"""The dashboard as a picture, without Kibana: each panel's query is asked, and its own Vega-Lite drawn, in the dashboard's grid."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StorageError, UsageError
from es.client import speaking
from es.kibana.charts import COLOURS, TIME_BUCKETS, Json, Panel
from es.kibana.panels import panels

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from PIL import Image

_VEGA_LITE = "5.8"  # the oldest that the renderer has: Kibana's own is one of 5, too
_COLUMN, _ROW = 30, 20  # pixels of the grid
_GAP, _HEAD = 8, 30  # between two panels; above a chart, for its title
_INTERVALS = {60: "1m", 600: "10m", 3_600: "1h", 10_800: "3h", 43_200: "12h", 86_400: "1d", 604_800: "7d"}  # by seconds
_LIGHT = {"page": "#f3f5f9", "paper": "#ffffff", "text": "#343741", "faint": "#69707d", "grid": "#e6eaf1"}
_DARK = {"page": "#0e1117", "paper": "#1b1e26", "text": "#dfe5ef", "faint": "#98a2b3", "grid": "#343a46"}


def answer(client: Elasticsearch, panel: Panel, since: datetime, until: datetime) -> Mapping[str, Any]:
    """What Elasticsearch says to a panel's query, with Kibana's marks replaced as Kibana does.

    Raises:
        EngineError: Elasticsearch can't be reached or refuses.
    """
    within = {"range": {"@timestamp": {"gte": since.isoformat(), "lte": until.isoformat()}}}
    body = _without_marks(panel.body, since, until)
    with speaking():
        response: Mapping[str, Any] = client.search(
            index=panel.index, query={"bool": {"filter": [within]}}, size=0, aggs=body["aggs"], ignore_unavailable=True
        ).body
    return response


def _without_marks(value: Any, since: datetime, until: datetime) -> Any:
    if isinstance(value, list):
        return [_without_marks(each, since, until) for each in value]
    if not isinstance(value, dict):
        return value
    if "%timefilter%" in value:
        return (since if value["%timefilter%"] == "min" else until).isoformat()
    made = {key: _without_marks(each, since, until) for key, each in value.items() if key != "interval" or not isinstance(each, dict)}
    if isinstance(value.get("interval"), dict):
        wished = (until - since).total_seconds() / TIME_BUCKETS
        made["fixed_interval"] = next((name for seconds, name in _INTERVALS.items() if wished <= seconds), "30d")
    return made


def picture(panel: Panel, response: Mapping[str, Any], *, dark: bool = False) -> bytes:
    """One panel as PNG, in the size that it has on the dashboard."""
    import vl_convert

    colours = _DARK if dark else _LIGHT
    width, height = panel.grid[2] * _COLUMN - _GAP, panel.grid[3] * _ROW - _GAP
    spec = panel.drawn(response) | {"width": width, "height": height - _HEAD, "autosize": {"type": "fit", "contains": "padding"}}
    spec["padding"] = 10
    spec["config"] = _config(colours) | {"view": {"stroke": None}}
    spec["config"]["axis"] |= panel.drawn({})["config"]["axis"]
    png: bytes = vl_convert.vegalite_to_png(spec, vl_version=_VEGA_LITE, scale=1, show_warnings=False)
    return png


def _config(colours: Mapping[str, str]) -> Json:
    text, faint, grid = colours["text"], colours["faint"], colours["grid"]
    axis = {"labelColor": faint, "titleColor": text, "gridColor": grid, "domainColor": grid, "tickColor": grid}
    legend = {"labelColor": text, "titleColor": text}
    return {"background": colours["paper"], "axis": axis, "legend": legend, "range": {"category": COLOURS}}


def dashboard(client: Elasticsearch, since: datetime, until: datetime, *, dark: bool = False) -> Image.Image:
    """All panels in one picture.

    Raises:
        UsageError: the renderer is not installed (code ``no_renderer``).
        EngineError: Elasticsearch can't be reached or refuses.
    """
    from PIL import Image, ImageDraw, ImageFont

    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UsageError("Drawing the dashboard needs a renderer: pip install 'facedex[dashboard]'.", code="no_renderer") from None
    colours = _DARK if dark else _LIGHT
    shown = panels()
    bottom = max(panel.grid[1] + panel.grid[3] for panel in shown)
    page = Image.new("RGB", (48 * _COLUMN + _GAP, bottom * _ROW + _GAP), colours["page"])
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for panel in shown:
        x, y, width, height = panel.grid
        left, top = x * _COLUMN + _GAP, y * _ROW + _GAP
        box = (left, top, left + width * _COLUMN - _GAP - 1, top + height * _ROW - _GAP - 1)
        pen.rectangle(box, fill=colours["paper"])
        chart = Image.open(io.BytesIO(picture(panel, answer(client, panel, since, until), dark=dark)))
        page.paste(chart, (left, top + _HEAD))
        pen.text((left + 10, top + 8), panel.title, fill=colours["text"], font=font)
    return page


def write(client: Elasticsearch, file: Path, since: datetime, until: datetime, *, dark: bool = False) -> None:
    """Writes the picture of the dashboard.

    Raises:
        UsageError, EngineError: see :func:`dashboard`.
        StorageError: the file can't be written.
    """
    drawn = dashboard(client, since, until, dark=dark)
    try:
        drawn.save(file, "PNG", optimize=True)
    except OSError as error:
        raise StorageError.of(error, f"write {file}", "Choose another file.") from None
