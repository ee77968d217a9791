"""Where snapshots go: the repository that is named, the one that there is, or one of our own in a folder that the servers allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import EngineError, UsageError
from es.client import speaking

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

OWN = "facedex"
_HOW = (
    'register one that all nodes reach, for instance with `PUT _snapshot/facedex {"type": "fs", "settings": {"location": ...}}` where the '
    "nodes have path.repo, or of type s3, gcs or azure"
)


def find(client: Elasticsearch, wish: str | None, *, is_own_node: bool) -> str:
    """The repository to use; one of our own is registered where there is none and the nodes have a folder for it.

    Args:
        client: the connection.
        wish: the one that was named, if any.
        is_own_node: whether this is Facedex's own node.

    Raises:
        UsageError: it is not there, or which one is meant is not clear (code ``repository``).
        EngineError: there is none, and none can be made (code ``no_repository``).
    """
    with speaking():
        there = sorted(client.snapshot.get_repository(name="_all").body)
    if wish is not None:
        if wish in there:
            return wish
        known = f"there are: {', '.join(there)}" if there else "there is none"
        raise UsageError(f"There is no snapshot repository {wish!r}; {known}.", code="repository")
    if OWN in there:
        return OWN
    if len(there) > 1:
        raise UsageError(
            f"There are {len(there)} snapshot repositories: name one with --repository ({', '.join(there)}).", code="repository"
        )
    return there[0] if there else _register(client, is_own_node=is_own_node)


def _register(client: Elasticsearch, *, is_own_node: bool) -> str:
    from elasticsearch import ApiError

    if not _have_folder(client):
        raise EngineError(
            "Facedex's own node was started before it could keep snapshots: run `facedex down`, then this again."
            if is_own_node
            else f"The cluster has no snapshot repository: {_HOW}.",
            code="no_repository",
        )
    with speaking():
        try:
            # Relative to path.repo: it is found again where the folder moves.
            client.snapshot.create_repository(name=OWN, repository={"type": "fs", "settings": {"location": OWN}})
        except ApiError as error:
            if not str(error.error).startswith("repository"):
                raise
            raise EngineError(
                f"The folder that the nodes have for snapshots (path.repo) can't be used by all of them: {_HOW}.", code="no_repository"
            ) from None
    return OWN


def _have_folder(client: Elasticsearch) -> bool:
    with speaking():
        nodes: dict[str, Any] = client.nodes.info(metric="settings", filter_path="nodes.*.settings.path,nodes.*.name").body["nodes"]
    return all(node.get("settings", {}).get("path", {}).get("repo") for node in nodes.values())
