"""Bulk requests: in pieces that any node takes, what was refused for lack of room sent again, item by item."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import EngineError, StorageError
from core.settings import settings
from es.client import DISK_FULL, speaking
from es.patience import BUSY, Busy, is_disk_full, patiently

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

# Well within the indexing-pressure budget (a tenth of the heap) of the smallest node, even with a few requests at once.
_REQUEST_BYTES = 8 << 20
_CREATED, _CONFLICT = 201, 409
_ANSWER = "items.*._id,items.*.status,items.*.error.type,items.*.error.reason"

Result = Mapping[str, Any]  # what the server says of one operation: its status, and the error if there was one


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a bulk request, as it is sent: the bytes are made once, so that they can be counted."""

    kind: str  # create, index, update, delete
    key: tuple[str, str]  # index and id
    lines: tuple[bytes, ...]

    @classmethod
    def of(cls, header: Mapping[str, Any], document: Mapping[str, Any] | None) -> Operation:
        """From a header like ``{"create": {"_index": ..., "_id": ...}}`` and its document."""
        ((kind, meta),) = header.items()
        lines = tuple(json.dumps(part, separators=(",", ":")).encode() for part in (header, document) if part is not None)
        return cls(kind, (meta["_index"], meta["_id"]), lines)

    @property
    def size(self) -> int:
        """Bytes in a request."""
        return sum(len(line) + 1 for line in self.lines)


def send(client: Elasticsearch, operations: Sequence[Operation]) -> list[Result]:
    """Carries out all operations, and says for each how it went. Ids are ours, so sending one twice does nothing more.

    Each request is tried for ``retry_seconds`` while the cluster is busy or away.

    Args:
        client: the connection.
        operations: in the order in which those on the same document are carried out.

    Raises:
        StorageError: the cluster's disks are full; told at once.
        EngineError: the cluster stayed busy or away. Some operations may have been carried out.
        CollectionError: the index is not there.
    """
    return [result for part in parts(operations, _REQUEST_BYTES) for result in _carry_out(client, part)]


def parts(operations: Sequence[Operation], limit: int) -> Iterator[Sequence[Operation]]:
    """The operations in pieces of at most so many bytes; one that is larger is alone."""
    begin = size = 0
    for at, operation in enumerate(operations):
        if at > begin and size + operation.size > limit:
            yield operations[begin:at]
            begin, size = at, 0
        size += operation.size
    if begin < len(operations):
        yield operations[begin:]


def _carry_out(client: Elasticsearch, operations: Sequence[Operation]) -> list[Result]:
    impatient = client.options(max_retries=0)  # what is repeated is less each time
    results: dict[int, Result] = {}
    unanswered = False

    def attempt() -> None:
        nonlocal unanswered
        again, unanswered = unanswered, True
        left = [number for number in range(len(operations)) if number not in results]
        lines: Any = [line for number in left for line in operations[number].lines]
        answer = impatient.bulk(operations=lines, filter_path=_ANSWER)
        unanswered = False
        refused: set[tuple[str, str]] = set()
        for number, item in zip(left, answer["items"], strict=True):
            ((_, result),) = item.items()
            key = operations[number].key
            # What follows a refused operation on the same document is repeated too, so that they end in their order.
            if key in refused or (result["status"] in BUSY and not is_full(result)):
                refused.add(key)
            else:
                results[number] = _made(result) if again and operations[number].kind == "create" else result
        if refused:
            raise Busy

    with speaking():
        try:
            patiently(attempt, settings().retry_seconds)
        except Busy:
            raise EngineError(
                "Elasticsearch is overloaded and kept refusing: wait a little, then run this again; nothing is lost or done twice.",
                code="overloaded",
            ) from None
    return [results[number] for number in range(len(operations))]


def _made(result: Result) -> Result:
    """A document that is there already was made by the same request before, whose answer was lost."""
    return {"_id": result["_id"], "status": _CREATED} if result["status"] == _CONFLICT else result


def is_full(result: Result) -> bool:
    """Whether an operation was refused because the disks are full."""
    return is_disk_full(result.get("error"))


def refusal(operation: Operation, result: Result) -> EngineError | StorageError:
    """The error that says that an operation was refused."""
    # Only the type is repeated: reasons can quote the rejected value, and that can be a face vector.
    kind = str((result.get("error") or {}).get("type", "error"))
    if is_full(result):
        return StorageError(DISK_FULL, code="disk_full")
    return EngineError(
        f"Elasticsearch refused to {operation.kind} a document ({kind}, status {result['status']}): nothing further was done."
    )
