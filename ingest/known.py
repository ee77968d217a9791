"""What a collection already knows of photos, by content: whether their faces are stored, or why they were left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from es.client import speaking
from es.documents import alias, rejects_index
from ingest.worker import Reject

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_WINDOW = 10_000  # the most hits that Elasticsearch answers at once
_PASSING = {"timeout", "worker_died", "failed"}  # rejects that another run may do better on


@dataclass(slots=True)
class Known:
    """What is stored of one photo."""

    face_ids: list[str] = field(default_factory=list)
    reject_id: str | None = None
    reject: Reject | None = None
    faces: int = 0  # how many faces the photo has; fewer are stored when a run was cut off between them
    detection: str = ""

    def is_settled(self, detection: str) -> bool:
        """Whether there is nothing left to do: looked at in the same way, and all of it stored."""
        if self.detection != detection:
            return False
        return self.reject.reason not in _PASSING if self.reject else len(self.face_ids) == self.faces


def lookup(client: Elasticsearch, name: str, hashes: Iterable[str]) -> dict[str, Known]:
    """What a collection knows of the photos with these SHA-256; unknown ones are absent from the answer."""
    wanted = sorted(set(hashes))
    if not wanted:
        return {}
    with speaking():
        answer = client.search(
            index=[alias(name), rejects_index(name)],
            query={"bool": {"filter": {"terms": {"image.sha256": wanted}}}},
            size=_WINDOW,
            source={"includes": ["message"]},
            docvalue_fields=[{"field": name} for name in ("image.sha256", "image.faces", "ingest.detection", "reason")],
            sort=["_doc"],
            ignore_unavailable=True,
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
    entry.detection = fields["ingest.detection"][0]
    if "reason" in fields:
        entry.reject_id = hit["_id"]
        entry.reject = Reject(fields["reason"][0], hit["_source"]["message"])
    else:
        entry.face_ids.append(hit["_id"])
        entry.faces = fields["image.faces"][0]
