"""Merging a collection's segments: searches get quicker, what was deleted leaves the disk, and a graph that waits is built.

Elasticsearch changes the type of a vector index upwards in place, for what is merged from then on. So a collection begins without a graph
(see :mod:`es.index_types`), and gets it by one merge of everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from core.errors import FacedexError
from es import index_types
from es.client import speaking
from es.documents import LARGEST_SEGMENT
from es.index_types import GRAPH_FROM, index_options
from es.sizing import layout

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.local.node import Say

SEGMENTS = 4  # of a shard: few are quick to search. A large one without a graph has more (see _few)
_NOTED_FROM = 500_000  # faces: searches of fewer look at all of them
_CHANGED = 0.1  # of what was noted: less moves a search but little
SECONDS = 6 * 3600.0  # that a merge may take
_EARLY = "dense_vector.hnsw_enable_early_termination"
_PARALLEL = "merge.intra_merge_parallelism_enabled"


def merge(client: Elasticsearch, index: str, segments: int | None = None) -> None:
    """Merges an index, however long that takes, on all cores: into one segment with its graph where that waits, and is worth it.

    Args:
        client: the connection.
        index: its own name, or that of an alias.
        segments: of each shard; what has fewer stays. By default a few, more where there is no graph and much to compare.

    Raises:
        EngineError: the cluster refuses.
    """
    from elasticsearch import ConnectionTimeout

    builds = is_due(client, index)
    with _quick(client, index):
        if builds:
            _give_graph(client, index)
        with speaking(), suppress(ConnectionTimeout):  # it goes on in the server
            patient = client.options(request_timeout=SECONDS, max_retries=0)
            patient.indices.forcemerge(index=index, max_num_segments=1 if builds else segments or _few(client, index))
    note_size(client, index)  # only now: a build that is cut off before is done again by the next merge


def _few(client: Elasticsearch, index: str) -> int:
    """To how many segments a shard is merged: without a graph two for each :data:`es.documents.LARGEST_SEGMENT` that its faces are to take.

    A forced merge knows no largest segment: to get down to fewer it puts all the smaller ones into one, for which each search then waits.
    Whoever ingests may merge and count, but not look at sizes.
    """
    name, vector, _ = _mapping(client, index)
    kind = str(vector["index_options"]["type"])
    if kind.endswith("hnsw"):
        return SEGMENTS
    with speaking():
        found = client.indices.get_settings(index=name, filter_path="*.settings.index.number_of_shards")
        faces = int(client.count(index=name)["count"])
    shards = int(found[name]["settings"]["index"]["number_of_shards"])
    disk = layout(faces, int(vector["dims"]), kind, 1, shards=shards, replicas=0).disk_bytes
    return max(SEGMENTS, math.ceil(2 * disk / shards / (LARGEST_SEGMENT * 2**20)))


def is_due(client: Elasticsearch, index: str) -> bool:
    """Whether the graph of an index waits, or was begun and cut off, although it has enough faces for one."""
    _, vector, meta = _mapping(client, index)
    index_type, waits = index_types.of(vector, meta)
    is_begun = index_type.endswith("hnsw") and index_type == meta.get("index_type") and "graph_faces" not in meta
    if not (waits or is_begun):
        return False
    with speaking():
        client.indices.refresh(index=index)
        return int(client.count(index=index)["count"]) >= GRAPH_FROM


def build_if_due(client: Elasticsearch, index: str, say: Say) -> None:
    """Builds the graph of an index that has become large enough, and notes its size. Where that can't be, searches go on as before."""
    try:
        if is_due(client, index):
            say("Builds the graph, so that searches stay quick as the collection grows.")
            merge(client, index)
            return
    except FacedexError as error:
        say(f"facedex: all is stored, but the graph was not built ({error}): have a steward run `facedex collections optimize`.")
        return
    with suppress(FacedexError):  # who may not note it leaves searches as far-sighted as they were
        note_size(client, index)


def _mapping(client: Elasticsearch, index: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    with speaking():
        ((name, found),) = client.indices.get_mapping(index=index).items()
    return name, found["mappings"]["properties"]["embedding"], found["mappings"].get("_meta", {}).get("facedex", {})


def _give_graph(client: Elasticsearch, index: str) -> None:
    name, vector, meta = _mapping(client, index)
    wanted, _ = index_types.of(vector, meta)
    with suppress(FacedexError), speaking():  # then candidates are what they are called, and not fewer where few new ones come
        client.indices.put_settings(index=name, settings={"index": {_EARLY: False}})
    with speaking():
        client.indices.put_mapping(index=name, properties={"embedding": vector | {"index_options": index_options(wanted)}})
    _forget(client, name)
    _touch(client, name)


def note_size(client: Elasticsearch, index: str) -> None:
    """Notes how many faces there are, and how many were in the graph when it was built: from that follows how far searches look."""
    name, vector, meta = _mapping(client, index)
    if "recipe" not in meta:  # a copy for measuring
        return
    with speaking():
        faces = int(client.count(index=name)["count"])
    index_type, waits = index_types.of(vector, meta)
    has_graph = index_type.endswith("hnsw") and not waits
    before = int(str(meta.get("faces", 0)))
    is_other = max(faces, before) >= _NOTED_FROM and abs(faces - before) > _CHANGED * before
    if is_other or (has_graph and meta.get("graph_faces") != faces):
        sizes = {"faces": faces} | ({"graph_faces": faces} if has_graph else {})
        with speaking():
            now = client.indices.get_mapping(index=name)[name]["mappings"]["_meta"]
            client.indices.put_mapping(index=name, meta=now | {"facedex": now["facedex"] | sizes})


def _forget(client: Elasticsearch, index: str) -> None:
    """Drops what was measured while there was no graph."""
    with speaking():
        now = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
        notes = now.get("facedex", {}).get("notes", {})
        kept = {key: value for key, value in notes.items() if key not in index_types.OF_THE_TYPE}
        if kept != notes:
            client.indices.put_mapping(index=index, meta=now | {"facedex": now["facedex"] | {"notes": kept}})


def _touch(client: Elasticsearch, index: str) -> None:
    """Writes one face of each shard again, as it is: a shard of a single segment would else count as merged, and stay as it is."""
    with speaking():
        found = client.indices.get_settings(index=index, filter_path="*.settings.index.number_of_shards")
        for shard in range(int(found[index]["settings"]["index"]["number_of_shards"])):
            hits = client.search(index=index, preference=f"_shards:{shard}", size=1, source=False, seq_no_primary_term=True)["hits"]["hits"]
            for hit in hits:
                version = {"if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
                # One that was changed at this moment is written anew by that.
                client.options(ignore_status=(404, 409)).update(index=index, id=hit["_id"], doc={}, detect_noop=False, **version)
        client.indices.refresh(index=index)


@contextmanager
def _quick(client: Elasticsearch, index: str) -> Iterator[None]:
    """Lets a merge use all cores of its node, where the server can do that."""
    with suppress(FacedexError), speaking():
        client.indices.put_settings(index=index, settings={"index": {_PARALLEL: True}})
    try:
        yield
    finally:
        with suppress(FacedexError), speaking():
            client.indices.put_settings(index=index, settings={"index": {_PARALLEL: None}})
