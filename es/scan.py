"""Going through many documents, and deleting them: point in time, search_after and bulk, which every distribution has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from core.errors import EngineError
from es.bulk import Operation, Read, refusal, send
from es.client import speaking
from es.documents import alias_of
from es.patience import is_unread

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_PAGE = 2_000
HARMLESS = frozenset({404, 409})  # gone, or changed by somebody else, who then saw to it
_KEPT = "10m"  # between two pages; whoever takes longer over one first notes what it needs


def scan(
    client: Elasticsearch, index: str | Sequence[str], query: Mapping[str, Any], fields: Sequence[str], *, source: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Every document that matches, as it was at the beginning, whatever is written meanwhile; a page at a time is held.

    Args:
        client: the connection.
        index: what to go through.
        query: what must match.
        fields: what to bring of each, from doc values (under ``fields``).
        source: what to bring of each, from its source (under ``_source``).

    Raises:
        EngineError: a shard can't answer, or Elasticsearch is gone.
    """
    with speaking():
        pit = str(client.open_point_in_time(index=index, keep_alive=_KEPT)["id"])
        after: Any = None
        try:
            while True:
                answer = client.search(
                    pit={"id": pit, "keep_alive": _KEPT},
                    query=dict(query),
                    size=_PAGE,
                    sort=["_shard_doc"],
                    search_after=after,
                    source={"includes": list(source)} if source else False,
                    docvalue_fields=[{"field": name} for name in fields] or None,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                )
                pit = str(answer["pit_id"])
                hits = answer["hits"]["hits"]
                yield from hits
                if len(hits) < _PAGE:
                    return
                after = hits[-1]["sort"]
        finally:
            client.close_point_in_time(id=pit)


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it is now; ``version`` (sequence number and primary term) tells whether it still is when it is changed."""

    index: str
    id: str
    version: tuple[int, int]
    source: Mapping[str, Any]
    parts: tuple[str, ...] = ()  # of the source that were read; all, if empty

    def operation(self, kind: str, document: Mapping[str, Any] | None = None) -> Operation:
        """A bulk operation that does nothing if somebody else changed the document meanwhile."""
        return Operation.on(kind, (self.index, self.id), self.version, Read(self.parts, self.source, document))


def current(client: Elasticsearch, hits: Iterable[Mapping[str, Any]], source: Sequence[str]) -> Iterator[Document]:
    """The documents of hits, read in real time: a search sees neither what was written a moment ago nor what is written after it.

    They are read through their alias, which may lead to another version of the index by now.
    """
    hits = iter(hits)
    while some := list(islice(hits, _PAGE)):
        wanted = [{"_index": alias_of(hit["_index"]), "_id": hit["_id"], "_source": list(source)} for hit in some]
        with speaking():
            found = present(client.mget(docs=wanted)["docs"])
        for each in found:
            version = (each["_seq_no"], each["_primary_term"])
            yield Document(each["_index"], each["_id"], version, each["_source"], tuple(source))


def present(documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of an answer to ``mget`` that are there.

    Raises:
        EngineError: a shard could not answer, which does not mean that its documents are gone.
    """
    listed = list(documents)
    if any(map(is_unread, listed)):
        raise EngineError("Elasticsearch can't read some documents now: see `facedex status`, then try again.", code="unavailable")
    return [each for each in listed if each.get("found")]


def delete(client: Elasticsearch, documents: Iterable[Document]) -> int:
    """Deletes documents, in bulk; those that are gone or changed meanwhile don't matter. Returns how many were deleted.

    Raises:
        EngineError: Elasticsearch refused to.
    """
    return _bulk(client, (document.operation("delete") for document in documents))


def update(client: Elasticsearch, documents: Iterable[tuple[Document, Mapping[str, Any]]]) -> int:
    """Merges something into documents, in bulk; those that are gone or changed meanwhile don't matter. Returns how many there were.

    Raises:
        EngineError: Elasticsearch refused to.
    """
    return _bulk(client, (document.operation("update", {"doc": part}) for document, part in documents))


def _bulk(client: Elasticsearch, operations: Iterator[Operation]) -> int:
    done = 0
    while some := list(islice(operations, _PAGE)):
        for operation, result in zip(some, send(client, some), strict=True):
            if result["status"] in HARMLESS:
                continue
            if "error" in result:
                raise refusal(operation, result)
            done += 1
    return done
