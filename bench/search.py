"""Facedex beside other ways to search vectors: the same made faces, the same probes, in one run.

For each: how long it takes to build, what it takes of disk and memory; and, by how far it looks, how much it finds (recall@10, and
rank-1: is the nearest face the same person's?), how long one client waits, and how many searches a second 1, 4 and 16 clients get.
Curves, not points: of two ways, compare what they cost at equal recall. docs/peers.md says how each is run.

    python bench/search.py --faces 100000 --engines facedex,faiss-hnsw,pgvector --out FILE
    python bench/search.py --faces 100000 --engines redis --out FILE --add      the rest, later

The peers come with `pip install 'facedex[bench]'`; what isn't installed is left out, and said. Each is measured in a process of its own. A
node of Facedex's own is used, with the settings of FACEDEX_*; what is made in it is deleted.
"""

from __future__ import annotations

import gc
import json as jsons
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import psutil
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.clients import PROCESSES, Clients  # noqa: E402
from bench.engines import ENGINES  # noqa: E402
from bench.engines.engine import Engine  # noqa: E402
from bench.population import Faces, Population  # noqa: E402
from bench.results import commit, keep, machine, read  # noqa: E402
from core.terminal import say, show, table  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_K = 10
_CLIENTS = (1, 4, 16)
_BATCH = 50
_WARM = 10  # times as long as a rate is measured, all clients search a server before: one that was just filled has code to compile


class Plan(NamedTuple):
    """What is measured, and how long."""

    people: int
    photos: int  # of each
    seed: int
    seconds: float  # for each number of clients
    processes: int  # of the clients of servers

    @property
    def faces(self) -> int:
        """In all."""
        return self.people * self.photos

    def gallery(self) -> Iterator[Faces]:
        """The faces."""
        return Population.load().gallery(self.people, self.photos, self.seed)


def exact(gallery: Iterator[Faces], probes: Vectors, k: int) -> NDArray[np.int64]:
    """The rows of the k nearest of each probe, (probes, k), best first; a block of the gallery at a time."""
    best = np.full((len(probes), k), -2, np.float32)
    rows = np.zeros((len(probes), k), np.int64)
    done = 0
    for block in gallery:
        here = probes @ block.vectors.T
        near = np.argpartition(-here, min(k, here.shape[1]) - 1, axis=1)[:, :k]  # the others of a block are not sorted
        likeness = np.hstack([best, np.take_along_axis(here, near, 1)])
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
        best, rows = np.take_along_axis(likeness, order, 1), np.take_along_axis(np.hstack([rows, near + done]), order, 1)
        done += len(block.people)
    return rows


def measure(engine: Engine, effort: int, probes: Faces, truth: NDArray[np.int64], plan: Plan, clients: Clients) -> dict[str, Any]:
    """One point of an engine's curve."""
    point = {"effort": effort, **alone(engine, effort, probes, truth, plan.photos)}
    return point | {"searches_per_second": {str(many): round(clients.rate(many, effort, plan.seconds), 1) for many in _CLIENTS}}


def alone(engine: Engine, effort: int, probes: Faces, truth: NDArray[np.int64], photos: int) -> dict[str, Any]:
    """What one client finds, and how long it waits. What is timed is asked for once before."""
    engine.prepare(effort)
    found = [engine.rows(engine.find(probe, _K, effort)) for probe in probes.vectors]
    recall = float(np.mean([len(set(rows) & set(map(int, known))) / _K for rows, known in zip(found, truth, strict=True)]))
    right = [bool(rows) and rows[0] // photos == person for rows, person in zip(found, probes.people, strict=True)]
    waits = []
    for probe in probes.vectors:
        begun = time.perf_counter()
        engine.find(probe, _K, effort)
        waits.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for start in range(0, len(probes.vectors), _BATCH):
        engine.many(probes.vectors[start : start + _BATCH], _K, effort)
    batch = len(probes.vectors) / (time.perf_counter() - begun)
    return {
        "recall": round(recall, 4),
        "rank1": round(float(np.mean(right)), 4),
        "ms": {f"p{at}": round(float(np.percentile(waits, at)) * 1000, 3) for at in (50, 95, 99)},
        "batch_per_second": round(batch, 1),
    }


def run(name: str, plan: Plan, probes: Faces, truth: NDArray[np.int64]) -> dict[str, Any]:
    """Builds one engine, and measures its curve; in a process where nothing else was measured before."""
    engine = ENGINES[name]()
    for module in engine.modules:
        import_module(module)
    next(plan.gallery())  # what making faces needs is not the engine's
    before = _memory()
    probes, truth = Faces(probes.vectors[: engine.asks], probes.people[: engine.asks]), truth[: engine.asks]
    begun = time.perf_counter()
    try:
        engine.build((block.vectors for block in plan.gallery()), plan.faces)
        built = time.perf_counter() - begun
        say(f"{name}: built in {built:,.0f} s.")
        own = max(0, _memory() - before)
        figures = {
            "name": engine.name,
            "effort": engine.effort,
            "note": engine.note,
            "served": engine.served,
            "probes": len(probes.people),
            "build_seconds": round(built, 2),
            "bytes": engine.disk(),
            "process_bytes": own,
        }
        with Clients(engine, probes.vectors, _K, plan.processes) as clients:
            if engine.served:
                engine.prepare(engine.efforts[0])
                clients.rate(_CLIENTS[-1], engine.efforts[0], _WARM * plan.seconds)
            figures["points"] = [measure(engine, effort, probes, truth, plan, clients) for effort in engine.efforts]
        # After the searches: a server maps in what it needs. Of an engine in this process: what it was built in.
        figures["memory_bytes"] = engine.memory() if engine.served else own
        return figures | {"versions": engine.versions()} | engine.details()
    finally:
        engine.close()


def _apart(name: str, plan: Plan, probes: Faces, truth: NDArray[np.int64]) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, name, plan, probes, truth).result()


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    faces: Annotated[int, typer.Option(help="How many.")] = 100_000,
    photos: Annotated[int, typer.Option(help="Of each person.")] = 4,
    probes: Annotated[int, typer.Option(help="How many faces are looked for.")] = 500,
    engines: Annotated[str, typer.Option(help="Which, by comma.")] = ",".join(ENGINES),
    seconds: Annotated[float, typer.Option(help="For each number of clients.")] = 3.0,
    client_processes: Annotated[int, typer.Option(help="That the clients of a server run in; 0: in threads of the engine's.")] = PROCESSES,
    seed: Annotated[int, typer.Option(help="Of the population.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Keep the figures, as JSON.")] = None,
    add: Annotated[bool, typer.Option(help="To those in --out, of the same faces: millions can be measured in parts.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures the engines one after the other."""
    unknown = sorted(set(engines.split(",")) - set(ENGINES))
    if unknown:
        raise typer.BadParameter(f"there is no engine {unknown[0]!r}: choose of {', '.join(ENGINES)}.")
    plan = Plan(faces // photos, photos, seed, seconds, client_processes)
    asked = Population.load().probes(min(probes, plan.people), seed)
    truth = exact(plan.gallery(), asked.vectors, _K)
    rank1 = float(np.mean(truth[:, 0] // photos == asked.people))
    document: dict[str, Any] = {
        "faces": plan.faces,
        "photos": photos,
        "seed": seed,
        "seconds": seconds,
        "client_processes": client_processes,
        "probes": len(asked.people),
        "exact_rank1": round(rank1, 4),
        "left_out": {},
        "engines": {},
    }
    if add:
        if out is None:
            raise typer.BadParameter("--add needs --out: the file that it adds to.")
        _go_on(document, out)
    for name in engines.split(","):
        _add(document, name, plan, asked, truth)
        if out is not None:  # what is measured is not lost with what comes after
            measured = [*document["engines"], *document["left_out"]]
            command = [word.replace(engines, ",".join(measured)) if add and word.endswith(engines) else word for word in sys.argv]
            packages = {package for each in measured for package in ENGINES[each].packages}
            keep(out, "search", document, command=command, packages=packages)
    if json:
        print(jsons.dumps(document))
    else:
        _tell(document)


def _go_on(document: dict[str, Any], out: Path) -> None:
    """Takes over what was measured before, if it can stand beside what will be."""
    before = read(out)
    if before is None:
        return
    held, results = before["figures"], ("engines", "left_out")
    other = sorted(name for name in document if name not in results and held.get(name) != document[name])
    if other or before.get("machine") != machine():
        raise typer.BadParameter(f"{out} is of other {' and '.join(other) or 'machines'}: without --add it is written anew.")
    document |= {name: held[name] for name in results}


def _add(document: dict[str, Any], name: str, plan: Plan, probes: Faces, truth: NDArray[np.int64]) -> None:
    most = ENGINES[name].most
    if most is not None and plan.faces > most:
        why = f"with more than {most:,} faces it takes hours"
    else:
        say(f"{name} ...")
        try:
            document["engines"][name] = _apart(name, plan, probes, truth) | {"commit": commit()}
            document["left_out"].pop(name, None)
            return
        except ImportError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001  of the others nothing is lost
            why = f"{type(error).__name__}: {error}"
    document["engines"].pop(name, None)  # what an earlier part had of it
    document["left_out"][name] = why
    say(f"{name} is left out: {why}.")


def _tell(document: dict[str, Any]) -> None:
    numbers = ("effort", "recall@10", "rank-1", "median ms", "1 client /s", "16 clients /s", "batch /s")
    shown = table("engine", *numbers, right=numbers)
    for figures in document["engines"].values():
        told = (
            f"{figures['name']}: built in {figures['build_seconds']:.0f} s, {figures['bytes'] / document['faces']:.0f} bytes a face on disk"
        )
        if figures["memory_bytes"] is not None:
            told += f", {figures['memory_bytes'] / 1e6:.0f} MB in memory"
        shown.add_row(told, *([""] * len(numbers)))
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
