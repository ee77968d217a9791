"""Many targets in one search beside one search after the other: targets a second, and whether the answers are the same.

    python bench/batch.py --photos ../shared/faces/lfw -c lfw --targets 10000

The targets are copies of photos in a folder, each with a comment of its own. The collection must be there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.figures import tell  # noqa: E402
from bench.throughput import copies  # noqa: E402
from core.settings import settings  # noqa: E402
from core.terminal import say  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faces.recipe import Recipe
    from query.answers import Answer
    from query.search import Searcher


def _answers(searching: Searcher, recipe: Recipe, paths: Iterable[Path]) -> list[Answer]:
    from photos.sources import Source
    from query.targets import looked_at

    return [answer for _, answer in searching.answers(looked_at((Source(str(path)) for path in paths), recipe))]


def _alike(one: Answer, other: Answer) -> bool:
    """The same people, by the same photos, as far away."""

    def shape(answer: Answer) -> list[tuple[str | None, str, float]]:
        return [(match.person, match.best.id, round(match.best.distance, 5)) for face in answer.faces for match in face.matches]

    return shape(one) == shape(other) and one.error == other.error


def measure(collection: str, photos: Path, targets: int, singly: int) -> dict[str, Any]:
    """Rates of both ways, targets a second."""
    from es.client import connect
    from es.collections import get
    from faces.agreement import agreed
    from photos.sources import walk
    from query.search import meaning_of, searcher

    originals = [Path(path) for path in walk(str(photos)) if path.lower().endswith((".jpg", ".jpeg"))]
    with connect(settings(), say) as client, tempfile.TemporaryDirectory(prefix="facedex-bench-") as folder:
        found = get(client, collection)
        recipe = agreed(collection, found.recipe)
        searching = searcher(client, collection, meaning_of(client, found, recipe))
        copies(originals[:: max(1, len(originals) // targets)], Path(folder), targets)
        made = sorted(Path(folder).rglob("*.jpg"))
        begun = time.perf_counter()
        together = _answers(searching, recipe, made)
        batch = len(made) / (time.perf_counter() - begun)
        chosen = list(range(0, len(made), max(1, len(made) // singly)))[:singly]
        begun = time.perf_counter()
        alone = [_answers(searching, recipe, [made[number]])[0] for number in chosen]
        one_by_one = len(chosen) / (time.perf_counter() - begun)
    same = sum(_alike(answer, together[number]) for number, answer in zip(chosen, alone, strict=True))
    return {
        "targets": len(made),
        "answered": sum(answer.found for answer in together),
        "batch_per_second": round(batch, 1),
        "one_by_one_per_second": round(one_by_one, 1),
        "ratio": round(batch / one_by_one, 2),
        "compared": len(chosen),
        "same": same,
    }


def main(
    photos: Annotated[Path, typer.Option(help="A folder of JPEGs.")] = ROOT.parent / "shared" / "faces" / "lfw",
    collection: Annotated[str, typer.Option("--collection", "-c", help="The collection to search.")] = "lfw",
    targets: Annotated[int, typer.Option(min=10, help="How many targets in the batch.")] = 10_000,
    singly: Annotated[int, typer.Option(min=1, help="How many of them one by one as well.")] = 500,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a batch of targets with one search after the other in one process, models loaded once for each."""
    figures = measure(collection, photos, targets, singly)
    tell(figures, json=json)


if __name__ == "__main__":
    typer.run(main)
