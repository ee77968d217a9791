"""The panels of the dashboard: what is stored, how good it is, what was left out, and what was done with it.

All of them are cheap for millions of faces: aggregations over doc values with a bounded number of buckets. People are too many to count
one by one, so their number is approximate (HyperLogLog++), and how many photos a person has is told of all people while they are
few, else of a sample: Elasticsearch takes those whose names' hashes fall into one of many parts, which is fair to everybody.
"""

from __future__ import annotations

from itertools import pairwise

from es.documents import OPERATIONS, PREFIX
from es.kibana.charts import (
    BLUE,
    EVERYTHING,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    TIME,
    Json,
    Panel,
    bins,
    by_time,
    columns,
    number,
    rows,
    stacked_time,
)

# Two dashes: operations, and copies that are measured on. A hyphen in front leaves out.
FACES = f"{PREFIX}*,-{PREFIX}-*,-{PREFIX}*--*,-{PREFIX}*-rejects,-{PREFIX}*-rejects-v1"
REJECTS = f"{PREFIX}*-rejects"

_PHOTO = {"term": {"face.ordinal": 0}}  # every photo has one such face
_SEARCH = {"term": {"action": "search"}}
_SAMPLE = 2_000  # people
_PARTS = (1, 16, 256, 4_096)  # the first with so few people is taken: up to 8 million people
_PHOTO_BINS = ((1, "1"), (2, "2"), (5, "3-5"), (10, "6-10"), (20, "11-20"), (50, "21-50"), (100, "51-100"))
# An index's name to a collection's.
_COLLECTION = "replace(replace(row.key, /^facedex-/, ''), /-v[0-9]+$/, '')"
_STEP = "length(row.times.buckets) > 1 ? row.times.buckets[1].key - row.times.buckets[0].key : 3600000"


def _ranges(field: str, *edges: int) -> Json:
    """Named ranges of a measure that has no upper limit; their number is fixed, whatever the values."""
    named = [{"key": f"{low}-{high}", "from": low, "to": high} for low, high in pairwise(edges)]
    ends: tuple[Json, Json] = {"key": f"<{edges[0]}", "to": edges[0]}, {"key": f"≥{edges[-1]}", "from": edges[-1]}
    return {"range": {"field": field, "ranges": [ends[0], *named, ends[1]]}}


_RANGE = {"name": "row.key", "count": "row.doc_count", "order": "isValid(row.from) ? row.from : -1"}


def _quality(id_: str, title: str, grid: tuple[int, int, int, int], ranges: Json, colour: str, x_title: str) -> Panel:
    layers = columns("name", "count", x_title, "faces", colour=colour)
    return Panel(id_, title, FACES, grid, {"ranges": ranges}, "all.ranges.buckets", _RANGE, layers)


def _scale(id_: str, title: str, grid: tuple[int, int, int, int], field: str, step: float, colour: str, x_title: str) -> Panel:
    aggs = {"bins": {"histogram": {"field": field, "interval": step, "min_doc_count": 1}}}
    found = {"start": "row.key", "end": f"row.key + {step}", "count": "row.doc_count"}
    return Panel(id_, title, FACES, grid, aggs, "all.bins.buckets", found, bins(x_title, "faces", colour=colour))


def _tile(
    id_: str, title: str, x: int, index: str, aggs: Json, found: dict[str, str], layers: list[Json], only: Json = EVERYTHING
) -> Panel:
    # One row, which holds all of the answer.
    return Panel(id_, title, index, (x, 0, 8, 5), aggs, "[datum.aggregations]", found, layers, only)


def _per_person() -> Panel:
    def part(parts: int) -> Json:
        return {"terms": {"field": "person", "size": _SAMPLE, "include": {"partition": 0, "num_partitions": parts}}}

    if_few = " : ".join(f"all.of{parts}.sum_other_doc_count == 0 ? all.of{parts}.buckets" for parts in _PARTS[:-1])
    label = " : ".join(f"row.doc_count <= {most} ? '{name}'" for most, name in _PHOTO_BINS) + " : '>100'"
    order = " : ".join(f"row.doc_count <= {most} ? {most}" for most, _ in _PHOTO_BINS) + " : 101"
    shares: list[Json] = [
        {"aggregate": [{"op": "count", "as": "people"}], "groupby": ["photos", "order"]},
        {"joinaggregate": [{"op": "sum", "field": "people", "as": "of"}]},
        {"calculate": "datum.people / datum.of", "as": "share"},
    ]
    return Panel(
        "photos-per-person",
        "Photos per person",
        FACES,
        (24, 5, 12, 11),
        {f"of{parts}": part(parts) for parts in _PARTS},
        f"({if_few} : all.of{_PARTS[-1]}.buckets)",
        {"photos": label, "order": order},
        columns("photos", "share", "photos", "share of people", colour=GREEN, axis={"format": ".0%", "tickCount": 4}),
        only={"bool": {"filter": [_PHOTO, {"exists": {"field": "person"}}]}},
        transforms=shares,
    )


def _held() -> list[Panel]:
    """What is stored."""
    people = {"people": {"cardinality": {"field": "person", "precision_threshold": 10_000}}}
    photos = {"photos": {"filter": _PHOTO}}
    by_collection = {"by": {"terms": {"field": "_index", "size": 8}, "aggs": {"times": by_time()}}}
    named = {"photos": {"filter": _PHOTO, "aggs": {"named": {"filter": {"exists": {"field": "person"}}}}}}
    top = {"top": {"terms": {"field": "person", "size": 12}}}
    return [
        _tile("faces", "Faces", 0, FACES, photos, {"value": "row.all.doc_count"}, number("datum.value")),
        _tile("photos", "Photos with faces", 8, FACES, photos, {"value": "row.all.photos.doc_count"}, number("datum.value")),
        _tile(
            "people",
            "People",
            16,
            FACES,
            people | named,
            {"value": "row.all.people.value", "mean": "row.all.photos.named.doc_count / max(1, row.all.people.value)"},
            number("datum.value", "format(datum.mean, '.1f') + ' photos each'"),
        ),
        _tile("rejects", "Photos left out", 24, REJECTS, {}, {"value": "row.all.doc_count"}, number("datum.value")),
        Panel(
            "faces-over-time",
            "Faces stored, by collection",
            FACES,
            (0, 5, 24, 11),
            by_collection,
            "all.by.buckets",
            {"collection": _COLLECTION, "start": "part.key", "end": f"part.key + ({_STEP})", "faces": "part.doc_count"},
            stacked_time("faces", "faces", "collection"),
            parts="row.times.buckets",
        ),
        _per_person(),
        Panel(
            "most-photos",
            "People with the most photos",
            FACES,
            (36, 5, 12, 11),
            top,
            "all.top.buckets",
            {"person": "row.key", "photos": "row.doc_count"},
            rows("person", "photos", "photos", colour=GREEN),
            only=_PHOTO,
        ),
    ]


def _good() -> list[Panel]:
    """How good the faces are, and what was left out."""
    sizes = _ranges("face.quality.size", 40, 60, 80, 120, 200, 400)
    sharp = _ranges("face.quality.sharpness", 10, 30, 100, 300, 1_000)
    return [
        _quality("size", "Size of faces", (0, 16, 12, 9), sizes, BLUE, "pixels"),
        _quality("sharpness", "Sharpness", (12, 16, 12, 9), sharp, BLUE, "variance of the Laplacian"),
        _scale("brightness", "Brightness", (24, 16, 12, 9), "face.quality.brightness", 0.05, BLUE, "0 black, 1 white"),
        _scale("frontal", "Frontal", (36, 16, 12, 9), "face.quality.frontal", 0.05, BLUE, "0 profile, 1 frontal"),
        _scale("confidence", "Confidence of the detector", (0, 25, 16, 10), "face.confidence", 0.1, PURPLE, "the detector's own scale"),
        Panel(
            "reasons",
            "Photos left out, by reason",
            REJECTS,
            (16, 25, 16, 10),
            {"reasons": {"terms": {"field": "reason", "size": 12}}},
            "all.reasons.buckets",
            {"reason": "row.key", "photos": "row.doc_count"},
            rows("reason", "photos", "photos", colour=RED),
        ),
    ]


def _done() -> list[Panel]:
    """What was done: ingest runs and searches."""
    searched = {"by": {"terms": {"field": "collection", "size": 8}, "aggs": {"times": by_time(photos={"sum": {"field": "targets"}})}}}
    latencies = {
        "times": by_time(
            median={"percentiles": {"field": "latency.median", "percents": [50]}},
            p95={"percentiles": {"field": "latency.p95", "percents": [95]}},
        )
    }
    counted = {"photos": {"sum": {"field": "targets"}}, "verified": {"sum": {"field": "verified"}}}
    return [
        _tile(
            "searches",
            "Photos searched for",
            32,
            OPERATIONS,
            counted,
            {"value": "row.all.photos.value", "verified": "row.all.verified.value"},
            number("datum.value", "format(datum.verified, ',') + ' matches verified'"),
            _SEARCH,
        ),
        _tile(
            "latency",
            "Median search, ms",
            40,
            OPERATIONS,
            {"median": {"percentiles": {"field": "latency.median", "percents": [50]}}},
            {"value": "round(10 * row.all.median.values['50.0']) / 10"},
            number("datum.value"),
            {"bool": {"filter": [_SEARCH, {"exists": {"field": "latency.median"}}]}},
        ),
        Panel(
            "runs",
            "Ingest runs: photos a second",
            OPERATIONS,
            (32, 25, 16, 10),
            {
                "times": by_time(),
                "latest": {
                    "top_hits": {
                        "size": 100,
                        "sort": [{"@timestamp": "desc"}],
                        "_source": ["@timestamp", "outcome", "collection", "ingest.photos", "ingest.photos_per_second"],
                    }
                },
            },
            "all.latest.hits.hits",
            {
                "begun": "toDate(row._source['@timestamp'])",
                "rate": "row._source.ingest.photos_per_second",
                "photos": "row._source.ingest.photos",
                "outcome": "row._source.outcome",
                "collection": "row._source.collection",
                "from": "datum.aggregations.all.times.buckets[0].key",
                "to": "peek(datum.aggregations.all.times.buckets).key",
            },
            [_WHOLE_TIME, _RUNS],
            only={"term": {"action": "ingest"}},
        ),
        Panel(
            "searches-over-time",
            "Photos searched for, by collection",
            OPERATIONS,
            (0, 35, 24, 10),
            searched,
            "all.by.buckets",
            {"collection": "row.key", "start": "part.key", "end": f"part.key + ({_STEP})", "photos": "part.photos.value"},
            stacked_time("photos", "photos", "collection"),
            only=_SEARCH,
            parts="row.times.buckets",
        ),
        Panel(
            "latency-over-time",
            "Search latency",
            OPERATIONS,
            (24, 35, 24, 10),
            latencies,
            "all.times.buckets",
            {"begun": "row.key", "median": "row.median.values['50.0']", "95 %": "row.p95.values['95.0']"},
            [_LATENCIES],
            only={"bool": {"filter": [_SEARCH, {"exists": {"field": "latency.median"}}]}},
            transforms=[{"fold": ["median", "95 %"], "as": ["which", "ms"]}],
        ),
        _searches_by("purposes", "What searches were for", (0, 45, 24, 9), {"field": "purpose", "missing": "(not said)"}),
        _searches_by("users", "Who searched", (24, 45, 24, 9), {"field": "user"}),
    ]


# Nothing to be seen, from one end of the time picker to the other.
_WHOLE_TIME: Json = {
    "mark": {"type": "rule", "opacity": 0},
    "encoding": {"x": {"field": "from", "type": "temporal"}, "x2": {"field": "to"}},
}
_RUNS: Json = {
    "mark": {"type": "point", "filled": True, "opacity": 0.8, "tooltip": True},
    "encoding": {
        "x": TIME | {"field": "begun"},
        "y": {
            "field": "rate",
            "type": "quantitative",
            "scale": {"type": "symlog"},
            "title": "photos a second",
            "axis": {"values": [0, 1, 10, 100, 1_000, 10_000, 100_000], "format": "~s"},
        },
        "size": {"field": "photos", "type": "quantitative", "legend": None, "scale": {"range": [30, 400]}},
        "color": {
            "field": "outcome",
            "type": "nominal",
            "scale": {"domain": ["finished", "interrupted", "failed"], "range": [GREEN, ORANGE, RED]},
            "legend": {"orient": "top", "title": None},
        },
        "tooltip": [{"field": name} for name in ("collection", "outcome", "photos", "rate")],
    },
}
_LATENCIES: Json = {
    "mark": {"type": "line", "point": True, "tooltip": True},
    "encoding": {
        "x": TIME | {"field": "begun"},
        "y": {"field": "ms", "type": "quantitative", "title": "milliseconds a photo"},
        "color": {
            "field": "which",
            "type": "nominal",
            "scale": {"domain": ["median", "95 %"], "range": [BLUE, GREY]},
            "legend": {"orient": "top", "title": None},
        },
    },
}


def _searches_by(id_: str, title: str, grid: tuple[int, int, int, int], terms: Json) -> Panel:
    aggs = {"by": {"terms": {**terms, "size": 8, "order": {"photos": "desc"}}, "aggs": {"photos": {"sum": {"field": "targets"}}}}}
    found = {"name": "row.key", "photos": "row.photos.value"}
    return Panel(id_, title, OPERATIONS, grid, aggs, "all.by.buckets", found, rows("name", "photos", "photos", colour=ORANGE), only=_SEARCH)


def panels() -> list[Panel]:
    """All panels."""
    return [*_held(), *_good(), *_done()]
