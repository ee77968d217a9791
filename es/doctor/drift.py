"""Are the mappings those that this version of Facedex would make?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from core.findings import Finding
from es.client import speaking
from es.collections import Collection
from es.doctor.cluster import Cluster
from es.documents import MAPPING_VERSION, REJECT_MAPPING, face_mapping, rejects_alias
from es.index_types import first_options, index_options

_MIGRATE = "facedex collections migrate {name}"
_INDEX = ".index"


def mappings(cluster: Cluster) -> Iterator[Finding]:
    """Each collection's two mappings beside those that would be made now."""
    found: list[Finding] = []
    for each in cluster.collections:
        expected = face_mapping(
            each.dims, str(each.recipe["metric"]), (first_options if each.waits else index_options)(each.index_type), {}
        )
        found += _compare(cluster, each, each.index, expected)
        for index, shape in cluster.indices.items():
            if rejects_alias(each.name) in shape["aliases"]:
                found += _compare(cluster, each, index, REJECT_MAPPING)
        if each.mapping > MAPPING_VERSION:
            found.append(
                Finding(
                    "mapping",
                    "notice",
                    f"{each.name} was made by a newer Facedex (mapping version {each.mapping}, this one knows {MAPPING_VERSION}).",
                    "What it stores beyond that is not used.",
                    "update Facedex",
                )
            )
    yield from found or [Finding("mapping", "ok", f"All mappings are those of this version ({MAPPING_VERSION}).")]


def _compare(cluster: Cluster, collection: Collection, index: str, expected: Mapping[str, Any]) -> Iterator[Finding]:
    is_ = cluster.indices[index]["mappings"]
    if is_.get("dynamic") != "strict":
        yield Finding(
            "mapping",
            "warning",
            f"{index} takes unknown fields (dynamic is {is_.get('dynamic', 'true')}, not strict).",
            "A mistake becomes a new field, and their number is limited.",
            f'PUT {index}/_mapping {{"dynamic": "strict"}}',
            partial(_put, cluster, index, {"dynamic": "strict"}),
        )
    missing = absent(expected["properties"], is_.get("properties", {}))
    if missing:
        yield Finding(
            "mapping",
            "warning",
            f"{index} lacks the fields {', '.join(leaves(missing))}.",
            "Faces that have them are refused.",
            "facedex doctor --fix adds them",
            partial(_put, cluster, index, {"properties": missing}),
        )
    indexed = []
    for path, want, have in differing(expected["properties"], is_.get("properties", {})):
        if path.endswith(_INDEX) and have and not want:  # as an older Facedex did: all that is asked is answered as well
            indexed.append(path.removesuffix(_INDEX))
            continue
        yield Finding(
            "mapping",
            "warning" if path.startswith("embedding.index_options") else "error",
            f"{path} of {index} is {have}, not {want}.",
            "Searches can miss faces or fail.",
            _MIGRATE.format(name=collection.name),
        )
    if indexed:
        yield Finding(
            "mapping",
            "notice",
            f"{index} indexes {', '.join(indexed)}, as an older Facedex did.",
            "Faces take a few bytes more on disk; nothing else.",
            _MIGRATE.format(name=collection.name),
        )


def _put(cluster: Cluster, index: str, change: dict[str, Any]) -> None:
    with speaking():
        cluster.client.indices.put_mapping(index=index, **change)


def absent(expected: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are expected and not there, as a mapping that adds them."""
    missing: dict[str, Any] = {}
    for name, field in expected.items():
        if name not in found:
            missing[name] = field
        elif "properties" in field and (below := absent(field["properties"], found[name].get("properties", {}))):
            missing[name] = {"properties": below}
    return missing


def leaves(fields: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The full names of the fields of a mapping."""
    for name, field in fields.items():
        if "properties" in field:
            yield from leaves(field["properties"], f"{before}{name}.")
        else:
            yield f"{before}{name}"


def differing(expected: Mapping[str, Any], found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What of the fields that are there is another than expected: its full name, what was expected, what is."""
    for name, field in expected.items():
        if name not in found:
            continue
        if "properties" in field:
            yield from differing(field["properties"], found[name].get("properties", {}), f"{before}{name}.")
        else:
            yield from _parameters(field, found[name], f"{before}{name}")


def _parameters(expected: Mapping[str, Any], found: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    for key, want in expected.items():
        have = found.get(key, _DEFAULTS.get(key))
        if isinstance(want, Mapping) and isinstance(have, Mapping):
            yield from _parameters(want, have, f"{path}.{key}")
        elif want != have:
            yield f"{path}.{key}", want, have


_DEFAULTS: Mapping[str, Any] = {"index": True, "doc_values": True}  # what Elasticsearch leaves out of its answers
