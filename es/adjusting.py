"""What of a collection can be changed where it is: copies, and the vector index's type in one direction. All else takes a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import CollectionError, UsageError
from es import loading, versions
from es.client import speaking
from es.collections import Collection, annotate, get
from es.index_types import INDEX_TYPES, OF_THE_TYPE, first_options, index_options

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


def adjust(
    client: Elasticsearch,
    name: str,
    *,
    replicas: int | None = None,
    index_type: str | None = None,
    expected_faces: int | None = None,
) -> Collection:
    """Changes what is given; returns the collection as it is then.

    Args:
        client: the connection.
        name: the collection.
        replicas: copies of each shard.
        index_type: one further on in :data:`es.index_types.INDEX_TYPES`, whose order is Elasticsearch's: later ones can be made out of what
            earlier ones keep. Faces that are stored get it when their segment is merged.
        expected_faces: noted with the collection.

    Raises:
        UsageError: no such index type, or one that can't be had in place.
        CollectionError: no such collection; or one that is being migrated, or loaded.
    """
    collection = get(client, name)
    if index_type is not None:
        _check_type(collection, index_type)
    if versions.versions(client, name).filling is not None or loading.is_running(client, name):
        raise CollectionError(f"{name!r} is being migrated, or loaded in bulk: change it when that is done.", code="migrating")
    if index_type is not None and index_type != collection.index_type:
        _retype(client, collection, index_type)
        annotate(client, name, **dict.fromkeys(OF_THE_TYPE))
    if replicas is not None:
        with speaking():
            settings = {"auto_expand_replicas": "false", "number_of_replicas": replicas}
            client.indices.put_settings(index=collection.index, settings={"index": settings})
    if expected_faces is not None:
        annotate(client, name, expected_faces=expected_faces)
    return get(client, name)


def _check_type(collection: Collection, index_type: str) -> None:
    index_options(index_type)  # which tells those that there are
    if INDEX_TYPES.index(index_type) < INDEX_TYPES.index(collection.index_type):
        raise UsageError(
            f"{collection.index_type} can't become {index_type} where it is: `facedex collections migrate {collection.name} "
            f"--index-type {index_type}` makes a new index.",
            code="needs_migration",
        )


def _retype(client: Elasticsearch, collection: Collection, index_type: str) -> None:
    with speaking():
        mapping = client.indices.get_mapping(index=collection.index)[collection.index]["mappings"]
        options = (first_options if collection.waits else index_options)(index_type)
        vector: dict[str, Any] = dict(mapping["properties"]["embedding"]) | {"index_options": options}
        meta = mapping["_meta"] | {"facedex": mapping["_meta"]["facedex"] | {"index_type": index_type}}
        client.indices.put_mapping(index=collection.index, properties={"embedding": vector}, meta=meta)
