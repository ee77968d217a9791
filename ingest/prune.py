"""Faces and rejects whose photos are gone: found by looking for each file, a page at a time, and deleted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es.client import speaking
from es.documents import alias, rejects_alias
from es.scan import Document, current, delete, scan
from ingest.presence import is_gone
from ingest.writer import text

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


def gone(client: Elasticsearch, name: str, sources: Sequence[Path]) -> Counter[str]:
    """How many ``faces`` and ``rejects`` below these folders (or of these photos) have no file any more."""
    return Counter(kind for kind, _ in _gone(client, name, sources))


def prune(client: Elasticsearch, name: str, sources: Sequence[Path]) -> Counter[str]:
    """Deletes the faces and rejects that :func:`gone` counts, and says how many.

    Raises:
        EngineError: Elasticsearch refused, or is gone. What is deleted until then stays so.
    """
    pruned: Counter[str] = Counter()

    def documents() -> Iterator[Document]:
        # As they are now: another run may have moved them since.
        for document in current(client, (hit for _, hit in _gone(client, name, sources)), ["image.path"]):
            if is_gone(document.source["image"]["path"]):
                pruned[_kind(name, document.index)] += 1
                yield document

    delete(client, documents())
    with speaking():
        client.indices.refresh(index=[alias(name), rejects_alias(name)])
    return pruned


def _gone(client: Elasticsearch, name: str, sources: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for hit in scan(client, [alias(name), rejects_alias(name)], _below(sources), ["image.path"]):
        if is_gone(hit["fields"]["image.path"][0]):
            yield _kind(name, hit["_index"]), hit


def _kind(name: str, index: str) -> str:
    return "rejects" if index.startswith(rejects_alias(name)) else "faces"


def _below(sources: Sequence[Path]) -> dict[str, Any]:
    paths = [text(os.path.abspath(source)) for source in sources]  # noqa: PTH100 - as sources name photos: links stay, ".." goes
    below = [{"prefix": {"image.path": path.rstrip("/") + "/"}} for path in paths]
    return {"bool": {"should": [*below, {"terms": {"image.path": paths}}]}}
