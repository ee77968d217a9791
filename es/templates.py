"""Templates in the cluster, so that its administrators see what collections are made of, and can add to it.

``facedex-faces`` and ``facedex-rejects`` are component templates with the fields that don't depend on a recipe. What an administrator
puts into ``facedex-faces@custom`` or ``facedex-rejects@custom``, by Elastic's own convention, goes into every collection that is made
later: where its shards may be, how slow queries are logged, what is preloaded. What Facedex itself says when it makes a collection is
stronger: the mapping with its vectors, shards and replicas. So nothing depends on these templates, and collections are made where they
can't be written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from es.client import speaking
from es.documents import MAPPING_VERSION, PREFIX, REJECT_MAPPING, face_fields

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

FACES, REJECTS, OTHERS = f"{PREFIX}faces", f"{PREFIX}rejects", f"{PREFIX}others"
_ABOUT = {"managed_by": "facedex", "managed": True, "mapping": MAPPING_VERSION}
_PRIORITY = 500  # above what people use for their own logs, and equal to nothing that Elastic ships
_PATTERNS = {
    FACES: ([f"{PREFIX}*-v*"], _PRIORITY),
    REJECTS: ([f"{PREFIX}*-rejects-v*"], _PRIORITY + 1),
    # What is no collection, although its name looks so: copies, the record of operations. Nothing goes into these.
    OTHERS: ([f"{PREFIX}-*", f"{PREFIX}*--*"], _PRIORITY + 2),
}


def install(client: Elasticsearch) -> bool:
    """Writes the templates where they are missing or those of an older Facedex; says whether they are there.

    Where they can't be written, nothing is lost: collections are made without them.
    """
    from elasticsearch import ApiError

    with speaking():
        try:
            if version(client) < MAPPING_VERSION:
                _write(client)
        except ApiError:
            return False
    return True


def version(client: Elasticsearch) -> int:
    """The version of the templates that are there; 0: none.

    Raises:
        elasticsearch.ApiError: Elasticsearch does not say.
    """
    from elasticsearch import NotFoundError

    try:
        found = client.indices.get_index_template(name=OTHERS)["index_templates"]  # written last, so all are there
    except NotFoundError:
        return 0
    return int(found[0]["index_template"].get("_meta", {}).get("mapping", 0))


def _write(client: Elasticsearch) -> None:
    mappings: dict[str, dict[str, Any]] = {
        FACES: {"dynamic": "strict", "properties": face_fields()},
        REJECTS: dict(REJECT_MAPPING),
    }
    for name, mapping in mappings.items():
        client.cluster.put_component_template(name=name, template={"mappings": mapping}, meta=_ABOUT, version=MAPPING_VERSION)
    for name, (patterns, priority) in _PATTERNS.items():
        own = [name, f"{name}@custom"] if name in mappings else []
        client.indices.put_index_template(
            name=name,
            index_patterns=patterns,
            composed_of=own,
            ignore_missing_component_templates=own[1:],
            priority=priority,
            allow_auto_create=False,  # what is sent to an index that was just replaced and dropped must not make one of that name
            meta=_ABOUT,
            version=MAPPING_VERSION,
        )
