"""Faces and rejects into Elasticsearch: packed, in bulk, with ids from content, so that writing twice changes nothing."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import EngineError, RecipeMismatch
from es import cells
from es.bulk import Operation, refusal, send
from es.client import speaking
from es.documents import WITH_CELLS, alias, face_id, reject_id, rejects_alias
from es.security.refusals import is_refusal
from es.versions import made_now
from ingest.contents import Contents
from ingest.known import PASSING, Known
from photos.sources import Source
from workers.worker import Outcome

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

# A request is sent when it has so many faces or bytes, or is so old.
_CHUNK_FACES = 2_000
_CHUNK_BYTES = 5 << 20
_OTHER_BYTES = 700  # of a face, beside vector and thumbnail
_FLUSH_SECONDS = 5.0  # large photos trickle in: what is embedded is stored soon, whatever happens next
# What a repeated write meets, and what makes it harmless: the face is there already, the stale one is gone (or has changed) already.
_HARMLESS = {("create", 409), ("delete", 404), ("delete", 409)}

_AWAY = {"unreachable", "timeout", "overloaded"}

Action = tuple[dict[str, Any], dict[str, Any] | None]  # one bulk operation: its header, its document


@dataclass(slots=True)
class Work:
    """One photo on its way: where it comes from, what the collection knew of it, what became of it."""

    source: Source
    outcome: Outcome
    known: Known | None = None
    created: int = 0  # faces that were not there before
    outdated: int = 0  # documents that should have gone, which this user may not delete


@dataclass(slots=True)
class _Batch:
    """Photos that are stored with one request."""

    works: list[Work] = field(default_factory=list)
    faces: int = 0
    size: int = 0  # bytes, about
    since: float = field(default_factory=time.monotonic)

    def put(self, work: Work) -> None:
        """Makes a photo part of the request."""
        self.works.append(work)
        for face in work.outcome.faces:
            self.faces += 1
            self.size += (face.embedding.nbytes + len(face.thumbnail or b"")) * 4 // 3 + _OTHER_BYTES  # base64

    @property
    def is_due(self) -> bool:
        """Whether it is to be sent."""
        full = self.faces >= _CHUNK_FACES or len(self.works) >= _CHUNK_FACES or self.size >= _CHUNK_BYTES
        return full or time.monotonic() - self.since > _FLUSH_SECONDS


def text(path: Path | str) -> str:
    """A path, or a name out of one, as text that any JSON can hold; bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Writer:
    """Writes the photos of one run into one collection."""

    def __init__(self, client: Elasticsearch, name: str, *, model: str, run: str, detection: str) -> None:
        self._client = client
        self._name = name
        self._model = model
        self._ingest = {"run": run, "detection": detection}
        with speaking():
            self._made = made_now(client, name)
        self._book = cells.book(model) if self._made.mapping >= WITH_CELLS else None
        self._replaced = Contents()  # that this run has looked at anew
        self.seconds = 0.0  # spent on storing

    def write(self, works: Iterable[Work]) -> Iterator[Work]:
        """Stores each photo's faces or its reject, and yields the photo when all of that is acknowledged, in the order given.

        Where the photos themselves stop with an error, those before it are stored first.

        Raises:
            StorageError: the cluster's disks are full.
            EngineError: Elasticsearch refused a document, or can't be reached any more.
        """
        batch, works = _Batch(), iter(works)
        while (work := self._next(works, batch)) is not None:
            batch.put(work)
            if batch.is_due:
                full, batch = batch, _Batch()
                yield from self._store(full)
        yield from self._store(batch)

    def _next(self, works: Iterator[Work], batch: _Batch) -> Work | None:
        try:
            return next(works, None)
        except (Exception, KeyboardInterrupt) as error:
            # If it is Elasticsearch that is away or busy, nothing can be stored: the next run embeds these again.
            if not (isinstance(error, EngineError) and error.code in _AWAY):
                self._store(batch)
            raise

    def _store(self, batch: _Batch) -> list[Work]:
        operations, owners = self._request(batch.works)
        begun = time.perf_counter()
        results = send(self._client, operations, self._check)
        self.seconds += time.perf_counter() - begun
        for operation, owner, result in zip(operations, owners, results, strict=True):
            if "error" not in result:
                if operation.kind == "create":
                    owner.created += 1
            elif operation.kind == "delete" and is_refusal(result):
                owner.outdated += 1
            elif (operation.kind, result["status"]) not in _HARMLESS:
                raise refusal(operation, result)
        return batch.works

    def _check(self, client: Elasticsearch) -> None:
        """The documents of a run are made for the recipe and the mapping that the collection had when it began."""
        if made_now(client, self._name) != self._made:
            raise RecipeMismatch("The collection was made anew meanwhile, or moved to another model or mapping: run this again.")

    def _request(self, works: Sequence[Work]) -> tuple[list[Operation], list[Work]]:
        """The operations that store photos, and whose each of them is."""
        operations, owners, contents = list[Operation](), list[Work](), set[str]()
        found = iter(self._cells(works))
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        for work in works:
            own = [next(found) for _ in work.outcome.faces]
            made = [stale.operation("delete") for stale in work.known.stale] if work.known else []
            if not self._is_copy(work, contents):
                made += [Operation.of(header, document) for header, document in self._replacement(work, own, now)]
            operations += made
            owners += [work] * len(made)
        return operations, owners

    def _cells(self, works: Sequence[Work]) -> Sequence[int | None]:
        """The cell of each face: of all at once, which takes 3 microseconds a face, and one by one 40."""
        import numpy as np

        vectors = [face.embedding for work in works for face in work.outcome.faces]
        book = self._book
        if book is None or any(len(vector) != book.dims for vector in vectors):  # the server refuses others, and says why
            return [None] * len(vectors)
        return book.of(np.stack(vectors)).tolist() if vectors else []

    def _is_copy(self, work: Work, contents: set[str]) -> bool:
        """Whether this run stored that content already, in this request, or replaced it in an earlier one: the first stands.

        Any other copy meets what is stored already, and changes nothing.
        """
        sha256 = work.outcome.sha256
        if sha256 is None or work.outcome.reject is not None:
            return False
        if sha256 in contents or sha256 in self._replaced:
            return True
        contents.add(sha256)
        if work.known is not None:
            self._replaced.add(sha256)
        return False

    def _replacement(self, work: Work, own: Sequence[int | None], now: str) -> Iterator[Action]:
        """What makes the collection hold this photo's faces, or its reject, and nothing else of it."""
        faces, rejects = alias(self._name), rejects_alias(self._name)
        known, outcome = work.known or Known(), work.outcome
        wanted = [face_id(str(outcome.sha256), ordinal, self._model) for ordinal in range(len(outcome.faces))]
        passing = outcome.reject is not None and outcome.reject.reason in PASSING
        for id_, found in () if passing else known.faces.items():
            # Those found in the same way, as one of so many, are right as they are, only not all of them are there.
            if id_ not in wanted or found != (self._ingest["detection"], len(wanted)):
                yield {"delete": {"_index": faces, "_id": id_}}, None
        if outcome.reject is not None:
            id_ = reject_id(outcome.sha256, text(work.source.path))
            yield {"index": {"_index": rejects, "_id": id_, "require_alias": True}}, self._reject(work, now)
            return
        for id_ in known.rejects:
            yield {"delete": {"_index": rejects, "_id": id_}}, None
        for ordinal, (id_, cell) in enumerate(zip(wanted, own, strict=True)):
            # Without the alias (the collection was deleted meanwhile) a server could make an index of its own shape.
            yield {"create": {"_index": faces, "_id": id_, "require_alias": True}}, self._face(work, ordinal, cell, now)

    def _common(self, work: Work, now: str) -> dict[str, Any]:
        document: dict[str, Any] = {"@timestamp": now, "ingest": self._ingest}
        if work.source.person is not None:
            document["person"] = text(work.source.person)
        if work.source.labels:
            document["labels"] = {text(name): text(value) for name, value in work.source.labels.items()}
        return document

    def _face(self, work: Work, ordinal: int, cell: int | None, now: str) -> dict[str, Any]:
        from elasticsearch.helpers import pack_dense_vector

        outcome = work.outcome
        face = outcome.faces[ordinal]
        document = self._common(work, now) | {
            "image": {
                "sha256": outcome.sha256,
                "path": text(work.source.path),
                "width": outcome.width,
                "height": outcome.height,
                "faces": len(outcome.faces),
            },
            "face": {
                "ordinal": ordinal,
                "box": dict(zip("xywh", face.box, strict=True)),
                "landmarks": [value for point in face.landmarks for value in point],
                "confidence": round(face.confidence, 4),
            },
            "embedding": pack_dense_vector(face.embedding),
        }
        if cell is not None:
            document[cells.FIELD] = cell
        if face.quality is not None:
            document["face"]["quality"] = face.quality.as_dict()
        if face.thumbnail is not None:
            document["thumbnail"] = base64.b64encode(face.thumbnail).decode("ascii")
        return document

    def _reject(self, work: Work, now: str) -> dict[str, Any]:
        assert work.outcome.reject is not None  # noqa: S101 - narrows the type
        image = {"path": text(work.source.path)}
        if work.outcome.sha256 is not None:
            image["sha256"] = work.outcome.sha256
        reject = work.outcome.reject
        return self._common(work, now) | {"image": image, "reason": reject.reason, "message": reject.message}
