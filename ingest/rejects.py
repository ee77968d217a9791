"""What a collection left out: counted, shown, and given out again as photos to ingest."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.addresses import is_masked, shown
from core.errors import UsageError
from core.web import Limits
from es.client import speaking
from es.documents import rejects_alias
from es.scan import scan
from ingest.presence import files, is_gone
from ingest.writer import text
from photos.archives import WITHIN, is_archive
from photos.places import File, Nowhere, Place
from photos.sources import Source, is_list, place_of

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_FIRST = 20  # photos that are named, of those that are gone
_PUBLIC = Limits()
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_FIELDS = ["image", "person", "reason", "message", "@timestamp", "ingest"]


def counts(client: Elasticsearch, name: str) -> dict[str, int]:
    """How many photos were left out, by reason, the commonest first."""
    with speaking():
        answer = client.search(
            index=rejects_alias(name),
            size=0,
            aggregations={"reason": {"terms": {"field": "reason", "size": 1000}}},
            allow_partial_search_results=False,
        )
    return {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["reason"]["buckets"]}


def newest(client: Elasticsearch, name: str, number: int, reasons: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The photos that were left out last: ``id``, ``image``, ``person``, ``reason``, ``message``, ``at`` and ``run``."""
    return _found(client, name, _query(reasons), number)


def matching(client: Elasticsearch, name: str, path_or_id: str) -> list[dict[str, Any]]:
    """The rejects with this path or id; by path there can be several, as the file changed."""
    path = text(os.path.abspath(path_or_id))  # noqa: PTH100 - as sources name photos
    asked = [{"ids": {"values": [path_or_id]}}, {"terms": {"image.path": sorted({path, path_or_id, shown(path_or_id)})}}]
    return _found(client, name, {"bool": {"should": asked}}, 100)


def check(client: Elasticsearch, name: str, reasons: Sequence[str]) -> None:
    """Refuses reasons for which nothing was left out.

    Raises:
        UsageError: there is no reject of this reason; the sentence names those that there are.
    """
    there = counts(client, name)
    for reason in reasons:
        if reason not in there:
            known = f"there are: {', '.join(there)}" if there else "there are no rejects"
            raise UsageError(f"Nothing was left out as {reason!r}; {known}.", code="no_such_reason")


class Retry:
    """The photos that were left out, to be ingested again: each from where it was, for the person that it had.

    Those that are gone from the disk are told apart: counted, and the first named. So are those whose address had a secret, which is not
    stored: they need their list.

    Rejects are noted in a temporary file first: looking at photos takes longer than Elasticsearch keeps a point in time.
    """

    def __init__(self, client: Elasticsearch, name: str, reasons: Sequence[str] = (), limits: Limits = _PUBLIC) -> None:
        self._client = client
        self._name = name
        self._reasons = reasons
        self._limits = limits
        self.gone = 0
        self.gone_first: list[str] = []
        self.masked = 0

    def photos(self) -> Iterator[Source]:
        """The photos that are still there."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            rejects = scan(self._client, rejects_alias(self._name), _query(self._reasons), [], source=["image.path", "person", "labels"])
            for document in (hit["_source"] for hit in rejects):
                file.write(json.dumps([document["image"]["path"], document.get("person"), document.get("labels", {})]) + "\n")
            file.seek(0)
            for stored, person, labels in map(json.loads, file):
                if is_gone(stored) or is_gone_with_its_archive(stored):
                    self.gone += 1
                    self.gone_first += [stored] if self.gone <= _FIRST else []
                elif is_masked(stored):
                    self.masked += 1
                else:
                    path, place = found_again(stored, self._limits)
                    yield Source(path, person, labels, place)


def found_again(stored: str, limits: Limits) -> tuple[str, Place | None]:
    """The path of which this is the stored form (of several, one that is there), and where its bytes are, unless that is a file."""
    if os.path.isdir(stored):  # noqa: PTH112
        return stored, Nowhere("This folder could not be read: ingest the folder again.")
    if is_list(stored.partition(WITHIN)[0]) and WITHIN in stored:
        return stored, Nowhere("This line of the list can't be read: mend it, and ingest the list again.")
    for path in _meant(stored):
        place = place_of(path, limits)
        if isinstance(place, File):
            if os.path.lexists(path):
                return path, None
        elif not isinstance(place, Nowhere):
            return path, place
    place = place_of(stored, limits)
    return stored, None if isinstance(place, File) else place


def _meant(stored: str) -> list[str]:
    """The paths and addresses that a stored one can mean: see ``ingest.presence.files``, which knows only those of files."""
    raw = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(stored)) if "\\x" in stored else b""
    return [*(files(stored) or [stored]), *([os.fsdecode(raw)] if raw else [])]


def is_gone_with_its_archive(stored: str) -> bool:
    """Whether a photo was in an archive that is gone."""
    archive, mark, _ = stored.partition(WITHIN)
    return bool(mark) and is_archive(archive) and is_gone(archive)


def _query(reasons: Sequence[str]) -> dict[str, Any]:
    return {"terms": {"reason": list(reasons)}} if reasons else {"match_all": {}}


def _found(client: Elasticsearch, name: str, query: dict[str, Any], number: int) -> list[dict[str, Any]]:
    with speaking():
        answer = client.search(
            index=rejects_alias(name),
            query=query,
            size=number,
            source={"includes": _FIELDS},
            sort=[{"@timestamp": "desc"}, "_doc"],
            allow_partial_search_results=False,
        )
    return [_told(hit["_id"], hit["_source"]) for hit in answer["hits"]["hits"]]


def _told(id_: str, document: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id_,
        "image": document["image"]["path"],
        "sha256": document["image"].get("sha256"),
        "person": document.get("person"),
        "reason": document["reason"],
        "message": document["message"],
        "detection": document["ingest"]["detection"],
        "at": document["@timestamp"],
        "run": document["ingest"]["run"],
    }
