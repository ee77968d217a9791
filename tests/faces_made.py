"""Faces and photos made for tests."""

from __future__ import annotations

import hashlib
import io
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from elasticsearch import Elasticsearch
from PIL import Image

from es.collections import create
from es.documents import alias, rejects_alias
from faces.face import Face
from faces.recipe import DEFAULT
from ingest.writer import Work
from photos.sources import Source
from workers.worker import Outcome, Reject


def vector(seed: int, dims: int = 128) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A random direction, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(dims).astype(np.float32)


def face(seed: int) -> Face:
    """A face with a random vector."""
    return Face(box=(seed, 2, 30, 40), landmarks=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10)), confidence=1.25, embedding=vector(seed))


def sha(text: str) -> str:
    """A SHA-256 to stand for content."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def work(photo: str, *seeds: int, person: str | None = None, content: str | None = None) -> Work:
    """A photo whose faces have the random vectors of these seeds."""
    return Work(Source(f"/photos/{photo}", person), Outcome(sha(content or photo), 640, 480, tuple(face(seed) for seed in seeds)))


def rejected(photo: str, reason: str = "no_face") -> Work:
    """A photo that was left out."""
    return Work(Source(f"/photos/{photo}", None), Outcome(sha(photo), reject=Reject(reason, "A sentence.")))


def small_copies(portrait: Path, folder: Path, count: int) -> list[Path]:
    """Many small photos of one portrait, each with bytes of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(portrait) as image:
        image.thumbnail((260, 260))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=90)
    made = []
    for number in range(count):
        path = folder / f"{number:04}.jpg"
        # A comment segment after the start-of-image marker: other bytes, the same picture.
        comment = f"{portrait.name} {number:08}".encode()
        path.write_bytes(buffer.getvalue()[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + buffer.getvalue()[2:])
        made.append(path)
    return made


def lost(client: Elasticsearch, name: str) -> None:
    """A collection whose shards are nowhere."""
    create(client, name, DEFAULT.as_dict())
    for index in (f"{alias(name)}-v1", f"{rejects_alias(name)}-v1"):
        layout = client.indices.get_settings(index=index)[index]["settings"]["index"]
        mapping = client.indices.get_mapping(index=index)[index]["mappings"]
        client.indices.delete(index=index)
        client.indices.create(
            index=index,
            mappings=mapping,
            settings={"number_of_shards": int(layout["number_of_shards"]), "routing.allocation.require._name": "nobody"},
            aliases={index.removesuffix("-v1"): {}},
            wait_for_active_shards=0,
        )


def worker_at_work(parent: int, seconds: float = 1.0) -> psutil.Process:
    """A worker process of a command that looks at photos, once it has worked for so long: after 1 its models are loaded, and there is
    more to do. Not the time of the day: a busy machine may let a run wait, or those who watch it.
    """
    for _ in range(1500):
        for child in psutil.Process(parent).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "spawn_main" in " ".join(child.cmdline()) and child.cpu_times().user > seconds:
                    return child
        time.sleep(0.02)
    pytest.fail("no worker was seen at work")


Content = set[tuple[str, tuple[float, ...]]]


def content(client: Elasticsearch, name: str) -> Content:
    """Every id of a collection, and its vector."""
    client.indices.refresh(index=alias(name))
    hits = client.search(index=alias(name), size=10_000, source={"includes": ["embedding"], "exclude_vectors": False})["hits"]["hits"]
    return {(hit["_id"], tuple(hit["_source"]["embedding"])) for hit in hits}
