"""How fast photos become vectors, beside a loop over DeepFace.represent with the same model, in one run on the same photos.

Two questions: how many photos a CPU-second embeds (both loops in one process each, taking turns, models loaded before the clock
starts), and whether two workers are twice one (photos a second of the worker pool that `facedex ingest` uses).

    python bench/ingest.py --photos ../shared/faces/lfw
    python bench/ingest.py --megapixels 2 --megapixels 12      also large photos, made of these
"""

from __future__ import annotations

import json as jsons
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.peers import deepface_home  # noqa: E402
from bench.scenes import scenes  # noqa: E402
from core.terminal import show, table  # noqa: E402

Loop = Callable[[list[str]], None]


def _ours() -> Loop:
    from faces.recipe import resolve
    from photos.places import File
    from workers.executors import SECONDS_PER_PHOTO, InProcess, Processes
    from workers.flow import flow
    from workers.worker import Detection

    here = InProcess((resolve(), Detection(), 100_000_000, False), SECONDS_PER_PHOTO)
    here.together = Processes.together  # as a worker process gets them

    def loop(photos: list[str]) -> None:
        for _ in flow(photos, File, lambda: here):
            pass

    return loop


def _deepface() -> Loop:
    os.environ |= {"DEEPFACE_BACKEND_ENGINE": "onnx", "DEEPFACE_LOG_LEVEL": "40"}
    from deepface import DeepFace

    def loop(photos: list[str]) -> None:
        for photo in photos:
            try:
                DeepFace.represent(photo, model_name="Dlib", detector_backend="dlib", align=True)
            except ValueError:  # no face
                continue

    return loop


def _serve(make: Callable[[], Loop], pipe: Connection) -> None:
    loop = make()
    loop(pipe.recv())  # warm
    pipe.send(None)
    while (photos := pipe.recv()) is not None:
        cpu, wall = time.process_time(), time.perf_counter()
        loop(photos)
        pipe.send((time.process_time() - cpu, time.perf_counter() - wall))


class Peer:
    """A loop in a process of its own, which tells the CPU-seconds and seconds of each lot of photos."""

    def __init__(self, make: Callable[[], Loop], warm: list[str]) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(make, theirs))
        self._process.start()
        self._pipe.send(warm)
        self._pipe.recv()

    def run(self, photos: list[str]) -> tuple[float, float]:
        """(CPU-seconds, seconds) of these photos."""
        self._pipe.send(photos)
        cpu, wall = self._pipe.recv()
        return float(cpu), float(wall)

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def per_cpu_second(photos: list[str], rounds: int, warm: list[str]) -> dict[str, object]:
    """Photos a CPU-second of both, by turns over the same lots, and the ratio of each turn."""
    lots = [photos[turn::rounds] for turn in range(rounds)]
    with tempfile.TemporaryDirectory() as home:
        os.environ["DEEPFACE_HOME"] = str(deepface_home(Path(home)))
        peers = {"facedex": Peer(_ours, warm), "deepface": Peer(_deepface, warm)}
        rates: dict[str, list[float]] = {name: [] for name in peers}
        for lot in lots:
            for name, peer in peers.items():
                rates[name].append(len(lot) / peer.run(lot)[0])
        for peer in peers.values():
            peer.close()
    ratios = [a / b for a, b in zip(rates["facedex"], rates["deepface"], strict=True)]
    return {
        **{name: round(statistics.median(values), 2) for name, values in rates.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def large(photos: list[str], megapixels: list[float], rounds: int) -> dict[str, dict[str, object]]:
    """The same of scenes of each size, one a turn: DeepFace needs 20 seconds and 2.4 GB for one of 12 megapixels."""
    with tempfile.TemporaryDirectory(prefix="facedex-bench-") as folder:
        return {f"{size:g} MP": per_cpu_second(scenes(photos, size, rounds, Path(folder)), rounds, photos[:3]) for size in megapixels}


def _jobs(photos: list[str]) -> Iterator[object]:
    from ingest.resume import Job
    from photos.sources import Source

    for photo in photos:
        yield Job(Source(photo), None, None)


def pool_rate(photos: list[str], workers: int) -> float:
    """Photos a second of the pool of `facedex ingest`, from the first result on, so that its start is not counted."""
    from faces.recipe import resolve
    from ingest.run import Options, embed

    results = embed(_jobs(photos), resolve(), Options(workers=workers))  # type: ignore[arg-type]
    for _ in range(workers):
        next(results)
    begun = time.perf_counter()
    return sum(1 for _ in results) / (time.perf_counter() - begun)


def both_cores(photos: list[str], rounds: int) -> dict[str, object]:
    """Photos a second with one worker and with two, by turns, and the ratio of each turn."""
    turns = [(pool_rate(photos, 1), pool_rate(photos, 2)) for _ in range(rounds)]
    return {
        "one_worker": round(statistics.median(one for one, _ in turns), 1),
        "two_workers": round(statistics.median(two for _, two in turns), 1),
        "ratio": round(statistics.median(two / one for one, two in turns), 2),
        "ratios": [round(two / one, 2) for one, two in turns],
    }


def main(
    photos: Annotated[Path, typer.Option(help="A folder of photos.")] = ROOT.parent / "shared" / "faces" / "lfw",
    count: Annotated[int, typer.Option(min=10, help="How many of them both embed.")] = 200,
    pool_count: Annotated[int, typer.Option(min=10, help="How many the pools embed.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each comparison.")] = 5,
    megapixels: Annotated[list[float] | None, typer.Option(help="Compare on scenes of this size, too; again for more.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare photos a CPU-second with DeepFace's, and two workers with one."""
    from photos.sources import walk

    found = list(walk(str(photos)))
    step = max(1, len(found) // max(count, pool_count))
    chosen = found[::step]
    figures = {
        "photos": str(photos),
        "per_cpu_second": per_cpu_second(chosen[:count], rounds, chosen[:3]),
        "large": large(found, megapixels or [], rounds),
        "pool": both_cores(chosen[:pool_count], rounds),
    }
    if json:
        print(jsons.dumps(figures))
        return
    shown = table("", "photos a CPU-second", right=("photos a CPU-second",))
    for name in ("facedex", "deepface", "ratio"):
        shown.add_row(name, str(figures["per_cpu_second"][name]))  # type: ignore[index]
    for size, each in figures["large"].items():  # type: ignore[attr-defined]
        for name in ("facedex", "deepface", "ratio"):
            shown.add_row(f"{size}: {name}", str(each[name]))
    pool = table("", "photos a second", right=("photos a second",))
    for name in ("one_worker", "two_workers", "ratio"):
        pool.add_row(name.replace("_", " "), str(figures["pool"][name]))  # type: ignore[index]
    show(shown, pool)


if __name__ == "__main__":
    typer.run(main)
