"""Whether a calibration keeps its promise: half of the people enrolled, the others strangers, searched as anybody would.

For each split, half of the people are drawn and enrolled in a collection of its own, which is calibrated. Of those who have several photos
one is held out. Then every held-out photo and every photo of everybody else is searched, and what the calibration promised stands beside
what came out. Neither the strangers nor the held-out photos were seen by the calibration. Each person counts the same, as there.

    python bench/open_set.py --photos ../shared/faces/lfw --splits 10
    python bench/open_set.py --collection faces --fpir 0.02 --fpir 0.05

Only photos that show one face are used: the folder names the person, so that a stranger could stand in the gallery as a bystander under
another's name, and be found there rightly. --bystanders enrols all faces, to see what that does.
"""

from __future__ import annotations

import json as jsons
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, from anywhere

from core.settings import settings
from core.terminal import say, show, table

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from query.calibration import Calibration
    from query.search import Searcher

_NAME = "bench-open-set"


@dataclass(frozen=True, slots=True)
class Stored:
    """One labelled face as it is stored."""

    id: str
    document: dict[str, Any]

    @property
    def person(self) -> str:
        """The name."""
        return str(self.document["person"])

    @property
    def alone(self) -> bool:
        """Whether its photo shows nobody else."""
        return bool(self.document["image"]["faces"] == 1)


@dataclass(frozen=True, slots=True)
class Split:
    """Who is enrolled and who is searched."""

    enrolled: list[Stored]
    held_out: list[Stored]
    strangers: list[Stored]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search answered: the nearest person and their distance."""

    target: Stored
    person: str | None
    distance: float


def faces_of(client: Elasticsearch, name: str) -> list[Stored]:
    """All labelled faces of a collection, in a stable order."""
    from elasticsearch.helpers import scan

    from es.documents import alias

    labelled = {"query": {"exists": {"field": "person"}}, "_source": {"exclude_vectors": False}}
    hits = scan(client, query=labelled, index=alias(name), size=1000)
    return sorted((Stored(hit["_id"], hit["_source"]) for hit in hits), key=lambda face: face.id)


def split(faces: Sequence[Stored], seed: int, *, bystanders: bool) -> Split:
    """Draws half of the people, and one photo of each of them who has several."""
    draw = np.random.default_rng(seed)
    people = sorted({face.person for face in faces if face.alone})
    members = set(draw.permutation(people)[: len(people) // 2].tolist())
    photos: dict[str, list[Stored]] = defaultdict(list)
    for face in faces:
        if face.person in members and face.alone:
            photos[face.person].append(face)
    held_out = [mine[int(draw.integers(len(mine)))] for mine in photos.values() if len(mine) > 1]
    away = {face.id for face in held_out}
    enrolled = [face for face in faces if face.person in members and (face.alone or bystanders) and face.id not in away]
    return Split(enrolled, held_out, [face for face in faces if face.person not in members and face.alone])


def enrol(client: Elasticsearch, name: str, faces: Sequence[Stored]) -> None:
    """Writes faces as they are into a collection."""
    from es.bulk import Operation, send
    from es.documents import alias

    results = send(client, [Operation.of({"create": {"_index": alias(name), "_id": face.id}}, face.document) for face in faces])
    assert not any("error" in result for result in results)  # noqa: S101
    client.indices.refresh(index=alias(name))


def search(searcher: Searcher, targets: Sequence[Stored]) -> Iterator[Found]:
    """Asks who each face is."""
    vectors = [np.array(target.document["embedding"], np.float32) for target in targets]
    for target, vector in zip(targets, vectors, strict=True):
        ((best,),) = searcher.people([vector])
        yield Found(target, best.person, best.best.distance)


def rate(found: Sequence[Found], wrong: Sequence[bool]) -> float:
    """The share that is wrong, where each person counts the same."""
    by_person: dict[str, list[bool]] = defaultdict(list)
    for each, is_wrong in zip(found, wrong, strict=True):
        by_person[each.target.person].append(is_wrong)
    return float(np.mean([np.mean(mine) for mine in by_person.values()]))


def judge(calibration: Calibration, strangers: Sequence[Found], known: Sequence[Found], suspicious: float) -> dict[str, Any]:
    """Promised beside measured."""
    threshold = calibration.threshold
    others = [each for each in strangers if each.distance >= suspicious]  # as the calibration does
    return {
        "wished": calibration.wished,
        "people": calibration.people,
        "threshold": threshold,
        "fpir_promised": calibration.promised,
        "fpir": rate(others, [each.distance <= threshold for each in others]),
        "fpir_by_photo": float(np.mean([each.distance <= threshold for each in others])),
        "fpir_with_twins": rate(strangers, [each.distance <= threshold for each in strangers]),
        "twins": len(strangers) - len(others),
        "fnir_promised": calibration.missed,
        "fnir": rate(known, [each.distance > threshold or each.person != each.target.person for each in known]),
    }


def run(client: Elasticsearch, source: str, splits: int, wished: Sequence[float], *, bystanders: bool) -> list[dict[str, Any]]:
    """Every split, at every wished rate."""
    from es.collections import create, delete, get
    from faces.recipe import Recipe
    from query.calibration import SUSPICIOUS, measure
    from query.search import PairThreshold, searcher

    pinned = get(client, source).recipe
    recipe = Recipe.from_dict(pinned)
    faces = faces_of(client, source)
    results = []
    for seed in range(splits):
        part = split(faces, seed, bystanders=bystanders)
        made = create(client, f"{_NAME}-{seed}", pinned)
        try:
            enrol(client, made.name, part.enrolled)
            calibrations = [measure(client, made, each) for each in wished]
            asked = searcher(client, made.name, PairThreshold(recipe.search_threshold), people=1)
            strangers, known = list(search(asked, part.strangers)), list(search(asked, part.held_out))
        finally:
            delete(client, get(client, made.name))
        results += [{"split": seed} | judge(each, strangers, known, SUSPICIOUS * recipe.threshold) for each in calibrations]
        say(
            f"split {seed}: {len(part.enrolled):,} faces enrolled, {len(strangers):,} searches of strangers, {len(known):,} of known people"
        )
    return results


def _ingested(client: Elasticsearch, photos: Path) -> str:
    from es.collections import create
    from es.documents import alias
    from faces.recipe import DEFAULT
    from ingest.report import RejectsFile
    from ingest.run import Options, ingest
    from photos.sources import PersonFrom
    from photos.sources import photos as photos_of

    create(client, _NAME, DEFAULT.as_dict())
    with tempfile.TemporaryDirectory() as scratch, RejectsFile(Path(scratch) / "rejects.jsonl") as file:
        ingest(client, _NAME, DEFAULT, photos_of([photos.resolve()], PersonFrom.folder), file, Options())
    client.indices.refresh(index=alias(_NAME))
    return _NAME


def main(
    photos: Annotated[Path | None, typer.Option(help="A folder of photos, with a folder for each person.")] = None,
    collection: Annotated[str | None, typer.Option(help="A collection to read the faces from instead; it is not changed.")] = None,
    splits: Annotated[int, typer.Option(help="How many times to draw half of the people.")] = 10,
    fpir: Annotated[list[float] | None, typer.Option(help="The wished FPIR; can be given again.")] = None,
    bystanders: Annotated[bool, typer.Option("--bystanders", help="Enrol photos that show several faces, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints what was promised beside what came out."""
    from es.client import connect
    from es.collections import delete, find

    if (photos is None) == (collection is None):
        sys.exit("Give --photos or --collection.")
    with connect(settings(), say) as client:
        if photos is not None and find(client, _NAME) is not None:
            sys.exit(f"There is a collection {_NAME} already, perhaps of a run that was cut off: delete it first.")
        try:
            results = run(client, collection or _ingested(client, Path(photos or "")), splits, fpir or [0.01], bystanders=bystanders)
        finally:
            if photos is not None and (made := find(client, _NAME)) is not None:
                delete(client, made)
    if json:
        print(jsons.dumps(results))
        return
    for wished in fpir or [0.01]:
        show(*_shown([each for each in results if each["wished"] == wished]))


def _shown(results: Sequence[dict[str, Any]]) -> Iterator[Any]:
    columns = ("threshold", "FPIR promised", "measured", "ratio", "FNIR promised", "measured ", "ratio ")
    shown = table("split", *columns, right=columns)
    ratios: dict[str, list[float]] = {kind: [each[kind] / each[f"{kind}_promised"] for each in results] for kind in ("fpir", "fnir")}
    mean = {key: float(np.mean([each[key] for each in results])) for key in results[0] if key != "split"}
    for each in [*results, mean | {"split": "mean"}]:
        cells = [
            text
            for kind in ("fpir", "fnir")
            for text in (f"{each[f'{kind}_promised']:.2%}", f"{each[kind]:.2%}", f"{each[kind] / each[f'{kind}_promised']:.2f}")
        ]
        shown.add_row(str(each["split"]), f"{each['threshold']:.4f}", *cells)
    yield f"Wished: an FPIR of {results[0]['wished']:g}. {mean['people']:,.0f} people calibrated with."
    yield shown
    within = {kind: sum(1 / 1.5 <= ratio <= 1.5 for ratio in ratios[kind]) for kind in ratios}
    yield (
        f"Within a factor of 1.5: FPIR in {within['fpir']}, FNIR in {within['fnir']} of {len(results)} splits. "
        f"FPIR where each photo counts the same: {mean['fpir_by_photo']:.2%}; with the {mean['twins']:.1f} strangers a split who have a "
        f"near twin in the gallery (perhaps one person under two names): {mean['fpir_with_twins']:.2%}."
    )


if __name__ == "__main__":
    typer.run(main)
