"""What a collection already knows of photos, by content: whether their faces are stored, or why they were left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from es.client import speaking
from es.documents import alias, rejects_alias
from es.scan import Document
from workers.worker import Reject

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_WINDOW = 10_000  # the most hits that Elasticsearch answers at once
# Rejects that another run may do better on. They say nothing of the photo's faces: what is stored of those stays.
PASSING = {"timeout", "worker_died", "failed"}


@dataclass(slots=True)
class Known:
    """What is stored of one photo. A run that was cut off, or two runs at once, can leave parts of several looks at it."""

    faces: dict[str, tuple[str, int]] = field(default_factory=dict)  # id: how it was looked for, how many faces that look found
    rejects: dict[str, tuple[str, Reject]] = field(default_factory=dict)  # id: how it was looked for, why it was left out
    stale: list[Document] = field(default_factory=list)  # what its path held before it changed

    @property
    def reject(self) -> Reject | None:
        """Why it was left out, if it was."""
        return next((reject for _, reject in self.rejects.values()), None)

    def is_settled(self, detection: str) -> bool:
        """Whether there is nothing left to do: looked at in this way only, and all that this look found is stored."""
        if {how for how, _ in (*self.faces.values(), *self.rejects.values())} != {detection}:
            return False
        if self.reject is not None:
            return not self.faces and self.reject.reason not in PASSING
        return {count for _, count in self.faces.values()} == {len(self.faces)}


def lookup(client: Elasticsearch, name: str, hashes: Iterable[str]) -> dict[str, Known]:
    """What a collection knows of the photos with these SHA-256; unknown ones are absent from the answer."""
    wanted = sorted(set(hashes))
    if not wanted:
        return {}
    with speaking():
        answer = client.search(
            index=[alias(name), rejects_alias(name)],
            query={"bool": {"filter": {"terms": {"image.sha256": wanted}}}},
            size=_WINDOW,
            source={"includes": ["message"]},
            docvalue_fields=[{"field": name} for name in ("image.sha256", "image.faces", "ingest.detection", "reason")],
            sort=["_doc"],
            ignore_unavailable=True,
            allow_partial_search_results=False,  # what a lost shard holds must not look new
            filter_path="hits.hits._id,hits.hits.fields,hits.hits._source",
        )
    hits = answer.get("hits", {}).get("hits", [])
    if len(hits) == _WINDOW and len(wanted) > 1:  # group photos with very many faces
        half = len(wanted) // 2
        return lookup(client, name, wanted[:half]) | lookup(client, name, wanted[half:])
    known: dict[str, Known] = {}
    for hit in hits:
        _note(known, hit)
    return known


def _note(known: dict[str, Known], hit: dict[str, Any]) -> None:
    fields = hit["fields"]
    entry = known.setdefault(fields["image.sha256"][0], Known())
    detection = fields["ingest.detection"][0]
    if "reason" in fields:
        entry.rejects[hit["_id"]] = detection, Reject(fields["reason"][0], hit["_source"]["message"])
    else:
        entry.faces[hit["_id"]] = detection, fields["image.faces"][0]
