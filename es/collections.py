"""Collections: sets of faces made with one pinned recipe. Created, found, listed, described and deleted here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import CollectionError, EngineError, UsageError
from es import cells, index_types, templates
from es.client import allowed, speaking
from es.documents import MAPPING_VERSION, PREFIX, REJECT_MAPPING, alias, face_layout, face_mapping, rejects_alias
from es.index_types import first_options
from es.sizing import Layout, layout
from es.versions import versions

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*(-[a-z0-9_]+)*")
_RESERVED = re.compile(r".*-(rejects|v\d+)")
_NAME_LENGTH = 100
FILLING = "filling"  # in the _meta of a version that a migration has not filled yet: what copies of the index (snapshots) are told by


@dataclass(frozen=True, slots=True)
class Collection:
    """What is known of a collection without counting its faces.

    ``recipe`` is the pinned recipe as stored, ``notes`` what was found out about the collection since (see :func:`annotate`).
    """

    name: str
    index: str
    recipe: Mapping[str, Any]
    index_type: str
    dims: int
    created: str
    origin: str  # stays as long as what is stored of photos does: a new collection of the same name has another
    notes: Mapping[str, Any] = field(default_factory=dict)
    mapping: int = 0  # the version of its mapping; 0: made before versions were written down
    graph_faces: int | None = None  # how many faces it had when its graph was last built or merged; None: it has none
    faces: int | None = None  # how many it had at the end of the last ingest or merge; None: not many
    waits: bool = False  # for its graph: until then, every face is compared (see es.index_types)


def check_name(name: str) -> str:
    """The name, if a collection may be called so.

    Raises:
        UsageError: it may not; the sentence says what may.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise UsageError(
            f"{name!r} can't name a collection: use up to {_NAME_LENGTH} lower-case letters, digits, _ and single -, "
            "beginning with a letter or digit, not ending in -rejects or -v and a number."
        )
    return name


def create(
    client: Elasticsearch,
    name: str,
    recipe: Mapping[str, Any],
    *,
    index_type: str | None = None,
    shards: int | None = None,
    replicas: int | None = None,
    expected_faces: int | None = None,
) -> Collection:
    """Makes an empty collection. Two callers at the same moment make one: the second gets ``collection_exists``.

    Args:
        client: the connection.
        name: see :func:`check_name`.
        recipe: the pinned recipe; its ``dims`` and ``metric`` shape the vector field.
        index_type: one of :data:`es.index_types.INDEX_TYPES`; ``None``: what suits the model and the expected faces.
        shards: primary shards; ``None``: as :mod:`es.sizing` has it for the expected faces.
        replicas: copies of each shard; ``None`` keeps one copy wherever the cluster has a second node for it.
        expected_faces: how many there will be; noted with the collection.

    Raises:
        UsageError: a bad name, type or number.
        CollectionError: it exists already (code ``collection_exists``).
    """
    check_name(name)
    if allowed(lambda: find(client, name)):  # perhaps over another than its first index
        raise _exists(name)
    index_type = index_type or index_types.default(expected_faces or 0, has_cells=cells.is_there(str(recipe["model"])))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    meta: dict[str, Any] = {"recipe": dict(recipe), "created": created, "mapping": MAPPING_VERSION, "index_type": index_type}
    if expected_faces is not None:
        meta["notes"] = {"expected_faces": expected_faces}
    mapping = face_mapping(int(recipe["dims"]), str(recipe["metric"]), first_options(index_type), meta)
    copies: dict[str, Any] = {"auto_expand_replicas": "0-1"} if replicas is None else {"number_of_replicas": replicas}
    layout = {"number_of_shards": 1, **copies}
    templates.install(client)
    # The rejects first: the alias of the faces is what makes a collection, so a creation that is cut off leaves none.
    _make(client, rejects_alias(name), dict(REJECT_MAPPING), layout)
    if shards is None:
        shards = planned(client, int(recipe["dims"]), index_type, expected_faces or 0).shards
    if not _make(client, alias(name), mapping, layout | face_layout(index_type) | {"number_of_shards": shards}):
        raise _exists(name)
    return get(client, name)


def _exists(name: str) -> CollectionError:
    return CollectionError(f"The collection {name!r} exists already.", code="collection_exists")


def planned(
    client: Elasticsearch, dims: int, index_type: str, faces: int, *, shards: int | None = None, replicas: int | None = None
) -> Layout:
    """What :func:`es.sizing.layout` advises for so many faces in this cluster."""
    with speaking():
        nodes = client.cluster.health(filter_path="number_of_data_nodes")["number_of_data_nodes"]
    return layout(faces, dims, index_type, nodes, shards=shards, replicas=replicas)


def ensure(client: Elasticsearch, name: str, recipe: Mapping[str, Any], *, expected_faces: int | None = None) -> Collection:
    """The collection of that name, made with this recipe where there is none. (One that is there has its own.)

    Raises:
        UsageError: a bad name.
        EngineError: there is none, and the user may not make one (``forbidden``).
    """
    if found := find(client, name):
        return found
    try:
        return create(client, name, recipe, expected_faces=expected_faces)
    except CollectionError as error:
        if error.code != "collection_exists":
            raise
        return get(client, name)  # another was quicker
    except EngineError as error:
        if error.code != "forbidden":
            raise
        raise EngineError(
            f"There is no collection {name!r}, and this user may not make one: have a steward run `facedex collections create {name}`.",
            code="forbidden",
        ) from None


def _make(client: Elasticsearch, name: str, mapping: dict[str, Any], layout: dict[str, Any]) -> bool:
    """Makes the index behind an alias; says whether it is new."""
    from elasticsearch import BadRequestError

    with speaking():
        try:
            client.indices.create(index=f"{name}-v1", mappings=mapping, settings=layout, aliases={name: {"is_write_index": True}})
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise
            return False
    return True


def find(client: Elasticsearch, name: str) -> Collection | None:
    """The collection of that name, or ``None``."""
    from elasticsearch import NotFoundError

    check_name(name)
    with speaking():
        try:
            answer = client.indices.get(index=alias(name), filter_path=_SHAPE)
        except NotFoundError:
            return None
    return next((found for found in map(_parse, answer.items()) if found and found.name == name), None)


def get(client: Elasticsearch, name: str) -> Collection:
    """The collection of that name.

    Raises:
        CollectionError: there is none (code ``no_collection``); the sentence names those that there are.
    """
    found = find(client, name)
    if found is None:
        names = [c.name for c in allowed(lambda: all_of(client)) or []]
        known = f"there are: {', '.join(names)}" if names else "there is none yet: `facedex ingest FOLDER` makes one"
        raise CollectionError(f"There is no collection {name!r}; {known}.", code="no_collection")
    return found


def all_of(client: Elasticsearch) -> list[Collection]:
    """All collections, by name."""
    with speaking():
        answer = client.indices.get(index=f"{PREFIX}*", filter_path=_SHAPE)
    return sorted(filter(None, map(_parse, answer.items())), key=lambda c: c.name)


_SHAPE = "*.aliases,*.mappings._meta.facedex,*.mappings.properties.embedding,*.settings.index.uuid"


def _parse(entry: tuple[str, Mapping[str, Any]]) -> Collection | None:
    """A collection from an index's answer; ``None`` for an index that is not a collection's current one."""
    index, shape = entry
    meta = shape.get("mappings", {}).get("_meta", {}).get("facedex")
    names = [a.removeprefix(PREFIX) for a in shape.get("aliases", {}) if index.startswith(f"{a}-v")]
    vector = shape.get("mappings", {}).get("properties", {}).get("embedding")
    if not meta or not names or not vector:
        return None
    origin, notes = meta.get("origin", shape["settings"]["index"]["uuid"]), meta.get("notes", {})
    index_type, waits = index_types.of(vector, meta)
    return Collection(
        names[0],
        index,
        meta["recipe"],
        index_type,
        vector["dims"],
        meta["created"],
        origin,
        notes,
        mapping=meta.get("mapping", 0),
        graph_faces=meta.get("graph_faces"),
        faces=meta.get("faces"),
        waits=waits,
    )


def annotate(client: Elasticsearch, name: str, **notes: Any) -> Collection:
    """Keeps what was found out about a collection, such as its calibration, beside its recipe; ``None`` forgets it.

    Raises:
        CollectionError: there is no such collection.
    """
    while True:
        collection = get(client, name)
        merge_notes(client, collection.index, {}, notes)
        noted = get(client, name)
        if noted.index == collection.index:
            return noted
        # It was moved to another index meanwhile, perhaps after that had taken over the notes.


def changeable(client: Elasticsearch, name: str) -> Collection:
    """The collection, where notes of it can be kept: to be asked before what is to be noted is found out at length.

    Raises:
        CollectionError: there is no such collection.
        EngineError: the user may not (``forbidden``).
    """
    collection = get(client, name)
    with speaking():
        client.indices.put_mapping(index=collection.index, properties={})  # which changes nothing
    return collection


def merge_notes(client: Elasticsearch, index: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Makes the changes between two states of notes in those that an index has; ``None`` forgets one.

    Nothing keeps two callers at the same moment from overwriting each other: Elasticsearch knows no condition for it.
    """
    changed = {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key) or key not in before}
    if not changed:
        return
    with speaking():
        meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["facedex"]
        kept = {key: value for key, value in (meta.get("notes", {}) | changed).items() if value is not None}
        client.indices.put_mapping(index=index, meta={"facedex": meta | {"notes": kept}})


def finish(client: Elasticsearch, index: str) -> None:
    """Notes that a version of an index is filled: from now on it can be the collection."""
    with speaking():
        meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["facedex"]
        client.indices.put_mapping(index=index, meta={"facedex": {key: value for key, value in meta.items() if key != FILLING}})


def count(client: Elasticsearch, collection: Collection) -> dict[str, int]:
    """How many ``faces``, ``photos`` and ``rejects``, and how many ``people`` (HyperLogLog++: within a few in a thousand)."""
    aggregations = {
        "people": {"cardinality": {"field": "person", "precision_threshold": 40_000}},
        "photos": {"filter": {"term": {"face.ordinal": 0}}},  # every photo has one such face
    }
    faces = _tally(client, collection.index, aggregations)
    return {
        "faces": faces["hits"]["total"]["value"],
        "people": faces["aggregations"]["people"]["value"],
        "photos": faces["aggregations"]["photos"]["doc_count"],
        "rejects": _tally(client, rejects_alias(collection.name), {})["hits"]["total"]["value"],
    }


def _tally(client: Elasticsearch, index: str, aggregations: dict[str, Any]) -> Mapping[str, Any]:
    with speaking():
        answer: Mapping[str, Any] = client.search(
            index=index, size=0, track_total_hits=True, aggregations=aggregations or None, allow_partial_search_results=False
        ).body
    return answer


def describe(client: Elasticsearch, collection: Collection) -> dict[str, Any]:
    """Everything that ``facedex collections show`` says: recipe, counts, rejects by reason, shards, replicas, health and bytes on disk.

    Who may only read is not told the last two: ``None``.
    """
    with speaking():
        shape = client.indices.get_settings(index=collection.index, filter_path="*.settings.index.number_of_*")[collection.index]
    stats = allowed(lambda: client.indices.stats(index=collection.index, metric="store", filter_path="_all.primaries.store")["_all"])
    health = allowed(lambda: client.cluster.health(index=collection.index)["status"])
    reasons = _tally(client, rejects_alias(collection.name), {"reason": {"terms": {"field": "reason", "size": 100}}})
    index = shape["settings"]["index"]
    others = versions(client, collection.name)
    buckets = reasons["aggregations"]["reason"]["buckets"]
    return {
        "name": collection.name,
        **count(client, collection),
        "rejected": {bucket["key"]: bucket["doc_count"] for bucket in buckets},
        "recipe": dict(collection.recipe),
        "index": collection.index,
        "index_type": collection.index_type,
        "graph_waits": collection.waits,
        "shards": int(index["number_of_shards"]),
        "replicas": int(index["number_of_replicas"]),
        "health": health,
        "bytes": stats and stats["primaries"]["store"]["size_in_bytes"],
        "created": collection.created,
        "expected_faces": collection.notes.get("expected_faces"),
        "num_candidates": collection.notes.get("num_candidates"),
        "old": list(others.old),
        "migrating_to": others.filling.index if others.filling else None,
    }


def delete(client: Elasticsearch, collection: Collection) -> None:
    """Removes a collection: its faces, in all versions, its rejects and its name."""
    found = versions(client, collection.name)
    faces = [found.current, *found.old, *([found.filling.index] if found.filling else [])]
    with speaking():
        # By the names of the indices: aliases can't be deleted so.
        client.indices.delete(index=[*faces, f"{rejects_alias(collection.name)}-v1"], ignore_unavailable=True)
