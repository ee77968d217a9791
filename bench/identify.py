"""Who is this? Rank-1 of the approximate search, of the exact one and of DeepFace.find, leave-one-out.

A probe is the subject of each photo (the face nearest its middle) of a person with two or more; it is right if the nearest face of any
other photo is the same person's. The gallery is what an ingest stored: every face, bystanders under the name of their photo, too.

Beside the collection as it is, a copy of it is measured that is merged to one segment: small segments have no graph, and tell nothing of
what one loses.

DeepFace.find, with its own detection, runs on people drawn from them: two photos of each, one of which is the probe, in the same gallery
for all three. That takes some minutes on two quiet cores; with --keep, its copies of the photos and their embeddings stay for another run.

    facedex ingest ../shared/faces/lfw -c lfw
    python bench/identify.py -c lfw --photos ../shared/faces/lfw
"""

from __future__ import annotations

import json as jsons
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.peers import deepface_home  # noqa: E402
from core.settings import settings  # noqa: E402
from core.terminal import say, show, table  # noqa: E402
from query.recall import Probes  # noqa: E402

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection
    from es.vectors import Page

_FIELDS = ("person", "image.sha256", "image.path", "image.width", "image.height", "image.faces", *(f"face.box.{side}" for side in "xywh"))
_K = 10  # neighbours whose recall is told
_LEVELS = (10, 30, 100, 300, 1000)  # numbers of candidates
_HALVES = 2  # of the gallery: DeepFace goes through each in a process of its own
_FIND_K = 10  # more than the faces of one photo


@dataclass(frozen=True, slots=True)
class Subject:
    """The face that a photo is about, and the number of its faces."""

    path: str
    sha256: str
    person: str
    vector: Any
    faces: int


def subjects(client: Elasticsearch, collection: Collection) -> list[Subject]:
    """The subject of every photo of a collection, by path."""
    from es.vectors import map_slices

    nearest: dict[str, tuple[float, Subject]] = {}

    def go(pages: Iterator[Page]) -> list[tuple[float, Subject]]:
        return [_subject(fields, vector) for page in pages for fields, vector in zip(page.fields, page.vectors, strict=True)]

    for part in map_slices(client, collection.index, {"exists": {"field": "person"}}, go, fields=_FIELDS):
        for away, subject in part:
            if subject.path not in nearest or away < nearest[subject.path][0]:
                nearest[subject.path] = away, subject
    return [nearest[path][1] for path in sorted(nearest)]


def _subject(fields: Any, vector: Any) -> tuple[float, Subject]:
    """A face, and how far it is from the middle of its photo."""
    x, y, w, h, width, height, faces = (
        fields[name][0] for name in (*(f"face.box.{side}" for side in "xywh"), "image.width", "image.height", "image.faces")
    )
    away = (x + w / 2 - width / 2) ** 2 + (y + h / 2 - height / 2) ** 2
    return away, Subject(fields["image.path"][0], fields["image.sha256"][0], fields["person"][0], vector, faces)


def of_many(found: Sequence[Subject]) -> list[Subject]:
    """Those of people with two photos or more."""
    photos: dict[str, set[str]] = defaultdict(set)
    for each in found:
        photos[each.person].add(each.sha256)
    return [each for each in found if len(photos[each.person]) > 1]


def probes_of(found: Sequence[Subject]) -> Probes:
    """What query.recall measures with."""
    vectors = np.stack([each.vector for each in found])
    people: list[str | None] = [each.person for each in found]
    return Probes(vectors, [each.sha256 for each in found], people, [True] * len(found), max(each.faces for each in found))


def search(client: Elasticsearch, collection: Collection, found: Sequence[Subject]) -> dict[str, Any]:
    """Rank-1 of the exact search, and of the approximate one by number of candidates, in the collection and in a merged copy."""
    from es.collections import count
    from es.copies import copy, sweep
    from query import knn
    from query.recall import measure, truth

    probes, faces = probes_of(found), count(client, collection)["faces"]
    known = truth(client, collection, probes, _K)
    document: dict[str, Any] = {
        "probes": len(probes),
        "faces": faces,
        "exact": round(known.rank1 or 0, 5),
        "exact_seconds": round(known.seconds, 2),
    }

    def levels(index: str) -> list[dict[str, Any]]:
        measured = measure(client, index, probes, known, _K, faces=faces, depth=knn.depth(collection), levels=_LEVELS)
        return [level.as_dict() | {"of_exact": round((level.labelled_rank1 or 0) / (known.rank1 or 1), 5)} for level in measured]

    document["as_it_is"] = levels(collection.index)
    sweep(client, collection)
    with copy(client, collection, collection.index_type, segments=1) as merged:
        document["merged"] = levels(merged)
    return document


# The same people by DeepFace.find.


def drawn(found: Sequence[Subject], people: int, seed: int) -> list[tuple[Subject, Subject]]:
    """Two photos each of so many people: a probe, and its mate."""
    by_person: dict[str, list[Subject]] = defaultdict(list)
    for each in found:
        by_person[each.person].append(each)
    chance = random.Random(seed)
    chosen = chance.sample(sorted(by_person), min(people, len(by_person)))
    pairs = [chance.sample(by_person[person], 2) for person in chosen]
    return [(pair[0], pair[1]) for pair in pairs]


def in_gallery(client: Elasticsearch, collection: Collection, pairs: Sequence[tuple[Subject, Subject]]) -> dict[str, Any]:
    """Rank-1 of both searches, where nobody but these photos is in the gallery."""
    from query.exact import exact

    gallery = {"terms": {"image.path": [each.path for pair in pairs for each in pair]}}
    probes = np.stack([probe.vector for probe, _ in pairs])
    exactly = exact(client, collection.name, probes, _FIND_K, filters=[gallery], source=("person", "image.path"))
    approximate = []
    for probe in probes:
        knn = {"field": "embedding", "query_vector": probe.tolist(), "k": _FIND_K, "num_candidates": 300, "filter": gallery}
        answer = client.search(index=collection.index, knn=knn, size=_FIND_K, source={"includes": ["person", "image.path"]})
        approximate.append(answer["hits"]["hits"])

    def first(hits: Any, path: str) -> dict[str, Any]:
        source = next(hit["_source"] for hit in hits if hit["_source"]["image"]["path"] != path)
        return {"person": source["person"], "path": source["image"]["path"]}

    return {
        name: [first(hits, probe.path) for hits, (probe, _) in zip(answers, pairs, strict=True)]
        for name, answers in (("exact", exactly), ("approximate", approximate))
    }


def deepface(pairs: Sequence[tuple[Subject, Subject]], folder: Path) -> tuple[list[str | None], float]:
    """The gallery's photo that DeepFace.find ranks first for each probe, other than its own (None: it found no face); and seconds."""
    every = sorted({each.path for pair in pairs for each in pair})
    halves = [every[half::_HALVES] for half in range(_HALVES)]
    begun = time.perf_counter()
    os.environ |= {"DEEPFACE_HOME": str(deepface_home(folder)), "DEEPFACE_BACKEND_ENGINE": "onnx", "DEEPFACE_LOG_LEVEL": "50"}
    with multiprocessing.get_context("spawn").Pool(_HALVES) as pool:
        tasks = [(str(folder / f"half-{half}"), halves[half], [probe.path for probe, _ in pairs]) for half in range(_HALVES)]
        answers = pool.starmap(_find_all, tasks, chunksize=1)
    # The search is exhaustive, so the first of the whole is the better one of the halves' firsts.
    best = [min((answer for answer in each if answer is not None), default=None) for each in zip(*answers, strict=True)]
    return [None if answer is None else answer[1] for answer in best], time.perf_counter() - begun


def _find_all(folder: str, gallery: list[str], probes: list[str]) -> list[tuple[float, str] | None]:
    """In a process of its own: the nearest other photo of this part of the gallery for each probe, and its distance."""
    from deepface import DeepFace
    from deepface.modules.exceptions import FaceNotDetected

    place = Path(folder)
    originals = {}
    for path in gallery:
        copied = place / Path(path).parent.name / Path(path).name
        copied.parent.mkdir(parents=True, exist_ok=True)
        if not copied.exists():
            shutil.copyfile(path, copied)
        originals[str(copied)] = path
    found: list[tuple[float, str] | None] = []
    for number, probe in enumerate(probes):
        try:
            faces: Any = DeepFace.find(
                probe,
                folder,
                model_name="Dlib",
                detector_backend="dlib",
                align=True,
                threshold=10.0,  # all, however far: it is the order that is compared
                k=_FIND_K,
                refresh_database=number == 0,
                silent=True,
                return_type="dict",
            )
        except FaceNotDetected:
            found.append(None)
            continue
        others = [face for face in _nearest_face(faces, probe) if originals.get(face["identity"]) != probe]
        found.append((float(others[0]["distance"]), originals[others[0]["identity"]]) if others else None)
    return found


def _nearest_face(faces: list[list[dict[str, Any]]], photo: str) -> list[dict[str, Any]]:
    """What was found for the face nearest the middle of the photo."""
    from PIL import Image

    with Image.open(photo) as image:
        width, height = image.size

    def away(found: list[dict[str, Any]]) -> float:
        face = found[0]
        x, y = (float(face[f"source_{a}"] + face[f"source_{b}"] / 2) for a, b in ("xw", "yh"))
        return (x - width / 2) ** 2 + (y - height / 2) ** 2

    return min((found for found in faces if found), key=away, default=[])


def beside_deepface(
    client: Elasticsearch, collection: Collection, found: Sequence[Subject], people: int, seed: int, keep: Path
) -> dict[str, Any]:
    """Rank-1 of the three, with the same photos as probes and as gallery."""
    pairs = drawn(found, people, seed)
    ours = in_gallery(client, collection, pairs)
    theirs, seconds = deepface(pairs, keep)
    person = {each.path: each.person for pair in pairs for each in pair}
    right = {name: [first["person"] == probe.person for first, (probe, _) in zip(ours[name], pairs, strict=True)] for name in ours}
    right["deepface"] = [first is not None and person[first] == probe.person for first, (probe, _) in zip(theirs, pairs, strict=True)]
    same = [first == other["path"] for first, other in zip(theirs, ours["exact"], strict=True)]
    both = [a and b for a, b in zip(right["exact"], right["deepface"], strict=True)]
    return {
        "probes": len(pairs),
        "photos": 2 * len(pairs),
        **{name: round(float(np.mean(each)), 5) for name, each in right.items()},
        "only_facedex_right": sum(right["exact"]) - sum(both),
        "only_deepface_right": sum(right["deepface"]) - sum(both),
        "same_first_photo": round(float(np.mean(same)), 5),
        "deepface_found_no_face": theirs.count(None),
        "deepface_seconds": round(seconds),
    }


def main(
    photos: Annotated[Path, typer.Option(help="The folder that was ingested: a folder for each person.")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="The collection that it was ingested into.")] = "lfw",
    people: Annotated[int, typer.Option(help="How many people DeepFace.find looks for; 0 leaves it out.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the draw of people.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Where DeepFace keeps its embeddings for another run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints how often the first one is the right one."""
    from es.client import connect
    from es.collections import get

    with connect(settings(), say) as client, tempfile.TemporaryDirectory(prefix="facedex-bench-") as scratch:
        chosen = get(client, collection)
        here = {str(path.resolve()) for path in photos.rglob("*.*")}
        found = [each for each in subjects(client, chosen) if each.path in here]
        if not found:
            sys.exit(f"The collection {collection} holds no photo of {photos}: `facedex ingest {photos} -c {collection}` first.")
        document = {"photos": _photos(here), **search(client, chosen, of_many(found))}
        # A photo without a face is a wrong answer, too.
        document["rank1_of_all_photos"] = round(document["exact"] * document["probes"] / document["photos"], 5)
        if people:
            document["deepface"] = beside_deepface(client, chosen, of_many(found), people, seed, keep or Path(scratch))
    if json:
        print(jsons.dumps(document))
    else:
        _show(document)


def _photos(paths: set[str]) -> int:
    """How many photos there are of people with two or more."""
    of: dict[str, int] = defaultdict(int)
    for path in paths:
        of[str(Path(path).parent)] += 1
    return sum(count for count in of.values() if count > 1)


def _show(document: dict[str, Any]) -> None:
    right = ("candidates", "rank-1", "of the exact", "recall@10", "compared", "median ms")
    shown = table("search", *right, right=right)
    shown.add_row("exact", "", f"{document['exact']:.2%}", "", "", f"{document['faces']:,}", "")
    for name in ("as_it_is", "merged"):
        for level in document[name]:
            numbers = (f"{level['labelled_rank1']:.2%}", f"{level['of_exact']:.2%}", f"{level['recall']:.2%}", f"{level['compared']:,}")
            shown.add_row(name.replace("_", " "), f"{level['num_candidates']:,}", *numbers, f"{level['median_ms']:.1f}")
    said = (
        f"{document['probes']:,} photos as probes, {document['photos']:,} with those without a face: {document['rank1_of_all_photos']:.2%}"
    )
    show(shown, said)
    beside = document.get("deepface")
    if beside is None:
        return
    shares = table(f"rank-1 of {beside['probes']} photos among {beside['photos']:,}", "", right=("",))
    for name, title in (("approximate", "facedex, approximate"), ("exact", "facedex, exact"), ("deepface", "DeepFace.find")):
        shares.add_row(title, f"{beside[name]:.2%}")
    show(
        shares,
        f"The same photo first: {beside['same_first_photo']:.2%}. Only facedex right: {beside['only_facedex_right']}, only DeepFace.find: "
        f"{beside['only_deepface_right']}. DeepFace.find took {beside['deepface_seconds']} s, with {_HALVES} processes.",
    )


if __name__ == "__main__":
    typer.run(main)
