"""Whether the index keeps up: photos a second of embed plus index beside embed alone, on the same photos, and the memory of a run.

The photos are copies of those in a folder, each with a comment of its own, so that each is new.

    python bench/throughput.py --from ../shared/faces/lfw --photos 2000
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.figures import tell  # noqa: E402
from core.terminal import say  # noqa: E402

_MEGABYTE = 1 << 20
_SAMPLE_SECONDS = 0.5


def copies(originals: list[Path], folder: Path, count: int) -> None:
    """So many JPEGs, the same pictures with other bytes."""
    for number, original in enumerate(islice(cycle(originals), count)):
        place = folder / f"{number // 1000:04}"
        place.mkdir(exist_ok=True)
        (place / f"{number:08}.jpg").write_bytes(marked(original.read_bytes(), number))


def marked(data: bytes, number: int) -> bytes:
    """The same picture as another JPEG: with a comment segment after the start-of-image marker."""
    comment = f"{number:012}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


class Memory:
    """Resident memory of this process and of its largest worker, sampled while a run goes on."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.worker: list[int] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Samples until the block ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        me = psutil.Process()
        while not over.wait(_SAMPLE_SECONDS):
            sizes = []
            for child in me.children():
                try:
                    if "spawn_main" in " ".join(child.cmdline()):
                        sizes.append(child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            if sizes:
                self.parent.append(me.memory_info().rss)
                self.worker.append(max(sizes))

    def figures(self) -> dict[str, Any]:
        """The most, and the most of the second quarter of the run beside that of the last: flat memory has them equal."""

        def most(samples: list[int]) -> dict[str, int]:
            quarter = max(1, len(samples) // 4)
            parts = {"most": samples, "second_quarter": samples[quarter : 2 * quarter] or samples, "last_quarter": samples[-quarter:]}
            return {name: round(max(part, default=0) / _MEGABYTE) for name, part in parts.items()}

        return {"parent_mb": most(self.parent), "worker_mb": most(self.worker)}


def embed_alone(photos: list[Path], workers: int) -> float:
    """Photos a second of the pool, results thrown away, its start included as it is in an ingest."""
    from faces.recipe import resolve
    from ingest.resume import Job
    from ingest.run import Options, embed
    from photos.sources import Source

    begun = time.perf_counter()
    jobs = (Job(Source(str(path)), None, None) for path in photos)
    return sum(1 for _ in embed(jobs, resolve(), Options(workers=workers))) / (time.perf_counter() - begun)


def embed_and_index(photos: list[Path], workers: int, *, bulk_load: bool) -> tuple[float, dict[str, Any]]:
    """Photos a second of a whole ingest into a new collection, and its report."""
    from core.settings import settings
    from es import collections
    from es.client import connect
    from faces.recipe import resolve
    from ingest.report import RejectsFile
    from ingest.run import Options, ingest
    from photos.sources import Source

    recipe, name = resolve(), f"bench-{uuid.uuid4().hex}"
    with connect(settings(), say) as client, tempfile.TemporaryDirectory() as folder:
        made = collections.create(client, name, recipe.as_dict())
        try:
            with RejectsFile(Path(folder) / "rejects.jsonl") as rejects:
                options = Options(workers=workers, bulk_load=bulk_load, merge=False)
                report = ingest(client, name, recipe, (Source(str(path)) for path in photos), rejects, options)
        finally:
            collections.delete(client, made)
    return report.photos / report.seconds, report.as_dict()


def _compared(turns: list[tuple[float, float]], *, alone: bool) -> dict[str, Any]:
    both = max(rate for _, rate in turns)
    if not alone:
        return {"embed_and_index": round(both, 1)}
    embed = max(rate for rate, _ in turns)
    return {
        "embed": round(embed, 1),
        "embed_and_index": round(both, 1),
        "ratio": round(both / embed, 3),  # of the best turns: what else runs on the machine only ever slows a turn
        "ratios": [round(b / a, 3) for a, b in turns],
    }


def main(
    originals: Annotated[Path, typer.Option("--from", help="A folder of JPEGs.")] = ROOT.parent / "shared" / "faces" / "lfw",
    photos: Annotated[int, typer.Option(min=50, help="How many copies to ingest.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of the comparison.")] = 3,
    bulk_load: Annotated[bool, typer.Option("--bulk-load", help="In bulk-load mode.")] = False,
    alone: Annotated[bool, typer.Option("--alone/--memory-only", help="Embed alone as well, or only watch a run.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare embed plus index with embed alone, and sample memory."""
    from core.settings import settings
    from es.local import node
    from photos.sources import walk

    if settings().url is None:
        node.ensure(settings(), say)  # its start is not the subject
    sources = [path for path in map(Path, walk(str(originals))) if path.suffix.lower() in {".jpg", ".jpeg"}]
    step = max(1, len(sources) // photos)
    memory = Memory()
    turns: list[tuple[float, float]] = []
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="facedex-bench-") as folder:
        copies(sources[::step], Path(folder), photos)
        made = sorted(Path(folder).rglob("*.jpg"))
        for turn in range(rounds):
            with memory.watched():
                both, report = embed_and_index(made, workers, bulk_load=bulk_load)
            turns.append((embed_alone(made, workers) if alone else float("nan"), both))
            say(f"turn {turn + 1}: embed {turns[-1][0]:.1f}, embed and index {turns[-1][1]:.1f} photos a second")
    figures = {
        "photos": photos,
        **_compared(turns, alone=alone),
        **memory.figures(),
        "stages": report["stages"],
        "bottleneck": report["bottleneck"],
    }
    tell(figures, json=json)


if __name__ == "__main__":
    typer.run(main)
