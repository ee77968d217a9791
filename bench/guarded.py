"""The comparisons of bench/guard.py: each a turn of Facedex, then one of its peer, on the same work."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.population import Population
from core.terminal import say

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

    from es.collections import Collection
    from ingest.writer import Work

    Vectors = NDArray[np.float32]

Pair = tuple[float, float]  # seconds that Facedex took, and that its peer took
Turn = Callable[[], Mapping[str, Pair]]  # by the name of the rule

FACES, PHOTOS = 20_000, 4
_LOT = 1_000  # faces: one request
_BATCH = 50  # searches in a request
_WAITS = 30  # searches in a turn
_WARM = 300  # searches until the server's code is compiled
_K = 10
_SIDE = 250  # pixels of the portraits, as of the photos of LFW


@contextmanager
def cold_start() -> Iterator[Turn]:
    """`facedex --help`, beside the import of one large package."""
    from bench.startup import facedex, started

    ours, theirs = facedex("--help"), [sys.executable, "-c", "import numpy"]
    for command in (ours, theirs):
        started(command)
    yield lambda: {"cold_start": (started(ours)[1], started(theirs)[1])}


@contextmanager
def embed() -> Iterator[Turn]:
    """Photos of portraits to vectors as an ingest does it, beside a loop over dlib's own detector, landmarks and network."""
    import dlib

    from faces.dlib_model import LANDMARKS_FILE, NETWORK_FILE, weight_file
    from faces.recipe import DEFAULT
    from photos.places import File
    from workers.worker import Detection, Represent

    represent = Represent(DEFAULT, Detection(), 100_000_000)
    detector = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(weight_file(LANDMARKS_FILE)))
    network = dlib.face_recognition_model_v1(str(weight_file(NETWORK_FILE)))

    def by_dlib(path: str) -> int:
        pixels = dlib.load_rgb_image(path)
        boxes = detector(pixels)
        return sum(len(network.compute_face_descriptor(pixels, landmarks(pixels, box))) > 0 for box in boxes)

    with tempfile.TemporaryDirectory(prefix="facedex-bench-") as folder:
        paths = [path for path in _portraits(Path(folder)) if len(represent([File(path)])[0].faces) == by_dlib(path) == 1]
        assert paths, "no portrait on which both find one face"  # noqa: S101

        def turn() -> Mapping[str, Pair]:
            begun = time.process_time()
            represent([File(path) for path in paths])
            between = time.process_time()
            for path in paths:
                by_dlib(path)
            return {"embed": (between - begun, time.process_time() - between)}

        yield turn


def _portraits(folder: Path) -> list[str]:
    from PIL import Image

    import demo

    paths = []
    for original in sorted(demo.portraits().rglob("*.jpg")):
        with Image.open(original) as image:
            small = image.convert("RGB")
            small.thumbnail((_SIDE, _SIDE * 2))
        small.save(folder / original.name, quality=95)
        paths.append(str(folder / original.name))
    return paths


@contextmanager
def index() -> Iterator[Turn]:
    """Faces into two collections: by the writer of an ingest, and by the client's helper with vectors as lists."""
    from elasticsearch import helpers

    from es.client import connect, speaking
    from es.documents import alias, face_id
    from faces.recipe import DEFAULT
    from ingest.writer import Writer

    with connect(_settings(), say) as client, _collection(client) as ours, _collection(client) as theirs:
        writer = Writer(client, ours.name, model=DEFAULT.model, run="bench", detection="bench")
        each = lots()

        def documents(works: list[Work]) -> Iterator[dict[str, Any]]:
            for work in works:
                id_ = face_id(str(work.outcome.sha256), 0, DEFAULT.model)
                yield {"_op_type": "create", "_index": alias(theirs.name), "_id": id_, "require_alias": True, "_source": document(work)}

        def turn() -> Mapping[str, Pair]:
            works = next(each)
            marks = [_clocks()]
            for _ in writer.write(works):
                pass
            marks.append(_clocks())
            with speaking():
                helpers.bulk(client, documents(works), chunk_size=_LOT)
            marks.append(_clocks())
            wall, cpu = ((b - a, c - b) for a, b, c in zip(*marks, strict=True))
            return {"index": wall, "index_cpu": cpu}

        turn()
        yield turn


@contextmanager
def search() -> Iterator[Turn]:
    """Searches as `facedex search` asks them, one after the other and many in a request, beside those that the client's manual begins with:
    lists of numbers, whole documents as answers, an index with Elasticsearch's own defaults; in the same node, of the same faces.
    """
    from elasticsearch import helpers

    from es.client import connect, speaking
    from es.documents import alias
    from faces.recipe import DEFAULT
    from ingest.writer import Writer
    from query.knn import depth, nearest

    plain = f"bench-{uuid.uuid4().hex[:12]}"
    with connect(_settings(), say) as client, _collection(client) as made:
        how, writer = depth(made), Writer(client, made.name, model=DEFAULT.model, run="bench", detection="bench")
        try:
            with speaking():
                client.indices.create(index=plain, mappings=plain_mapping())
            for lot, _ in zip(lots(), range(FACES // _LOT), strict=False):
                for _ in writer.write(lot):
                    pass
                with speaking():
                    helpers.bulk(client, ({"_index": plain, "_source": document(work)} for work in lot))
            with speaking():  # as a search of many faces meets it
                client.indices.forcemerge(index=[alias(made.name), plain], max_num_segments=1)
                client.indices.refresh(index=[alias(made.name), plain])
            probes = Population.load().probes(FACES // PHOTOS).vectors
            rounds = iter(range(1 << 30))

            def ours(part: Vectors) -> Any:
                return nearest(client, made.name, list(part), _K, depth=how)

            def theirs(part: Vectors) -> Any:
                asked = [{"field": "embedding", "query_vector": probe.tolist(), "k": _K, "num_candidates": 100} for probe in part]
                with speaking():
                    if len(asked) == 1:
                        return client.search(index=plain, knn=asked[0])
                    return client.msearch(index=plain, searches=[line for each in asked for line in ({}, {"knn": each})])

            def turn() -> Mapping[str, Pair]:
                first = next(rounds) * _WAITS % (len(probes) - _WAITS - _BATCH)
                alone = [probes[at : at + 1] for at in range(first, first + _WAITS)]
                together = [probes[first : first + _BATCH]] * 3
                return {"search": (_wait(ours, alone), _wait(theirs, alone)), "batch": (_wait(ours, together), _wait(theirs, together))}

            for _ in range(_WARM // _WAITS):
                turn()
            yield turn
        finally:
            with speaking():
                client.indices.delete(index=plain, ignore_unavailable=True)


def plain_mapping() -> dict[str, Any]:
    """A face's fields, with the vector index that Elasticsearch chooses by itself."""
    from es.documents import face_mapping
    from faces.recipe import DEFAULT

    mapping = face_mapping(DEFAULT.dims, DEFAULT.metric, {}, {})
    del mapping["properties"]["embedding"]["index_options"]
    return mapping


def _wait(find: Callable[[Vectors], Any], asked: list[Vectors]) -> float:
    """The shortest wait: what else the machine has to do only ever lengthens one."""
    waits = []
    for part in asked:
        begun = time.perf_counter()
        find(part)
        waits.append(time.perf_counter() - begun)
    return min(waits)


def _clocks() -> Pair:
    return time.perf_counter(), time.process_time()


def _settings() -> Any:
    from core.settings import settings

    return settings()


@contextmanager
def _collection(client: Elasticsearch) -> Iterator[Collection]:
    from es.collections import create, delete
    from faces.recipe import DEFAULT

    made = create(client, f"bench-{uuid.uuid4().hex[:12]}", DEFAULT.as_dict())
    try:
        yield made
    finally:
        delete(client, made)


def lots(faces: int = 100 * FACES) -> Iterator[list[Work]]:
    """Photos with a made face each, so many at a time, the same in every run."""
    from faces.face import Face
    from faces.quality import Quality
    from ingest.writer import Work
    from photos.sources import Source
    from workers.worker import Outcome

    lot: list[Work] = []
    quality, row = Quality(120, 90.5, 0.5, 0.9), 0
    for block in Population.load().gallery(faces // PHOTOS, PHOTOS):
        for vector in block.vectors:
            face = Face((70, 70, 110, 110), ((90, 100),) * 5, 1.5, vector, quality=quality)
            sha256 = hashlib.sha256(b"%d" % row).hexdigest()
            lot.append(Work(Source(f"/photos/{row:09}.jpg", f"person {row // PHOTOS}"), Outcome(sha256, 250, 250, (face,))))
            row += 1
            if len(lot) == _LOT:
                yield lot
                lot = []


def document(work: Work) -> dict[str, Any]:
    """What the writer stores of a face, with its vector as a list."""
    outcome, [face] = work.outcome, work.outcome.faces
    assert face.quality is not None  # noqa: S101 - narrows the type
    return {
        "@timestamp": "2026-01-31T12:00:00.000+00:00",
        "ingest": {"run": "bench", "detection": "bench"},
        "person": work.source.person,
        "image": {"sha256": outcome.sha256, "path": str(work.source.path), "width": 250, "height": 250, "faces": 1},
        "face": {
            "ordinal": 0,
            "box": dict(zip("xywh", face.box, strict=True)),
            "landmarks": [value for point in face.landmarks for value in point],
            "confidence": face.confidence,
            "quality": face.quality.as_dict(),
        },
        "embedding": face.embedding.tolist(),
    }


PARTS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "cold_start": (cold_start, ("cold_start",)),
    "embed": (embed, ("embed",)),
    "index": (index, ("index", "index_cpu")),
    "search": (search, ("search", "batch")),
}
