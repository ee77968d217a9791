"""What is stored: the mappings of a collection's two indices, and the ids of their documents.

``facedex-<name>`` is an alias over ``facedex-<name>-v1``, the faces. ``facedex-<name>-rejects`` is one over
``facedex-<name>-rejects-v1``, which holds what was left out, so that nothing is dropped in silence.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

PREFIX = "facedex-"
OPERATIONS = f"{PREFIX}-operations"  # the record of what was done; no collection has this name, as it begins with a dash
MAPPING_VERSION = 2  # raised with every change of a mapping; stands in a collection's _meta, so that later versions can tell
WITH_CELLS = 2  # the version of a mapping from which on each face has its cell
_VERSION = re.compile(r"-v\d+$")
_ID_BYTES = 15  # 120 bits: collisions are out of reach; 20 characters of URL-safe base64, which Elasticsearch stores as 15 bytes


def alias(name: str) -> str:
    """The alias of a collection: what is read and written."""
    return f"{PREFIX}{name}"


def rejects_alias(name: str) -> str:
    """The alias of the photos that a collection left out."""
    return f"{PREFIX}{name}-rejects"


def alias_of(index: str) -> str:
    """The alias of a version of an index; any other name stays."""
    return _VERSION.sub("", index)


def content_id(*parts: str) -> str:
    """A document id from content, so that writing the same face twice changes nothing: SHA-256 over the parts, cut to 120 bits."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).digest()
    return base64.urlsafe_b64encode(digest[:_ID_BYTES]).decode("ascii")


def face_id(sha256: str, ordinal: int, model: str) -> str:
    """The id of a photo's n-th face (from 0, largest first) as seen by a model."""
    return content_id(sha256, str(ordinal), model)


def reject_id(sha256: str | None, path: str) -> str:
    """The id of a reject: by content, or by path where the content couldn't be read."""
    return content_id("reject", sha256 or f"path:{path}")


_KEYWORD: Mapping[str, Any] = {"type": "keyword"}
_PATH: Mapping[str, Any] = {"type": "keyword", "ignore_above": 8191}  # longer ones would be refused; they are stored all the same
# One field for whatever columns a list has: each would be a field of its own otherwise, and their number is limited.
_LABELS: Mapping[str, Any] = {"type": "flattened", "ignore_above": 4096}
_NUMBER: Mapping[str, Any] = {"type": "integer"}
_REAL: Mapping[str, Any] = {"type": "float"}
# What is shown, sorted and counted, but hardly ever looked for: doc values answer that too, only slower. A face is 13 bytes smaller for it.
_UNINDEXED: Mapping[str, Any] = {"index": False}
_INGEST: Mapping[str, Any] = {"properties": {"run": _KEYWORD, "detection": _KEYWORD}}


def face_fields() -> dict[str, Any]:
    """The fields of a face that don't depend on its recipe: all but the vector."""
    side = {**_NUMBER, **_UNINDEXED}
    face = {
        "ordinal": {"type": "short"},
        "box": {"properties": dict.fromkeys("xywh", side)},
        "landmarks": {"type": "integer", "index": False, "doc_values": False},
        "confidence": {**_REAL, **_UNINDEXED},
        "quality": {"properties": {"size": _NUMBER, "sharpness": _REAL, "brightness": _REAL, "frontal": _REAL}},
    }
    return {
        "@timestamp": {"type": "date"},
        "image": {"properties": {"sha256": _KEYWORD, "path": _PATH, "width": side, "height": side, "faces": {"type": "short"}}},
        "face": {"properties": face},
        "person": _PATH,
        "labels": _LABELS,
        "ingest": _INGEST,
        "thumbnail": {"type": "binary"},
        "cell": {"type": "short"},  # see es.cells
    }


def face_mapping(dims: int, metric: str, index_options: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """The strict mapping of the faces: an unknown field is an error, not a silent new column.

    The type of the vector index is always named: Elasticsearch's own default changes with the number of dimensions.
    """
    vector = {"type": "dense_vector", "dims": dims, "index": True, "similarity": metric, "index_options": dict(index_options)}
    return {"dynamic": "strict", "_meta": {"facedex": dict(meta)}, "properties": {**face_fields(), "embedding": vector}}


# Faces of a cell lie together, so that a search which looks into some cells reads few places.
_FACE_ORDER: dict[str, Any] = {"sort.field": ["cell"], "sort.order": ["asc"]}
# A search gives each segment to one thread: where all faces of it are compared, none is to be so large that the others wait for it.
LARGEST_SEGMENT = 512  # MB


def face_layout(index_type: str) -> dict[str, Any]:
    """The settings of an index of faces that depend on nothing but the type of its vector index."""
    if index_type.endswith("hnsw"):  # the larger the graphs, the fewer a search goes through
        return _FACE_ORDER
    return _FACE_ORDER | {"merge.policy.max_merged_segment": f"{LARGEST_SEGMENT}mb"}


REJECT_MAPPING: Mapping[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        "image": {"properties": {"sha256": _KEYWORD, "path": _PATH}},
        "person": _PATH,
        "labels": _LABELS,
        "reason": _KEYWORD,
        "message": {"type": "keyword", "index": False, "doc_values": False},
        "ingest": _INGEST,
    },
}
