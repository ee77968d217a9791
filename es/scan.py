"""Going through many documents, and deleting them: point in time, search_after and bulk, which every distribution has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from es.bulk import Operation, refusal, send
from es.client import speaking

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_PAGE = 2_000
_ABSENT = 404
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


def delete(client: Elasticsearch, documents: Iterable[tuple[str, str]]) -> int:
    """Deletes documents by index and id, in bulk; those that are gone already don't matter. Returns how many were deleted.

    Raises:
        EngineError: Elasticsearch refused to.
    """
    return _bulk(client, (Operation.of({"delete": {"_index": index, "_id": id_}}, None) for index, id_ in documents))


def update(client: Elasticsearch, documents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> int:
    """Merges something into documents by index and id, in bulk; those that are gone don't matter. Returns how many there were.

    Raises:
        EngineError: Elasticsearch refused to.
    """
    return _bulk(client, (Operation.of({"update": {"_index": index, "_id": id_}}, {"doc": part}) for index, id_, part in documents))


def _bulk(client: Elasticsearch, operations: Iterator[Operation]) -> int:
    done = 0
    while some := list(islice(operations, _PAGE)):
        for operation, result in zip(some, send(client, some), strict=True):
            if "error" not in result and result["status"] != _ABSENT:
                done += 1
            elif result["status"] != _ABSENT:
                raise refusal(operation, result)
    return done
