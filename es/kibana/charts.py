"""One panel: what it asks Elasticsearch, and the Vega-Lite that draws the answer, the same in Kibana and outside it.

In Kibana, the data of a specification is a query, in which Kibana replaces marks between % by the time picker and the filters; what
comes back is one datum, the whole response. Outside, the same response is put there instead. So a specification unpacks the
response by itself, and says so where there is nothing in it yet: an index that isn't there has no aggregations at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"  # what Kibana 9 knows
# Readable on light and on dark, and apart for people who don't see all colours (after Okabe and Ito).
BLUE, GREEN, ORANGE, PURPLE, RED, GREY = "#3b86c8", "#1a9e77", "#e08a1e", "#b07aa8", "#d2553f", "#7d8797"
COLOURS = [BLUE, ORANGE, GREEN, PURPLE, RED, "#56b4c9", "#a3962a", GREY]

Json = dict[str, Any]

EVERYTHING: Json = {"match_all": {}}
TIME_BUCKETS = 50  # about so many in a chart

_ALL = "datum.aggregations.all"


@dataclass(frozen=True)
class Panel:
    """A panel of the dashboard.

    Args:
        id: its name in Kibana, without the beginning that all share.
        title: what a person reads above it.
        index: what it asks.
        grid: where it stands: x, y, width and height, in Kibana's grid of 48 columns.
        aggs: what it asks for.
        rows: where the rows of the chart are in the answer, as a Vega expression over ``all`` (the documents that ``only`` lets through).
        columns: what each row has, as expressions over ``row`` (and ``part``).
        layers: the marks of the chart, with their encodings.
        only: a clause that the documents have to meet.
        parts: where a row has rows of its own, as an expression over ``row``.
        transforms: what is done with the rows before they are drawn.
    """

    id: str
    title: str
    index: str
    grid: tuple[int, int, int, int]
    aggs: Json
    rows: str
    columns: Mapping[str, str]
    layers: Sequence[Json]
    only: Json = field(default_factory=lambda: EVERYTHING)
    parts: str | None = None
    transforms: Sequence[Json] = ()

    @property
    def body(self) -> Json:
        """The search, with Kibana's marks in it."""
        return {"size": 0, "aggs": {"all": {"filter": self.only, "aggs": self.aggs}}}

    def spec(self) -> Json:
        """The Vega-Lite specification for Kibana."""
        url = {"%context%": True, "%timefield%": "@timestamp", "index": self.index, "body": self.body}
        return self._drawn({"url": url})

    def drawn(self, response: Mapping[str, Any]) -> Json:
        """The same specification with the answer in the place of the query."""
        return self._drawn({"values": dict(response)})

    def _drawn(self, data: Json) -> Json:
        rows = self.rows.replace("all.", f"{_ALL}.")
        unpacked: list[Json] = [{"flatten": ["rows"], "as": ["row"]}]
        if self.parts is not None:
            unpacked += [{"calculate": _over(self.parts), "as": "parts"}, {"flatten": ["parts"], "as": ["part"]}]
        unpacked += [{"calculate": _over(expression), "as": name} for name, expression in self.columns.items()]
        unpacked += self.transforms
        layers = [{**layer, "transform": [*unpacked, *layer.get("transform", ())]} for layer in self.layers]
        return {
            "$schema": SCHEMA,
            "data": data,
            "transform": [{"calculate": f"datum.aggregations && {_ALL}.doc_count > 0 ? {rows} : []", "as": "rows"}],
            "layer": [*layers, _EMPTY],
            "config": {"view": {"stroke": None}, "axis": {"labelLimit": 140, "titleFontWeight": "normal"}},
        }


# 800 and 1,200, but 12k: the format for thousands alone would say 0.8k.
_COUNTS: Json = {"tickCount": 4, "labelExpr": "datum.value < 10000 ? format(datum.value, ',') : format(datum.value, '~s')"}
TIME: Json = {"type": "temporal", "title": None, "axis": {"grid": False, "tickCount": 8, "labelOverlap": True}}
_MIDDLE = {"x": {"value": {"expr": "width / 2"}}, "y": {"value": {"expr": "height / 2"}}}
_EMPTY: Json = {
    "transform": [{"filter": "length(datum.rows) == 0"}],
    "mark": {"type": "text", "text": "no data yet", "color": GREY, "fontSize": 13},
    "encoding": _MIDDLE | {"y": {"value": {"expr": "0.4 * height"}}},  # beside the line of an empty axis
}


def _over(expression: str) -> str:
    return expression.replace("row.", "datum.row.").replace("part.", "datum.part.")


def by_time(**aggs: Any) -> Json:
    """The buckets of a time axis, from one end of the time picker to the other, also where nothing happened."""
    histogram = {
        "field": "@timestamp",
        "interval": {"%autointerval%": TIME_BUCKETS},
        "min_doc_count": 0,
        "extended_bounds": {"min": {"%timefilter%": "min"}, "max": {"%timefilter%": "max"}},
    }
    return {"date_histogram": histogram, **({"aggs": aggs} if aggs else {})}


def number(value: str, under: str = "") -> list[Json]:
    """One large number, and a word about it; both are Vega expressions over the columns."""
    large = {"type": "text", "fontSize": 30, "fontWeight": "bold", "color": BLUE, "dy": -6 if under else 0}
    shown = {"calculate": f"{value} < 100000 ? format({value}, ',') : format({value}, '.3s')", "as": "shown"}
    layers: list[Json] = [{"transform": [shown], "mark": large, "encoding": {**_MIDDLE, "text": {"field": "shown", "type": "nominal"}}}]
    if under:
        small = {"type": "text", "fontSize": 11, "color": GREY, "dy": 18}
        layers.append(
            {
                "transform": [{"calculate": under, "as": "under"}],
                "mark": small,
                "encoding": {**_MIDDLE, "text": {"field": "under", "type": "nominal"}},
            }
        )
    return layers


def columns(x: str, y: str, x_title: str | None, y_title: str, *, colour: str = BLUE, axis: Json | None = None) -> list[Json]:
    """Upright bars over names, in the order in which they come (column ``order``)."""
    return [
        {
            "mark": {"type": "bar", "color": colour, "tooltip": True},
            "encoding": {
                "x": {"field": x, "type": "ordinal", "title": x_title, "sort": {"field": "order"}, "axis": {"labelAngle": 0}},
                "y": {"field": y, "type": "quantitative", "title": y_title, "axis": axis or _COUNTS},
            },
        }
    ]


def bins(x_title: str, y_title: str, *, colour: str = BLUE) -> list[Json]:
    """Upright bars over a scale, from ``start`` to ``end``, as high as ``count``."""
    return [
        {
            "transform": [{"calculate": "0", "as": "none"}],
            "mark": {"type": "rect", "color": colour, "tooltip": True, "stroke": colour},
            "encoding": {
                "x": {"field": "start", "type": "quantitative", "title": x_title, "axis": {"tickCount": 6, "grid": False}},
                "x2": {"field": "end"},
                "y": {"field": "count", "type": "quantitative", "title": y_title, "axis": _COUNTS},
                "y2": {"field": "none"},
            },
        }
    ]


def rows(y: str, x: str, x_title: str, *, colour: str = BLUE) -> list[Json]:
    """Lying bars, the longest first, each with its number."""
    encoding = {
        "y": {"field": y, "type": "nominal", "title": None, "sort": {"field": x, "order": "descending"}},
        "x": {"field": x, "type": "quantitative", "title": x_title, "axis": _COUNTS | {"grid": False}},
    }
    bar = {"type": "bar", "color": colour, "tooltip": True, "size": {"expr": "min(24, 0.8 * bandwidth('y'))"}}
    number_ = {"text": {"field": x, "type": "quantitative", "format": ","}}
    return [
        {"mark": bar, "encoding": encoding},
        {"mark": {"type": "text", "align": "left", "dx": 3, "color": GREY, "fontSize": 10}, "encoding": encoding | number_},
    ]


def stacked_time(y: str, y_title: str, by: str) -> list[Json]:
    """Bars from ``start`` to ``end``, put upon each other by what ``by`` says."""
    return [
        {
            "transform": [{"stack": y, "groupby": ["start"], "sort": [{"field": by}], "as": ["low", "high"]}],
            "mark": {"type": "rect", "tooltip": True},
            "encoding": {
                "x": TIME | {"field": "start"},
                "x2": {"field": "end"},
                "y": {"field": "high", "type": "quantitative", "title": y_title, "axis": _COUNTS},
                "y2": {"field": "low"},
                "tooltip": [{"field": by}, {"field": y, "format": ","}, {"field": "start", "type": "temporal", "format": "%Y-%m-%d %H:%M"}],
                "color": {
                    "field": by,
                    "type": "nominal",
                    "scale": {"range": COLOURS},
                    "legend": {"orient": "top", "title": by, "labelLimit": 160},  # without a title, one without entries breaks the layout
                },
            },
        }
    ]
