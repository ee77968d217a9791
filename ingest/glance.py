"""What a collection holds of many photos, seen fast: enough to skip what is settled, and to notice what moved or changed.

A glance asks for doc values alone (no ids, no sources), which makes it several times faster than :func:`ingest.known.lookup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from es.client import speaking
from es.documents import alias, rejects_alias
from ingest.known import PASSING

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_WINDOW = 10_000  # the most hits that Elasticsearch answers at once
_FIELDS = ("image.sha256", "image.path", "image.faces", "ingest.detection", "reason", "person")


@dataclass(slots=True)
class Glimpse:
    """What is stored of one content."""

    faces: int = 0
    counts: set[int] = field(default_factory=set)  # how many faces its documents say it has
    detections: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    people: set[str | None] = field(default_factory=set)

    def is_settled(self, detection: str) -> bool:
        """The same judgement as :meth:`ingest.known.Known.is_settled`."""
        if self.detections != {detection}:
            return False
        if self.reasons:
            return not self.faces and not self.reasons & PASSING
        return self.counts == {self.faces}


@dataclass(slots=True)
class Glance:
    """What is stored: by content, and which contents by path."""

    contents: dict[str, Glimpse] = field(default_factory=dict)
    at: dict[str, set[str | None]] = field(default_factory=dict)  # path: contents stored under it; None where it couldn't be read


def glance(client: Elasticsearch, name: str, hashes: Sequence[str], paths: Sequence[str]) -> Glance:
    """What a collection holds of these contents (SHA-256), and under these paths.

    Raises:
        EngineError: a shard can't answer: what it holds must not look new.
    """
    seen = Glance()
    for fields in _rows(client, name, sorted(set(hashes)), sorted(set(paths))):
        _note(seen, fields)
    return seen


def _rows(client: Elasticsearch, name: str, hashes: list[str], paths: list[str]) -> list[dict[str, Any]]:
    if not hashes and not paths:
        return []
    asked = [{"terms": {key: values}} for key, values in (("image.sha256", hashes), ("image.path", paths)) if values]
    with speaking():
        answer = client.search(
            index=[alias(name), rejects_alias(name)],
            query={"bool": {"filter": {"bool": {"should": asked}}}},
            size=_WINDOW,
            source=False,
            stored_fields="_none_",
            docvalue_fields=[{"field": name} for name in _FIELDS],
            sort=["_doc"],
            track_total_hits=False,
            ignore_unavailable=True,
            allow_partial_search_results=False,
            filter_path="hits.hits.fields",
        )
    hits = answer.get("hits", {}).get("hits", [])
    if len(hits) < _WINDOW or len(hashes) + len(paths) == 1:
        return [hit["fields"] for hit in hits]
    # More than one answer holds. A document may come twice then, by its content and by its path, so each is asked for by itself.
    if hashes and paths:
        both = _rows(client, name, hashes, [])
        wanted = set(hashes)
        return both + [row for row in _rows(client, name, [], paths) if row.get("image.sha256", [None])[0] not in wanted]
    h, p = len(hashes) // 2, len(paths) // 2
    return _rows(client, name, hashes[:h], paths[:p]) + _rows(client, name, hashes[h:], paths[p:])


def _note(seen: Glance, fields: dict[str, Any]) -> None:
    sha256 = fields.get("image.sha256", (None,))[0]
    path = fields.get("image.path", (None,))[0]
    if path is not None:
        seen.at.setdefault(path, set()).add(sha256)
    if sha256 is None:
        return
    entry = seen.contents.setdefault(sha256, Glimpse())
    entry.detections.add(fields["ingest.detection"][0])
    entry.people.add(fields.get("person", (None,))[0])
    if path is not None:
        entry.paths.add(path)
    if "reason" in fields:
        entry.reasons.add(fields["reason"][0])
    else:
        entry.faces += 1
        entry.counts.add(fields["image.faces"][0])
