"""What is typed to search among some faces only, as clauses of a search. They hold inside the kNN search: k faces that match are found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core import addresses
from core.errors import UsageError
from es.client import speaking
from es.documents import alias

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

Clause = Mapping[str, Any]

FIELDS = {"person": "person", "image": "image.path", "run": "ingest.run"}
_LABELS = "labels."
_QUALITY = "face.quality."


def clauses(
    client: Elasticsearch,
    name: str,
    where: Sequence[str] = (),
    since: datetime | None = None,
    min_quality: Iterable[tuple[str, float]] = (),
) -> list[Clause]:
    """The clauses that a face has to meet, all of them.

    Args:
        client: the connection.
        name: the collection, to be asked whether it knows a label.
        where: texts like ``person=Ada``, ``labels.camera=north``, ``image=/photos/2026/*`` or ``person!=Ada``. Values of the same field
            are alternatives; a value that ends in ``*`` is a beginning.
        since: faces stored from then on; without a zone, in this machine's.
        min_quality: measures of :data:`faces.quality.MEASURES` and the least of each.

    Raises:
        UsageError: a text is not understood (``bad_filter``), or a field is unknown (``unknown_field``).
    """
    wanted: dict[str, list[Clause]] = {}
    made: list[Clause] = []
    for text in where:
        field, value, is_not = _parsed(text)
        column = _column(client, name, field)
        if column == FIELDS["image"] and not addresses.scheme(value):
            value = os.path.abspath(value)  # noqa: PTH100 - as photos are stored; a * at the end stays
        # Labels are one field of many names, which knows no clause for beginnings with a name.
        clause = {"prefix": {column: value[:-1]}} if value.endswith("*") else {"term": {column: value}}
        if is_not:
            made.append({"bool": {"must_not": clause}})
        else:
            wanted.setdefault(column, []).append(clause)
    made += [any_[0] if len(any_) == 1 else {"bool": {"should": any_}} for any_ in wanted.values()]
    if since is not None:
        try:
            made.append({"range": {"@timestamp": {"gte": since.astimezone().isoformat()}}})
        except (ValueError, OverflowError):  # near the first or the last year
            raise UsageError(f"--since {since} is out of range.", code="bad_filter") from None
    made += [{"range": {f"{_QUALITY}{measure}": {"gte": least}}} for measure, least in min_quality]
    return made


def fields(where: Sequence[str], since: datetime | None, min_quality: Iterable[tuple[str, float]]) -> list[str]:
    """The names of the fields that such clauses look at, without what they are compared with."""
    named = {field if field.startswith(_LABELS) else FIELDS[field] for field, _, _ in map(_parsed, where)}
    named |= {f"{_QUALITY}{measure}" for measure, _ in min_quality} | ({"@timestamp"} if since else set())
    return sorted(named)


def _parsed(text: str) -> tuple[str, str, bool]:
    field, sign, value = text.partition("=")
    if not sign or not value or not field.rstrip("!"):
        raise UsageError(f"--where {text} is not understood: give FIELD=VALUE or FIELD!=VALUE.", code="bad_filter")
    return field.removesuffix("!").strip(), value, field.endswith("!")


def _column(client: Elasticsearch, name: str, field: str) -> str:
    if field in FIELDS:
        return FIELDS[field]
    if not field.startswith(_LABELS):
        raise UsageError(
            f"There is no field {field!r} to search by: use {', '.join(FIELDS)} or {_LABELS}NAME for a label.", code="unknown_field"
        )
    with speaking():
        known = client.count(index=alias(name), query={"exists": {"field": field}})["count"]
    if not known:
        raise UsageError(f"No face of {name} has the label {field.removeprefix(_LABELS)!r}.", code="unknown_field")
    return field
