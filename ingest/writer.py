"""Faces and rejects into Elasticsearch: packed, in bulk, with ids from content, so that writing twice changes nothing."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from core.errors import EngineError, StorageError
from es.client import is_disk_full, speaking
from es.documents import alias, face_id, reject_id, rejects_alias
from ingest.known import Known
from ingest.sources import Source
from ingest.worker import Outcome

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_CHUNK_FACES = 500
# A request of 5 MB is well within the indexing-pressure budget (a tenth of the heap) of the smallest node.
_CHUNK_BYTES = 5 << 20
_FLUSH_SECONDS = 5.0  # large photos trickle in: what is embedded is stored soon, whatever happens next
_RETRIES = 6  # of what was refused for lack of room; with the waits between them, half a minute
# What a repeated write meets, and what makes it harmless: the face is there already, the stale one is gone already.
_HARMLESS = {("create", 409), ("delete", 404)}

Action = tuple[dict[str, Any], dict[str, Any] | None]  # one bulk operation: its header, its document


@dataclass(slots=True)
class Work:
    """One photo on its way: where it comes from, what the collection knew of it, what became of it."""

    source: Source
    outcome: Outcome
    known: Known | None = None
    created: int = 0  # faces that were not there before


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
        self._replaced: set[bytes] = set()  # contents that this run has looked at anew

    def write(self, works: Iterable[Work]) -> Iterator[Work]:
        """Stores each photo's faces or its reject, and yields the photo when all of that is acknowledged, in the order given.

        Where the photos themselves stop with an error, those before it are stored first.

        Raises:
            StorageError: the cluster's disks are full.
            EngineError: Elasticsearch refused a document, or can't be reached any more.
        """
        chunk: list[Work] = []
        faces, since = 0, time.monotonic()
        try:
            for work in works:
                chunk.append(work)
                faces += max(1, len(work.outcome.faces))
                if faces >= _CHUNK_FACES or time.monotonic() - since > _FLUSH_SECONDS:
                    full, chunk = chunk, []
                    yield from self._store(full)
                    faces, since = 0, time.monotonic()
        except (Exception, KeyboardInterrupt):
            self._store(chunk)
            raise
        yield from self._store(chunk)

    def _store(self, chunk: list[Work]) -> list[Work]:
        from elasticsearch.helpers import streaming_bulk

        owners: dict[str, Work] = {}
        with speaking():
            for ok, item in streaming_bulk(
                self._client,
                cast(Any, self._actions(chunk, owners)),  # pairs of header and document, as the callback may take them
                expand_action_callback=_as_it_is,
                chunk_size=10 * _CHUNK_FACES,
                max_chunk_bytes=_CHUNK_BYTES,
                raise_on_error=False,
                max_retries=_RETRIES,
                initial_backoff=0.5,
                max_backoff=30,
            ):
                operation, result = item.popitem()
                if ok and operation == "create":
                    owners[result["_id"]].created += 1
                elif not ok and (operation, result["status"]) not in _HARMLESS:
                    raise _refusal(result)
        return chunk

    def _actions(self, chunk: list[Work], owners: dict[str, Work]) -> Iterator[Action]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        seen: set[str] = set()
        for work in chunk:
            for index, id_ in work.known.stale if work.known else ():
                yield {"delete": {"_index": index, "_id": id_}}, None
            sha256 = work.outcome.sha256
            if sha256 is not None and work.outcome.reject is None:
                # Copies of what this run stored: in this chunk, or replaced in an earlier one. The first stands. (Any other copy meets
                # what is stored already, and changes nothing.)
                digest = bytes.fromhex(sha256)
                if sha256 in seen or digest in self._replaced:
                    continue
                seen.add(sha256)
                if work.known is not None:
                    self._replaced.add(digest)
            yield from self._replacement(work, now, owners)

    def _replacement(self, work: Work, now: str, owners: dict[str, Work]) -> Iterator[Action]:
        """What makes the collection hold this photo's faces, or its reject, and nothing else of it."""
        faces, rejects = alias(self._name), rejects_alias(self._name)
        known, outcome = work.known or Known(), work.outcome
        wanted = [face_id(str(outcome.sha256), ordinal, self._model) for ordinal in range(len(outcome.faces))]
        for id_, (detection, _) in known.faces.items():
            # Those found in the same way are right as they are, only not all of them are there.
            if id_ not in wanted or detection != self._ingest["detection"]:
                yield {"delete": {"_index": faces, "_id": id_}}, None
        if outcome.reject is not None:
            id_ = reject_id(outcome.sha256, text(work.source.path))
            yield {"index": {"_index": rejects, "_id": id_, "require_alias": True}}, self._reject(work, now)
            return
        for id_ in known.rejects:
            yield {"delete": {"_index": rejects, "_id": id_}}, None
        for ordinal, id_ in enumerate(wanted):
            owners[id_] = work
            # Without the alias (the collection was deleted meanwhile) a server could make an index of its own shape.
            yield {"create": {"_index": faces, "_id": id_, "require_alias": True}}, self._face(work, ordinal, now)

    def _common(self, work: Work, now: str) -> dict[str, Any]:
        document: dict[str, Any] = {"@timestamp": now, "ingest": self._ingest}
        if work.source.person is not None:
            document["person"] = text(work.source.person)
        if work.source.labels:
            document["labels"] = {text(name): text(value) for name, value in work.source.labels.items()}
        return document

    def _face(self, work: Work, ordinal: int, now: str) -> dict[str, Any]:
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


def _as_it_is(action: Any) -> Action:
    pair: Action = action
    return pair


def _refusal(result: dict[str, Any]) -> EngineError | StorageError:
    # Only the type is repeated: reasons can quote the rejected value, and that can be a face vector.
    kind = str(result.get("error", {}).get("type", "error"))
    if is_disk_full(kind, str(result.get("error", {}).get("reason", ""))):
        return StorageError(
            "Elasticsearch takes no more writes because its disk is full: free space, then run this again; nothing is lost or done twice.",
            code="disk_full",
        )
    return EngineError(f"Elasticsearch refused to store a face ({kind}, status {result['status']}): nothing further was ingested.")
