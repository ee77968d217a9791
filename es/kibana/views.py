"""The data views: which indices, and how their fields are called and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from es.documents import OPERATIONS
from es.kibana.panels import FACES, REJECTS


@dataclass(frozen=True)
class View:
    """A data view, and the saved searches in it: title, columns, and what the documents have to meet (KQL)."""

    id: str
    title: str
    name: str
    labels: Mapping[str, str]
    formats: Mapping[str, Mapping[str, Any]]
    searches: Mapping[str, tuple[str, tuple[str, ...], str]] = field(default_factory=dict)


def _number(pattern: str) -> dict[str, Any]:
    return {"id": "number", "params": {"pattern": pattern}}


def _duration(unit: str) -> dict[str, Any]:
    shown = {"outputFormat": "humanizePrecise", "outputPrecision": 1, "useShortSuffix": True, "showSuffix": True}
    return {"id": "duration", "params": {"inputFormat": unit, **shown}}


_WHOLE, _TENTH = _number("0,0"), _number("0,0.0")
_PHOTO = {"image.path": "Photo", "image.sha256": "Content (SHA-256)", "person": "Person", "labels": "Labels"}
_LOOK = {"ingest.run": "Ingest run", "ingest.detection": "How faces were looked for"}

VIEWS = (
    View(
        "faces",
        FACES,
        "Facedex faces",
        {
            "@timestamp": "Stored",
            **_PHOTO,
            "image.width": "Photo width",
            "image.height": "Photo height",
            "image.faces": "Faces on the photo",
            "face.ordinal": "Number of the face",
            "cell": "Cell",
            "face.confidence": "Confidence",
            "face.quality.size": "Size (pixels)",
            "face.quality.sharpness": "Sharpness",
            "face.quality.brightness": "Brightness",
            "face.quality.frontal": "Frontal",
            **{f"face.box.{side}": f"Box {side}" for side in "xywh"},
            **_LOOK,
        },
        {
            "face.confidence": _number("0.00"),
            "face.quality.sharpness": _TENTH,
            "face.quality.brightness": _number("0%"),
            "face.quality.frontal": _number("0%"),
            **dict.fromkeys(("face.quality.size", "image.width", "image.height"), _WHOLE),
        },
        {
            "faces": ("Facedex: faces", ("person", "image.path", "face.quality.size", "face.quality.sharpness", "face.confidence"), ""),
        },
    ),
    View(
        "rejects",
        REJECTS,
        "Facedex photos left out",
        {"@timestamp": "Left out", **_PHOTO, "reason": "Reason", "message": "Why", **_LOOK},
        {},
        {"rejects": ("Facedex: photos left out", ("reason", "image.path", "message", "ingest.run"), "")},
    ),
    View(
        "operations",
        OPERATIONS,
        "Facedex operations",
        {
            "@timestamp": "Begun",
            "action": "Action",
            "collection": "Collection",
            "user": "User",
            "host": "Machine",
            "version": "Facedex",
            "purpose": "Purpose",
            "outcome": "Outcome",
            "error": "Errors",
            "filters": "Filtered by",
            "exact": "Exact",
            "seconds": "Took",
            "targets": "Photos searched for",
            "failed": "Photos that could not be used",
            "faces": "Faces",
            "results": "People named",
            "verified": "Of these verified",
            "latency.median": "Median latency",
            "latency.p95": "95 % latency",
            "ingest.run": "Ingest run",
            "ingest.photos": "Photos",
            "ingest.indexed": "Photos stored",
            "ingest.skipped": "Photos known before",
            "ingest.embedded": "Photos looked at",
            "ingest.rejected": "Photos left out",
            "ingest.reasons.reason": "Reason",
            "ingest.reasons.count": "Photos with the reason",
            "ingest.photos_per_second": "Photos a second",
        },
        {
            "seconds": _duration("seconds"),
            **dict.fromkeys(("latency.median", "latency.p95"), _duration("milliseconds")),
            **dict.fromkeys(("targets", "failed", "faces", "results", "verified"), _WHOLE),
            **{f"ingest.{name}": _WHOLE for name in ("photos", "indexed", "skipped", "embedded", "rejected")},
            "ingest.photos_per_second": _TENTH,
        },
        {
            "searches": (
                "Facedex: searches",
                ("user", "collection", "purpose", "targets", "results", "verified", "seconds", "latency.median"),
                "action : search",
            ),
            "runs": (
                "Facedex: ingest runs",
                ("user", "collection", "outcome", "ingest.photos", "faces", "ingest.rejected", "seconds", "ingest.photos_per_second"),
                "action : ingest",
            ),
        },
    ),
)
