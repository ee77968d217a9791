"""Going through many documents, and deleting them: point in time, search_after and bulk, which every distribution has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import EngineError
from es.client import speaking

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_PAGE = 2_000
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
    actions = ({"_op_type": "delete", "_index": index, "_id": id_} for index, id_ in documents)
    return bulk(client, actions)


def bulk(client: Elasticsearch, actions: Iterable[dict[str, Any]]) -> int:
    """Deletes or partial updates, in bulk; what is not there (any more) doesn't matter. Returns how many were done.

    Raises:
        EngineError: Elasticsearch refused one.
    """
    from elasticsearch.helpers import streaming_bulk

    done = 0
    with speaking():
        for ok, item in streaming_bulk(client, actions, chunk_size=_PAGE, raise_on_error=False, max_retries=6, max_backoff=30):
            operation, result = item.popitem()
            done += ok
            if not ok and result["status"] != 404:  # noqa: PLR2004
                kind = result.get("error", {}).get("type", "error")
                raise EngineError(f"Elasticsearch refused to {operation} a document ({kind}, status {result['status']}).")
    return done
