"""Bulk requests: in pieces that any node takes, what was refused for lack of room sent again, item by item.

An index that is about to be replaced takes no writes for a moment (see ``es.migration``). What it refuses is sent again, too: by then, the
alias leads to its successor. Operations on a document of a certain version are made anew for that, if the document is still the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import EngineError, StorageError
from core.settings import settings
from es.client import DISK_FULL, speaking
from es.documents import alias_of
from es.patience import BUSY, Busy, is_disk_full, is_unread, patiently
from es.security.refusals import is_refusal, sentence

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

# Well within the indexing-pressure budget (a tenth of the heap) of the smallest node, even with a few requests at once.
_REQUEST_BYTES = 8 << 20
_CREATED, _CONFLICT = 201, 409
_ANSWER = "items.*._id,items.*.status,items.*.error.type,items.*.error.reason"

_CHANGED: Mapping[str, Any] = {"status": _CONFLICT, "error": {"type": "version_conflict_engine_exception"}}

Result = Mapping[str, Any]  # what the server says of one operation: its status, and the error if there was one


def _as_json(part: Mapping[str, Any]) -> bytes:
    """One line: every document goes through this, and half of a writer's time would be the standard library's."""
    import orjson

    try:
        return orjson.dumps(part)
    except TypeError:  # text that is not Unicode: half a surrogate pair
        return json.dumps(part, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Read:
    """What an operation on a document of a certain version relies on: these parts of its source (all, if empty); and what it writes."""

    parts: tuple[str, ...]
    source: Mapping[str, Any]
    document: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a bulk request, as it is sent: the bytes are made once, so that they can be counted."""

    kind: str  # create, index, update, delete
    key: tuple[str, str]  # index and id
    lines: tuple[bytes, ...]
    read: Read | None = field(default=None, compare=False)

    @classmethod
    def of(cls, header: Mapping[str, Any], document: Mapping[str, Any] | None, read: Read | None = None) -> Operation:
        """From a header like ``{"create": {"_index": ..., "_id": ...}}`` and its document."""
        ((kind, meta),) = header.items()
        lines = tuple(_as_json(part) for part in (header, document) if part is not None)
        return cls(kind, (meta["_index"], meta["_id"]), lines, read)

    @classmethod
    def on(cls, kind: str, key: tuple[str, str], version: tuple[int, int], read: Read) -> Operation:
        """One that does nothing if the document has another version (sequence number and primary term) by now."""
        header = {kind: {"_index": key[0], "_id": key[1], "if_seq_no": version[0], "if_primary_term": version[1]}}
        return cls.of(header, read.document, read)

    @property
    def size(self) -> int:
        """Bytes in a request."""
        return sum(len(line) + 1 for line in self.lines)


def send(client: Elasticsearch, operations: Sequence[Operation], check: Callable[[Elasticsearch], None] | None = None) -> list[Result]:
    """Carries out all operations, and says for each how it went. Ids are ours, so sending one twice does nothing more.

    Each request is tried for ``retry_seconds`` while the cluster is busy or away.

    Args:
        client: the connection.
        operations: in the order in which those on the same document are carried out.
        check: called before each try; what it raises ends it, but for errors of the client that may pass.

    Raises:
        StorageError: the cluster's disks are full; told at once.
        EngineError: the cluster stayed busy or away. Some operations may have been carried out.
        CollectionError: the index is not there.
    """
    return [result for part in parts(operations, _REQUEST_BYTES) for result in _carry_out(client, part, check)]


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


def _carry_out(client: Elasticsearch, operations: Sequence[Operation], check: Callable[[Elasticsearch], None] | None) -> list[Result]:
    impatient = client.options(max_retries=0)  # what is repeated is less each time
    operations = list(operations)
    results: dict[int, Result] = {}
    unanswered = False
    held: list[int] = []  # those whose index is about to be replaced

    def attempt() -> None:
        nonlocal unanswered
        if check is not None:
            check(impatient)
        _renew(impatient, operations, results, held)
        left = [number for number in range(len(operations)) if number not in results]
        if not left:
            return
        again, unanswered = unanswered, True
        lines: Any = [line for number in left for line in operations[number].lines]
        answer = impatient.bulk(operations=lines, filter_path=_ANSWER)
        unanswered = False
        held.clear()
        refused: set[tuple[str, str]] = set()
        for number, item in zip(left, answer["items"], strict=True):
            ((_, result),) = item.items()
            operation = operations[number]
            is_held = _is_held(operation, result)
            held.extend([number] if is_held else [])
            # What follows a refused operation on the same document is repeated too, so that they end in their order.
            if operation.key in refused or is_held or (result["status"] in BUSY and not is_full(result)):
                refused.add(operation.key)
            else:
                results[number] = _made(result) if again and operation.kind == "create" else result
        if refused:
            raise Busy

    with speaking():
        try:
            patiently(attempt, settings().retry_seconds)
        except Busy:
            raise _gave_up(is_held=bool(held)) from None
    return [results[number] for number in range(len(operations))]


def _gave_up(*, is_held: bool) -> EngineError:
    if is_held:
        return EngineError(
            "The collection takes no writes, as it is being moved to another index: when `facedex collections migrate` is done, run this "
            "again; nothing is lost or done twice. (If it was cut off, have a steward run `facedex status` first.)",
            code="held",
        )
    return EngineError(
        "Elasticsearch is overloaded and kept refusing: wait a little, then run this again; nothing is lost or done twice.",
        code="overloaded",
    )


def _is_held(operation: Operation, result: Result) -> bool:
    """Whether an operation was refused because its index is being replaced, or was."""
    error = result.get("error") or {}
    if operation.read is not None and error.get("type") == "index_not_found_exception":
        return alias_of(operation.key[0]) != operation.key[0]
    return error.get("type") == "cluster_block_exception" and "index write (api)" in str(error.get("reason", ""))


def _renew(client: Elasticsearch, operations: list[Operation], results: dict[int, Result], held: Sequence[int]) -> None:
    """Makes operations on versions of documents anew, for the index that their alias leads to now."""
    stale = [(number, read) for number in held if (read := operations[number].read) is not None]
    if not stale:
        return
    keys = [(alias_of(operations[number].key[0]), operations[number].key[1]) for number, _ in stale]
    wanted = [
        {"_index": index, "_id": id_, "_source": list(read.parts) or True} for (index, id_), (_, read) in zip(keys, stale, strict=True)
    ]
    answered = client.mget(docs=wanted)["docs"]
    if any(map(is_unread, answered)):  # which does not mean that they are gone
        raise Busy
    for (number, read), found in zip(stale, answered, strict=True):
        if found.get("found") and found["_source"] == read.source:
            version = (found["_seq_no"], found["_primary_term"])
            operations[number] = Operation.on(operations[number].kind, (found["_index"], found["_id"]), version, read)
        else:
            results[number] = {"_id": found["_id"], **_CHANGED}


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
    if is_refusal(result):
        right = "steward" if operation.kind == "delete" else "ingest"
        return EngineError(sentence(str(result["error"].get("reason", "")), right), code="forbidden")
    return EngineError(
        f"Elasticsearch refused to {operation.kind} a document ({kind}, status {result['status']}): nothing further was done."
    )
