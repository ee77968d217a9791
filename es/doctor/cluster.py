"""What the checks look at: asked of Elasticsearch when a check first needs it, and once."""

from __future__ import annotations

import re
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from es import collections, versions
from es.client import speaking
from es.documents import PREFIX

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from core.settings import Settings
    from es.collections import Collection
    from es.versions import Versions


class Cluster:
    """A cluster under examination. What a user may not see raises an EngineError with the code ``forbidden``."""

    def __init__(self, client: Elasticsearch, settings: Settings, name: str | None = None) -> None:
        """With a name, only that collection is looked at."""
        self.client = client
        self.settings = settings
        self.name = name

    @property
    def is_own_node(self) -> bool:
        """Whether it is Facedex's own node."""
        return self.settings.url is None

    @cached_property
    def collections(self) -> list[Collection]:
        """Those that are looked at."""
        return collections.all_of(self.client) if self.name is None else [collections.get(self.client, self.name)]

    @cached_property
    def versions(self) -> dict[str, Versions]:
        """The versions of the index of each collection."""
        return {each.name: versions.versions(self.client, each.name) for each in self.collections}

    @property
    def replaced(self) -> set[str]:
        """Indices that a migration replaced, and keeps, closed to writes. (Others that are called so are not ours.)"""
        old = {index for found in self.versions.values() for index in found.old}
        return {index for index in old & self.indices.keys() if "facedex" in self.indices[index]["mappings"].get("_meta", {})}

    @cached_property
    def nodes(self) -> dict[str, Any]:
        """By id: version, roles, settings, the addresses it listens on, its Java machine."""
        with speaking():
            return dict(self.client.nodes.info(metric=["http", "jvm", "os", "settings"], filter_path=_INFO)["nodes"])

    @cached_property
    def usage(self) -> dict[str, Any]:
        """By id: memory, heap, disk and clock of each node; ``skew`` is by how many seconds its clock is ahead of ours."""
        with speaking():
            before = time.time()
            found: dict[str, Any] = self.client.nodes.stats(metric=["fs", "jvm", "os"], filter_path=_STATS).body["nodes"]
            after = time.time()
        for node in found.values():
            clock = node["timestamp"] / 1000
            node["skew"] = 0.0 if before - 1 <= clock <= after + 1 else clock - (before + after) / 2
        return found

    @property
    def data_nodes(self) -> dict[str, Any]:
        """The usage of the nodes that hold shards."""
        return {id_: node for id_, node in self.usage.items() if any(role.startswith("data") for role in node["roles"])}

    @cached_property
    def cluster_settings(self) -> dict[str, str]:
        """Every setting of the cluster by its full name: what was set last, else what the node says, else the default."""
        with speaking():
            found = self.client.cluster.get_settings(include_defaults=True, flat_settings=True).body
        return {**found.get("defaults", {}), **found["persistent"], **found["transient"]}

    @cached_property
    def indices(self) -> dict[str, Any]:
        """Aliases, mappings and settings of every index of ours, also of those that are no collection's."""
        with speaking():
            return dict(self.client.indices.get(index=f"{PREFIX}*", expand_wildcards="all").body)

    @cached_property
    def shards(self) -> list[dict[str, Any]]:
        """Every started shard of ours: ``index``, ``number``, ``node``, ``primary``, ``docs``, ``deleted``, ``segments`` and ``bytes``."""
        with speaking():
            answer = self.client.indices.stats(
                index=f"{PREFIX}*", metric=["docs", "segments", "store"], level="shards", expand_wildcards=["open", "hidden"]
            )
        return [
            {
                "index": index,
                "number": int(number),
                "node": shard["routing"]["node"],
                "primary": shard["routing"]["primary"],
                "docs": shard["docs"]["count"],
                "deleted": shard["docs"]["deleted"],
                "segments": shard["segments"]["count"],
                "bytes": shard["store"]["size_in_bytes"],
            }
            for index, entry in answer["indices"].items()
            for number, copies in entry["shards"].items()
            for shard in copies
        ]

    def setting(self, index: str, key: str) -> Any:
        """An index's setting by its name without ``index.``, or ``None``."""
        found = self.indices[index]["settings"]["index"]
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return found

    def concerns(self, index: str) -> bool:
        """Whether an index is to be looked at: those of the chosen collection, else all of ours."""
        if self.name is None:
            return True
        own = re.escape(f"{PREFIX}{self.name}")
        return re.fullmatch(rf"{own}(-rejects)?-v\d+|{own}--.*", index) is not None


_INFO = ",".join(
    f"nodes.*.{part}" for part in ("name", "version", "roles", "ip", "settings", "http", "jvm.mem", "jvm.using_compressed*", "os.name")
)
_STATS = ",".join(
    f"nodes.*.{part}" for part in ("name", "host", "roles", "timestamp", "os.mem", "os.cgroup.memory", "fs.total", "jvm.mem.heap*")
)
