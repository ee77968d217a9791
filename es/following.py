"""An index that follows another one: filled from it, and brought up to date with what is written to it.

What was written since the last time is found by its sequence number, which every write raises; what is deleted, by comparing ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import EngineError
from es import cells
from es.bulk import Operation, refusal, send
from es.client import speaking
from es.comparing import hashed
from es.vectors import FIELD, VECTOR, Hit, map_hits, unpacked

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_NEVER = -1  # below every sequence number
_BARE: Mapping[str, Any] = {"source": False}


class Following:
    """What is brought over from one index to another.

    Args:
        client: the connection.
        old: what is followed.
        new: what follows.
        mark: an alias of the new index, through which it is written: once that is another's, nothing is written any more.
        renew: called with each page.
        shards: how many the followed one has.
        model: whose vectors these are.
    """

    def __init__(self, client: Elasticsearch, old: str, new: str, mark: str, renew: Callable[[], None], shards: int, model: str) -> None:
        self._client = client
        self._old = old
        self._new = new
        self._mark = mark
        self._renew = renew
        self._shards = shards
        self._book = cells.book(model)
        self._reached = _NEVER  # sequence number up to which all is brought over
        self.caught_up = 0  # written or deleted since the first time

    def catch_up(self, *, is_first: bool = False) -> int:
        """Brings over what was written since the last time; says how much that was."""
        above, reached = self._reached, _checkpoint(self._client, self._old, self._shards)
        with speaking():
            self._client.indices.refresh(index=self._old)
        query: dict[str, Any] = {"match_all": {}} if is_first else {"range": {"_seq_no": {"gt": above}}}
        wanted = {"source": {"exclude_vectors": True}, "docvalue_fields": [VECTOR]}
        brought = sum(map_hits(self._client, self._old, query, self._bring, wanted))
        self._reached = reached
        if not is_first:
            self.caught_up += brought
        return brought

    def _bring(self, pages: Iterator[list[Hit]]) -> int:
        count = 0
        for hits in pages:
            self._renew()
            documents = [_document(hit) for hit in hits]
            self._cells(documents)
            self._send([self._operation({"index": {"_id": hit["_id"]}}, document) for hit, document in zip(hits, documents, strict=True)])
            count += len(hits)
        return count

    def _cells(self, documents: list[dict[str, Any]]) -> None:
        """Gives each face its cell: before version 2 of the mapping they had none."""
        without = [document for document in documents if FIELD in document and cells.FIELD not in document]
        if without and self._book is not None:
            own = self._book.of(unpacked([document[FIELD] for document in without]))
            for document, cell in zip(without, own.tolist(), strict=True):
                document[cells.FIELD] = cell

    def _operation(self, header: Mapping[str, Mapping[str, Any]], document: Mapping[str, Any] | None) -> Operation:
        """Through the mark: once that is another's, nothing is written any more."""
        ((kind, meta),) = header.items()
        return Operation.of({kind: {"_index": self._mark, "require_alias": True, **meta}}, document)

    def _send(self, operations: list[Operation]) -> None:
        for operation, result in zip(operations, send(self._client, operations), strict=True):
            if "error" in result:
                raise refusal(operation, result)

    def sweep(self) -> None:
        """Deletes from the new index what is not in the old one any more.

        What comes back to the old one later has a higher sequence number, and is brought over again.
        """
        with speaking():
            self._client.indices.refresh(index=[self._old, self._new])
        parts = map_hits(self._client, self._old, {"match_all": {}}, self._hashes, _BARE)
        there = np.sort(np.concatenate(parts))

        def gone(pages: Iterator[list[Hit]]) -> int:
            count = 0
            for hits in pages:
                self._renew()
                ids = [hit["_id"] for hit in hits]
                extra = [id_ for id_, known in zip(ids, np.isin(hashed(ids), there), strict=True) if not known]
                self._send([self._operation({"delete": {"_id": id_}}, None) for id_ in extra])
                count += len(extra)
            return count

        self.caught_up += sum(map_hits(self._client, self._new, {"match_all": {}}, gone, _BARE))

    def _hashes(self, pages: Iterator[list[Hit]]) -> Any:
        parts = [np.empty(0, np.uint64)]
        for hits in pages:
            self._renew()
            parts.append(hashed([hit["_id"] for hit in hits]))
        return np.concatenate(parts)

    def counts(self) -> tuple[int, int]:
        """How many faces the two indices have."""
        with speaking():
            self._client.indices.refresh(index=[self._old, self._new])
            return int(self._client.count(index=self._old)["count"]), int(self._client.count(index=self._new)["count"])


def _document(hit: Hit) -> dict[str, Any]:
    """A document as it was stored: its source, in which Elasticsearch leaves out vectors, and its vector, packed as it comes."""
    vector = hit.get("fields", {}).get(FIELD)
    return {**hit["_source"], FIELD: vector[0]} if vector else hit["_source"]


def _checkpoint(client: Elasticsearch, index: str, count: int) -> int:
    """The sequence number up to which everything is on every copy of every shard, and seen after a refresh.

    Of several shards, the lowest: what the others have above it is brought over once more, which changes nothing.

    Raises:
        EngineError: a shard does not say; its own could be lower.
    """
    with speaking():
        found = client.indices.stats(index=index, level="shards", filter_path="indices.*.shards.*.seq_no,indices.*.shards.*.routing")
    shards = found.get("indices", {}).get(index, {}).get("shards", {}).values()
    primaries = [[copy["seq_no"] for copy in copies if copy["routing"]["primary"]] for copies in shards]
    reached = [min(int(each["global_checkpoint"]) for each in own) for own in primaries if own]
    if len(reached) < count:
        raise EngineError(f"A shard of {index} can't answer now: see `facedex doctor`, then try again.", code="unavailable")
    return min(reached)
