"""Facedex beside other ways to search vectors: the same made faces, the same probes, in one run.

For each: how long it takes to build, what it keeps on disk, the memory it took; and, by how far it looks, how much it finds (recall@10, and
rank-1: is the nearest face the same person's?), how long one client waits, and how many searches a second 1, 4 and 16 clients get. Curves,
not points: of two ways, compare what they cost at equal recall.

    python bench/search.py --faces 100000 --engines facedex,faiss-hnsw,pgvector

The peers come with `pip install 'facedex[bench]'`; what isn't installed is left out, and said. A node of Facedex's own is used, with the
settings of FACEDEX_*; what is made in it is deleted.
"""

from __future__ import annotations

import json as jsons
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import psutil
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.engines import Engine  # noqa: E402
from bench.population import Faces, Population  # noqa: E402
from bench.servers import ENGINES  # noqa: E402
from core.terminal import say, show, table  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_K = 10
_CLIENTS = (1, 4, 16)
_BATCH = 50
_WARM = 50  # probes that are not timed


def exact(gallery: Iterator[Faces], probes: Vectors, k: int) -> NDArray[np.int64]:
    """The rows of the k nearest of each probe, (probes, k), best first; a block of the gallery at a time."""
    best = np.full((len(probes), k), -2, np.float32)
    rows = np.zeros((len(probes), k), np.int64)
    done = 0
    for block in gallery:
        likeness = np.hstack([best, probes @ block.vectors.T])
        here = np.hstack([rows, np.broadcast_to(np.arange(done, done + len(block.people)), (len(probes), len(block.people)))])
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
        best, rows = np.take_along_axis(likeness, order, 1), np.take_along_axis(here, order, 1)
        done += len(block.people)
    return rows


def measure(engine: Engine, effort: int, probes: Faces, truth: NDArray[np.int64], photos: int, seconds: float) -> dict[str, Any]:
    """One point of an engine's curve."""
    found = [list(engine.find(probe, _K, effort)) for probe in probes.vectors]
    recall = float(np.mean([len(set(rows) & set(map(int, known))) / _K for rows, known in zip(found, truth, strict=True)]))
    right = [bool(rows) and rows[0] // photos == person for rows, person in zip(found, probes.people, strict=True)]
    waits = []
    for probe in probes.vectors[:_WARM] if len(probes.vectors) > 2 * _WARM else ():
        engine.find(probe, _K, effort)
    for probe in probes.vectors:
        begun = time.perf_counter()
        engine.find(probe, _K, effort)
        waits.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for start in range(0, len(probes.vectors), _BATCH):
        engine.many(probes.vectors[start : start + _BATCH], _K, effort)
    batch = len(probes.vectors) / (time.perf_counter() - begun)
    return {
        "effort": effort,
        "recall": round(recall, 4),
        "rank1": round(float(np.mean(right)), 4),
        "ms": {f"p{at}": round(float(np.percentile(waits, at)) * 1000, 3) for at in (50, 95, 99)},
        "searches_per_second": {str(clients): round(_rate(engine, effort, probes.vectors, clients, seconds), 1) for clients in _CLIENTS},
        "batch_per_second": round(batch, 1),
    }


def _rate(engine: Engine, effort: int, probes: Vectors, clients: int, seconds: float) -> float:
    """Searches a second that so many clients get together, each asking again as soon as it is answered."""
    over = time.perf_counter() + seconds
    start = threading.Barrier(clients)

    def ask(first: int) -> int:
        start.wait()
        done = 0
        while time.perf_counter() < over:
            engine.find(probes[(first + done) % len(probes)], _K, effort)
            done += 1
        return done

    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        return sum(pool.map(ask, range(clients))) / (time.perf_counter() - begun)


def run(
    name: str, population: Population, shape: tuple[int, int, int], probes: Faces, truth: NDArray[np.int64], seconds: float
) -> dict[str, Any]:
    """Builds one engine, and measures its curve."""
    people, photos, seed = shape
    engine = ENGINES[name]()
    before = _memory()
    begun = time.perf_counter()
    try:
        engine.build((block.vectors for block in population.gallery(people, photos, seed)), people * photos)
        built = time.perf_counter() - begun
        figures = {"name": engine.name, "effort": engine.effort, "build_seconds": round(built, 2), "bytes": engine.disk()}
        figures["process_bytes"] = max(0, _memory() - before)
        return figures | {"points": [measure(engine, effort, probes, truth, photos, seconds) for effort in engine.efforts]}
    finally:
        engine.close()


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    faces: Annotated[int, typer.Option(help="How many.")] = 100_000,
    photos: Annotated[int, typer.Option(help="Of each person.")] = 4,
    probes: Annotated[int, typer.Option(help="How many faces are looked for.")] = 500,
    engines: Annotated[str, typer.Option(help="Which, by comma.")] = ",".join(ENGINES),
    seconds: Annotated[float, typer.Option(help="For each number of clients.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the population.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Keep the figures, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures the engines one after the other."""
    population = Population.load()
    shape = (faces // photos, photos, seed)
    asked = population.probes(min(probes, shape[0]), seed)
    truth = exact(population.gallery(*shape), asked.vectors, _K)
    rank1 = float(np.mean(truth[:, 0] // photos == asked.people))
    document: dict[str, Any] = {
        "machine": machine(),
        "faces": shape[0] * photos,
        "probes": len(asked.people),
        "exact_rank1": round(rank1, 4),
        "engines": {},
    }
    for name in engines.split(","):
        say(f"{name} ...")
        try:
            document["engines"][name] = run(name, population, shape, asked, truth, seconds)
        except ImportError as error:
            say(f"{name} is left out: {error}.")
        if out is not None:  # what is measured is not lost with what comes after
            out.write_text(jsons.dumps(document, indent=1) + "\n")
    if json:
        print(jsons.dumps(document))
    else:
        _tell(document)


def _tell(document: dict[str, Any]) -> None:
    numbers = ("effort", "recall@10", "rank-1", "median ms", "1 client /s", "16 clients /s", "batch /s")
    shown = table("engine", *numbers, right=numbers)
    for figures in document["engines"].values():
        size = f"{figures['bytes'] / document['faces']:.0f} bytes a face" if figures["bytes"] else ""
        shown.add_row(f"{figures['name']}: built in {figures['build_seconds']:.0f} s, {size}", *([""] * len(numbers)))
        for point in figures["points"]:
            rates = point["searches_per_second"]
            cells = (
                point["effort"],
                point["recall"],
                point["rank1"],
                point["ms"]["p50"],
                rates["1"],
                rates["16"],
                point["batch_per_second"],
            )
            shown.add_row("", *map(str, cells))
    show(f"{document['faces']:,} faces, exact search: rank-1 {document['exact_rank1']}", shown)


if __name__ == "__main__":
    app()
