"""How a collection grows: what a search waits and finds, what is built and kept, by the number of faces; and what a billion would take.

Each size is a collection of its own, made as an ingest makes it, searched as a search does, and deleted.

    python bench/growth.py --faces 1000000

From 10,000 faces on, ten times as many each time, up to ``--faces``. Two cores need 3 minutes to build a million, and
40 for ten.
"""

from __future__ import annotations

import json as jsons
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.engines.facedex import Facedex, FacedexCells  # noqa: E402
from bench.population import Faces, Population  # noqa: E402
from bench.results import keep  # noqa: E402
from bench.search import alone, exact  # noqa: E402
from core.terminal import say, show, table  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST, _PHOTOS, _K = 10_000, 4, 10
_WRITERS = 2  # ingests at once: one waits for the server while the other makes its request
_SHARES = (0.03, 0.1, 0.15, 0.3)  # of the cells, beside what a search of that size looks into
_BILLION = 1_000_000_000
_SEARCHED = ("total_veq_size_bytes", "total_veb_size_bytes", "total_vex_size_bytes")  # graph and quantised vectors
_NODE_CACHE = 48e9  # bytes of a node with 64 GB that are left for the file system's cache
_COPIES = 1
_ASSUMED = (
    "shards as large as the largest collection measured here, and each as quick, whichever node it is on",
    "a node answers one shard at a time with as many cores as this machine has, and holds what searches read in 48 GB of memory",
    "one copy of each shard; no time for the network, and none for putting the shards' answers together",
)


def sizes(largest: int) -> list[int]:
    """From 10,000 to the largest, ten times as many each time."""
    return sorted({min(_SMALLEST * 10**step, largest) for step in range(math.ceil(math.log10(max(largest / _SMALLEST, 1))) + 1)})


def measure(engine: Facedex, share: float, probes: Faces, truth: NDArray[np.int64]) -> dict[str, Any]:
    """One point of a size's curve."""
    exact_rank1 = round(float(np.mean(truth[:, 0] // _PHOTOS == probes.people)), 4)
    return {"share": share, "exact_rank1": exact_rank1, **alone(engine, round(1000 * share), probes, truth, _PHOTOS)}


def size(faces: int, asked: int, seed: int) -> dict[str, Any]:
    """One size: built, measured and deleted."""
    from es.client import speaking
    from es.collections import get
    from es.documents import alias
    from query.knn import depth

    population = Population.load()
    people = faces // _PHOTOS
    probes = population.probes(min(asked, people), seed)
    truth = exact(population.gallery(people, _PHOTOS, seed), probes.vectors, _K)
    engine, begun = FacedexCells(), time.perf_counter()
    engine.writers = _WRITERS
    try:
        engine.build((block.vectors for block in population.gallery(people, _PHOTOS, seed)), faces)
        built = time.perf_counter() - begun
        with speaking():
            engine.client.indices.refresh(index=alias(engine.collection))
            usual = depth(get(engine.client, engine.collection)).share
            stats = engine.client.indices.stats(index=alias(engine.collection), metric=["dense_vector"])["_all"]["primaries"]
        searched = stats["dense_vector"]["off_heap"]
        return {
            "faces": people * _PHOTOS,
            "build_seconds": round(built, 1),
            "disk_bytes": engine.disk(),
            "ram_bytes": sum(searched[name] for name in _SEARCHED),
            **engine.details(),
            "usual": usual,
            "curve": [measure(engine, share, probes, truth) for share in sorted({*_SHARES, usual})],
        }
    finally:
        engine.close()


def usual(point: Mapping[str, Any]) -> dict[str, Any]:
    """Of a size's curve: the search as it comes."""
    [found] = [each for each in point["curve"] if each["share"] == point["usual"]]
    return dict(found)


def fit(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Powers of the number of faces, by least squares on logarithms; empty with less than two sizes."""
    if len(points) < 2:
        return {}
    faces = np.log([point["faces"] for point in points])
    of = {
        "latency_ms": [usual(point)["ms"]["p50"] for point in points],
        **{name: [point[name] for point in points] for name in ("build_seconds", "disk_bytes", "ram_bytes")},
    }
    fits = {name: np.polyfit(faces, np.log(np.maximum(values, 1e-9)), 1) for name, values in of.items()}
    return {name: {"exponent": round(float(power), 3), "factor": float(np.exp(start))} for name, (power, start) in fits.items()}


def projection(point: dict[str, Any]) -> dict[str, Any]:
    """A billion faces, from the figures of one size."""
    shards = math.ceil(_BILLION / point["faces"])
    memory, disk = (round(point[name] * shards * (1 + _COPIES)) for name in ("ram_bytes", "disk_bytes"))
    nodes = math.ceil(memory / _NODE_CACHE)
    waits = usual(point)["ms"]["p50"] * math.ceil(shards / nodes)
    told = {"shards": shards, "nodes": nodes, "memory_bytes": memory, "disk_bytes": disk, "latency_ms": round(waits, 1)}
    return {"faces": _BILLION, "from_faces": point["faces"], **told, "assumptions": list(_ASSUMED)}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    faces: Annotated[int, typer.Option(min=_SMALLEST, help="The largest size.")] = 1_000_000,
    probes: Annotated[int, typer.Option(help="How many faces are looked for.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the population.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Keep the figures, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures one size after the other."""
    points: list[dict[str, Any]] = []
    document: dict[str, Any] = {}
    for each in sizes(faces):
        say(f"{each:,} faces ...")
        points.append(size(each, probes, seed))
        document = {"probes": probes, "points": points, "fit": fit(points), "projection": projection(points[-1])}
        if out is not None:  # what is measured is not lost with what comes after
            keep(out, "growth", document)
    if json:
        print(jsons.dumps(document))
        return
    numbers = ("of the cells", "recall@10", "rank-1", "exact", "median ms", "batch /s")
    shown = table("faces", *numbers, right=("faces", *numbers))
    for point in points:
        for at, each in enumerate(point["curve"]):
            found = (each["recall"], each["rank1"], each["exact_rank1"], each["ms"]["p50"], each["batch_per_second"])
            shown.add_row("" if at else f"{point['faces']:,}", f"{each['share']:.0%}", *map(str, found))
    show(shown)


if __name__ == "__main__":
    app()
