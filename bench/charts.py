"""The charts of docs/benchmarks.md: what was kept, as Vega-Lite. White paper, so that they read the same on a light page and on a dark one.

Each function takes the figures of one bench and gives a specification; where what it needs is missing, a LookupError says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.engines import ENGINES

Json = dict[str, Any]
Figures = Mapping[str, Any]

_VEGA_LITE = "5.21"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
# After Okabe and Ito: apart for people who don't see all colours, too. Facedex has the first in every chart.
_OURS = "#0072b2"
_OTHERS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4c9a", "#7f7f7f", "#8c564b", "#4d4d4d")
_OUR_OTHERS = ("#56b4e9", "#7d8fc9", "#1f3a68")  # Facedex with other index types
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_INK, _FAINT, _GRID = "#24292f", "#57606a", "#e3e7ec"
WIRE, HERE = "over the wire", "in the caller's process"
_MOST_NINES = 4.0  # where 100 % stands, on a scale on which it would be infinitely far away
_NINES = {0.5: "50 %", 0.8: "80 %", 0.9: "90 %", 0.95: "95 %", 0.99: "99 %", 0.999: "99.9 %", 1.0: "100 %"}


def drawn(spec: Json) -> str:
    """A specification as SVG."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE)
    return svg + "\n"


def whole(body: Json) -> Json:
    """A specification with what all charts have in common."""
    axis = {"labelColor": _FAINT, "titleColor": _INK, "gridColor": _GRID, "domainColor": _FAINT, "tickColor": _FAINT}
    sizes = {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal"}
    config = {
        "font": "sans-serif",
        "axis": axis | sizes,
        "legend": {"labelColor": _INK, "titleColor": _INK, "symbolStrokeWidth": 2, "labelLimit": 240} | sizes,
        "title": {"color": _INK, "fontSize": 13, "fontWeight": "bold", "anchor": "start", "offset": 10, "frame": "group"},
        "header": {"labelColor": _INK, "labelFontSize": 12, "labelFontWeight": "bold", "titleColor": _INK},
        "text": {"color": _INK, "fontSize": 11},
        "view": {"stroke": None},
    }
    return {"$schema": _SCHEMA, "background": "white", "padding": 14, "config": config} | body


def place(key: str, engine: Figures) -> str:
    """Where an engine searches."""
    return WIRE if engine.get("wire", key in ENGINES and ENGINES[key].served) else HERE


def nines(share: float) -> float:
    """Where a share stands on a scale that spreads what is near 100 %: 1 for 90 %, 2 for 99 %."""
    return min(_MOST_NINES, max(0.0, -math.log10(max(1 - share, 1e-9))))


def _nines_axis(title: str) -> Json:
    marks = {round(nines(share), 4): text for share, text in _NINES.items()}
    told = " : ".join(f"abs(datum.value - {at}) < 0.001 ? '{text}'" for at, text in marks.items())
    axis = {"values": list(marks), "labelExpr": f"{told} : ''", "labelOverlap": "greedy", "labelSeparation": 6}
    return {"type": "quantitative", "title": title, "axis": axis, "scale": {"zero": False, "nice": False}}


def _log(field: str, title: str, rows: Iterable[Json], *, form: str = "~s") -> Json:
    """A logarithmic scale that just holds the rows, with few lines."""
    values = [row[field] for row in rows if row[field] > 0]
    low, high = 0.8 * min(values), 1.25 * max(values)
    steps = (1,) if high / low > 100 else (1, 2, 5)
    marks = [round(step * 10.0**power, 9) for power in range(-6, 10) for step in steps]
    axis = {"values": [mark for mark in marks if low <= mark <= high], "format": form}
    scale = {"type": "log", "nice": False, "domain": [low, high]}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _series(names: Sequence[str]) -> Json:
    """Colour, shape and width of lines: Facedex itself thick and blue, the others apart by colour and shape."""
    others, ours = iter(_OTHERS * 3), iter(_OUR_OTHERS * 3)
    colours = [_OURS if name == "Facedex" else next(ours if name.startswith("Facedex") else others) for name in names]
    shapes = [_SHAPES[number % len(_SHAPES)] for number in range(len(names))]
    return {
        "color": {"field": "engine", "type": "nominal", "title": None, "scale": {"domain": list(names), "range": colours}},
        "shape": {"field": "engine", "type": "nominal", "title": None, "scale": {"domain": list(names), "range": shapes}},
    }


def _lines(rows: Sequence[Json], names: Sequence[str], x: Json, y: Json, order: str = "effort") -> list[Json]:
    """Two layers: lines in the order of what was turned up, and their points."""
    series = _series(names)
    width = {"condition": {"test": "datum.engine == 'Facedex'", "value": 3.2}, "value": 1.5}
    colour = series["color"]
    line = {"x": x, "y": y, "color": colour, "order": {"field": order, "type": "quantitative"}, "strokeWidth": width}
    return [
        {"mark": {"type": "line", "clip": True}, "encoding": line},
        {"mark": {"type": "point", "filled": True, "size": 55, "opacity": 1}, "encoding": {"x": x, "y": y} | series},
    ]


def _names(rows: Iterable[Json]) -> list[str]:
    """Of the engines, Facedex first."""
    return sorted(dict.fromkeys(row["engine"] for row in rows), key=lambda name: (name != "Facedex", not name.startswith("Facedex")))


def _points(figures: Figures) -> Iterator[tuple[str, Figures, Figures]]:
    """Where, engine, point: Facedex itself on both sides, to be compared."""
    for key, engine in figures["engines"].items():
        for point in engine["points"]:
            for side in (WIRE, HERE) if key == "facedex" else (place(key, engine),):
                yield side, engine, point


def _sides(rows: Sequence[Json]) -> Iterator[tuple[str, list[Json]]]:
    for side in (WIRE, HERE):
        chosen = sorted((row for row in rows if row["side"] == side), key=lambda row: row["engine"] == "Facedex")  # the last is on top
        if any(not row["engine"].startswith("Facedex") for row in chosen) or (side == WIRE and chosen):
            yield f"Facedex beside what is asked {side}", chosen


def rates(figures: Figures) -> Json:
    """recall@10 against searches a second, for one client and for sixteen."""
    rows = []
    for side, engine, point in _points(figures):
        for clients, rate in point["searches_per_second"].items():
            if clients in ("1", "16"):
                told = "1 client" if clients == "1" else f"{clients} clients"
                row = {"side": side, "engine": engine["name"], "effort": point["effort"], "clients": told}
                rows.append(row | {"found": nines(point["recall"]), "rate": rate})
    if not rows:
        raise LookupError("no point of any engine")
    x = _nines_axis("recall@10: share of the ten nearest faces that is found") | {"field": "found"}
    x["scale"] |= {"domain": [min(row["found"] for row in rows) - 0.05, _MOST_NINES + 0.15]}
    parts = [
        {
            "title": title,
            "data": {"values": chosen},
            "facet": {"column": {"field": "clients", "type": "nominal", "title": None, "sort": ["1 client", "16 clients"]}},
            "spacing": 36,
            "spec": {"width": 310, "height": 240, "layer": _lines(chosen, _names(chosen), x, _log("rate", "searches a second", chosen))},
        }
        for title, chosen in _sides(rows)
    ]
    return whole({"vconcat": parts, "spacing": 28, "resolve": {"scale": {"color": "independent", "shape": "independent"}}})


def latency(figures: Figures) -> Json:
    """Median wait against rank-1, as a share of that of the exact search."""
    rows = [
        {
            "side": side,
            "engine": engine["name"],
            "effort": point["effort"],
            "ms": point["ms"]["p50"],
            "right": nines(point["rank1"] / figures["exact_rank1"]),
        }
        for side, engine, point in _points(figures)
    ]
    if not rows:
        raise LookupError("no point of any engine")
    wait = "median wait of one client, ms"
    y = _nines_axis("rank-1, share of the exact search's") | {"field": "right"}
    y["scale"] |= {"domain": [min(row["right"] for row in rows) - 0.05, _MOST_NINES + 0.15]}
    parts = [
        {
            "title": title,
            "data": {"values": chosen},
            "width": 560,
            "height": 210,
            "layer": _lines(chosen, _names(chosen), _log("ms", wait, chosen, form="~g"), y),
        }
        for title, chosen in _sides(rows)
    ]
    return whole({"vconcat": parts, "spacing": 28, "resolve": {"scale": {"color": "independent", "shape": "independent"}}})


def costs(figures: Figures) -> Json:
    """Bars of each engine: time to build, bytes on disk, memory."""
    rows = []
    for key, engine in figures["engines"].items():
        side = "Facedex" if key.startswith("facedex") else place(key, engine)
        measured = {
            "time to build, s": engine["build_seconds"],
            "disk, bytes a face": engine["bytes"] / figures["faces"] if engine.get("bytes") else None,
            "memory, bytes a face": memory(key, engine, figures["faces"]),
        }
        rows += [{"engine": engine["name"], "side": side, "what": what, "value": value} for what, value in measured.items()]
    order = [row["engine"] for row in sorted(rows, key=_by_side_and_value) if row["what"] == "time to build, s"]
    panels = []
    for number, what in enumerate(dict.fromkeys(row["what"] for row in rows)):
        chosen = [row | {"told": _short(row["value"])} for row in rows if row["what"] == what and row["value"] is not None]
        if not chosen:
            continue
        axis = {"labelLimit": 200, "ticks": False, "domain": False, "labelPadding": 6} if number == 0 else None
        y = {"field": "engine", "type": "nominal", "title": None, "sort": order, "axis": axis, "scale": {"domain": order}}
        x = {"field": "value", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1.3 * max(row["value"] for row in chosen)]}}
        sides = {"domain": ["Facedex", WIRE, HERE], "range": [_OURS, _OTHERS[0], _OTHERS[6]]}
        colour = {"field": "side", "type": "nominal", "title": None, "scale": sides, "legend": {"orient": "top"}}
        layers = [
            {"mark": {"type": "bar", "height": {"band": 0.7}}, "encoding": {"y": y, "x": x, "color": colour}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {"y": y, "x": x, "text": {"field": "told", "type": "nominal"}},
            },
        ]
        panels.append({"title": what, "data": {"values": chosen}, "width": 190, "height": {"step": 24}, "layer": layers})
    if not panels:
        raise LookupError("no engine")
    return whole({"hconcat": panels, "spacing": 18})


def memory(key: str, engine: Figures, faces: int) -> float | None:
    """Bytes a face. What an engine in a process of its own takes is not seen in this one's growth."""
    grown = engine.get("process_bytes") if place(key, engine) == HERE else None
    taken = engine.get("memory_bytes", grown)
    return taken / faces if taken else None


def _by_side_and_value(row: Json) -> tuple[int, float]:
    return ("Facedex", WIRE, HERE).index(row["side"]), row["value"] or 0.0


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def growth(figures: Figures) -> Json:
    """How a search and what it costs grow with the number of faces."""
    points = [point for point in figures["points"] if point.get("curve")]
    if len(points) < 2:
        raise LookupError("a curve needs two sizes")
    told: dict[tuple[int, float], Figures] = {(point["faces"], each["share"]): each for point in points for each in point["curve"]}
    shares = sorted({share for _, share in told})
    size: Json = {"field": "faces", "type": "quantitative", "title": "faces"}
    size |= {
        "scale": {"type": "log", "nice": False},
        "axis": {"format": "~s", "values": [10**power for power in range(3, 10)], "grid": False},
    }
    exact = {point["faces"]: point["curve"][0].get("exact_rank1") for point in points}

    def kept(faces: int, each: Figures) -> float | None:
        known = each.get("exact_rank1") or exact[faces]
        return nines(each["rank1"] / known) if known else None

    searched = [
        {"faces": faces, "cells": f"{share:.0%}", "effort": share, "ms": each["ms"]["p50"], "right": kept(faces, each)}
        for (faces, share), each in sorted(told.items())
    ]
    ranked = [row for row in searched if row["right"] is not None]
    right = _nines_axis("rank-1, share of the exact search's") | {"field": "right"}
    if ranked:
        right["scale"] |= {"domain": [min(row["right"] for row in ranked) - 0.05, _MOST_NINES + 0.15]}
    # From light to dark: more is looked at.
    scale = {"domain": [f"{share:.0%}" for share in shares], "scheme": {"name": "blues", "extent": [0.35, 1]}}
    by: Json = {"color": {"field": "cells", "type": "ordinal", "title": "of the cells", "scale": scale}}
    built = [
        {"faces": point["faces"], "what": "written and merged", "value": point["build_seconds"]}
        for point in points
        if point.get("build_seconds")
    ]
    room = [
        {"faces": point["faces"], "what": what, "value": point[key] / 1e9}
        for key, what in (("disk_bytes", "disk"), ("ram_bytes", "memory"))
        for point in points
        if point.get(key)
    ]
    what: Json = {"color": {"field": "what", "type": "nominal", "title": None, "sort": None, "scale": {"range": [_OURS, _OTHERS[0]]}}}
    top = [_grown("Wait for one search", searched, size, _log("ms", "median, ms", searched, form="~g"), by)]
    if ranked:
        top.append(_grown("The right person first", ranked, size, right, by))
    below = [
        _grown(title, rows, size, _log("value", unit, rows, form="~g"), what)
        for title, rows, unit in (("Time to build", built, "seconds"), ("Room", room, "GB"))
        if rows
    ]
    apart = {"scale": {"color": "independent"}}
    return whole(
        {"vconcat": [{"hconcat": row, "spacing": 30, "resolve": apart} for row in (top, below) if row], "spacing": 28, "resolve": apart}
    )


def _grown(title: str, rows: Sequence[Json], x: Json, y: Json, by: Json) -> Json:
    encoding = {"x": x, "y": y} | by
    mark = {"type": "line", "strokeWidth": 2, "point": {"filled": True, "size": 40}}
    return {"title": title, "data": {"values": rows}, "width": 270, "height": 200, "mark": mark, "encoding": encoding}


def stages(figures: Figures) -> Json:
    """Milliseconds of a photo by what is done with it, for each size of photo."""
    rows = [
        {"photo": photo, "stage": stage, "order": order, "ms": ms}
        for photo, parts in figures["cpu_ms_a_photo"].items()
        for order, (stage, ms) in enumerate(parts.items())
        if stage != "all"
    ]
    if not rows:
        raise LookupError("no stage")
    totals = [{"photo": photo, "ms": sum(row["ms"] for row in rows if row["photo"] == photo)} for photo in figures["cpu_ms_a_photo"]]
    for total in totals:
        total["told"] = f"{_short(total['ms'])} ms"
    names = list(dict.fromkeys(row["stage"] for row in rows))
    y = {
        "field": "photo",
        "type": "nominal",
        "title": None,
        "sort": list(figures["cpu_ms_a_photo"]),
        "axis": {"ticks": False, "domain": False},
    }
    x = {"field": "ms", "type": "quantitative", "title": "CPU ms a photo", "scale": {"domainMax": 1.15 * max(t["ms"] for t in totals)}}
    scale = {"domain": names, "range": [_OURS, *_OTHERS[:1], *_OTHERS[3:5], *_OTHERS[1:3], *_OTHERS[5:]][: len(names)]}
    colour = {"field": "stage", "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"}}
    parts = {"y": y, "x": x | {"stack": "zero"}, "color": colour, "order": {"field": "order", "type": "quantitative"}}
    label = {"y": y, "x": x, "text": {"field": "told", "type": "nominal"}}
    layers = [
        {"data": {"values": rows}, "mark": {"type": "bar", "height": {"band": 0.7}}, "encoding": parts},
        {"data": {"values": totals}, "mark": {"type": "text", "align": "left", "dx": 5}, "encoding": label},
    ]
    return whole({"width": 600, "height": {"step": 34}, "layer": layers})


def starts(figures: Figures) -> Json:
    """Milliseconds of each command from start to end."""
    groups = {"peers": "Python", "at_work": "at work", "help": "--help"}
    rows = [
        {"command": name if group == "peers" else f"{name} --help" if group == "help" else name, "group": told, **values}
        for group, told in groups.items()
        for name, values in figures.get(group, {}).items()
    ]
    if not rows:
        raise LookupError("no command")
    order = [row["command"] for row in rows]
    labels = [row | {"told": f"{row['wall']:.0f}"} for row in rows]
    y = {"field": "command", "type": "nominal", "title": None, "sort": order, "axis": {"ticks": False, "domain": False, "labelLimit": 260}}
    x = {"field": "wall", "type": "quantitative", "title": "from start to end, ms (median); the line is the CPU time"}
    scale = {"domain": list(groups.values()), "range": [_OTHERS[6], _OTHERS[0], _OURS]}
    colour = {"field": "group", "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"}}
    layers = [
        {"mark": {"type": "bar", "height": {"band": 0.72}, "opacity": 0.85}, "encoding": {"y": y, "x": x, "color": colour}},
        {"mark": {"type": "tick", "color": _INK, "thickness": 1.5, "size": 10}, "encoding": {"y": y, "x": x | {"field": "cpu"}}},
        {
            "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 10},
            "encoding": {"y": y, "x": x, "text": {"field": "told", "type": "nominal"}},
        },
    ]
    return whole({"data": {"values": labels}, "width": 480, "height": {"step": 15}, "layer": layers})


CHARTS: dict[str, tuple[str, Callable[[Figures], Json]]] = {  # by name of the picture: the bench that it draws
    "search-rates": ("search", rates),
    "search-latency": ("search", latency),
    "search-costs": ("search", costs),
    "growth": ("growth", growth),
    "embedding": ("embedding", stages),
    "startup": ("startup", starts),
}
