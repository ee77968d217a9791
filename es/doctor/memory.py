"""Do the vectors fit into memory, and is the heap of a sound size?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from core.findings import Finding
from es.doctor.cluster import Cluster
from es.doctor.sizes import vector_bytes

_GB = 2**30
_COMPRESSED = 31 * _GB  # of heap; beyond it Java's pointers are twice as long
_TINY = 500_000_000  # of heap
_TIGHT = 0.8  # of the memory
_BUSY = 90  # per cent of the heap
_WORTH_PRELOADING = 1 * _GB


def vectors(cluster: Cluster) -> Iterator[Finding]:
    """Elastic's formula for each node's vectors, beside the memory that its heap leaves."""
    types = {each.index: each for each in cluster.collections}
    need: dict[str, int] = defaultdict(int)
    for shard in cluster.shards:
        if found := types.get(shard["index"]):
            m = int(cluster.indices[found.index]["mappings"]["properties"]["embedding"]["index_options"].get("m", 16))
            need[shard["node"]] += shard["docs"] * vector_bytes(found.index_type, found.dims, m)
    has = spare(cluster.data_nodes)
    hosts: dict[str, int] = defaultdict(int)
    for id_, node in cluster.data_nodes.items():
        hosts[node["host"]] += need[id_]
    found_any = False
    for host, bytes_ in hosts.items():
        if finding := vectors_concern(", ".join(_names(cluster.data_nodes, host)), bytes_, has[host]):
            found_any = True
            yield finding
    if not found_any:
        yield Finding("vectors", "ok", f"The vectors take {_size(sum(need.values()))} of {_size(sum(has.values()))} beside the heap.")


def vectors_concern(name: str, need: int, has: int) -> Finding | None:
    """What is to be said of so many bytes of vectors beside so much memory."""
    if need <= has * _TIGHT:
        return None
    return Finding(
        "vectors",
        "warning" if need > has else "notice",
        f"The vectors on {name} take {_size(need)}; {_size(max(has, 0))} of memory are left beside the heap.",
        "What is not in memory is read from disk in each search, which makes it many times slower.",
        "a smaller index type (`facedex collections migrate`; int8_hnsw, then bbq_hnsw), more memory, or more nodes",
    )


def spare(nodes: dict[str, Any]) -> dict[str, int]:
    """Bytes of memory for each host that no heap takes. Nodes on one host share its memory."""
    left: dict[str, int] = {}
    for node in nodes.values():
        left[node["host"]] = left.get(node["host"], memory_of(node)) - node["jvm"]["mem"]["heap_max_in_bytes"]
    return left


def memory_of(node: dict[str, Any]) -> int:
    """Bytes of memory of a node's machine, or of its container where that is less."""
    total = int(node["os"]["mem"].get("adjusted_total_in_bytes") or node["os"]["mem"]["total_in_bytes"])
    limit = str(node["os"].get("cgroup", {}).get("memory", {}).get("limit_in_bytes", ""))
    return min(total, int(limit)) if limit.isdigit() else total


def heap(cluster: Cluster) -> Iterator[Finding]:
    """Each node's heap beside its memory."""
    found: list[Finding] = []
    for id_, node in cluster.usage.items():
        heap_max, used = node["jvm"]["mem"]["heap_max_in_bytes"], node["jvm"]["mem"]["heap_used_percent"]
        compressed = cluster.nodes[id_].get("jvm", {}).get("using_compressed_ordinary_object_pointers", "true")
        found += heap_concerns(node["name"], heap_max, memory_of(node), used, is_compressed=str(compressed) != "false")
    most = max((node["jvm"]["mem"]["heap_used_percent"] for node in cluster.usage.values()), default=0)
    yield from found or [Finding("heap", "ok", f"The heaps are of sound size; {most} % of the fullest is used.")]


def heap_concerns(name: str, heap_max: int, memory: int, used_percent: int, *, is_compressed: bool = True) -> Iterator[Finding]:
    """What is to be said of a heap of so many bytes."""
    if heap_max > memory / 2:
        yield Finding(
            "heap",
            "warning",
            f"The heap of {name} takes {_size(heap_max)} of {_size(memory)}, more than half.",
            "Vectors are not in the heap: they need the memory beside it.",
            "give half or less to the heap (FACEDEX_NODE_HEAP, or -Xmx in jvm.options.d)",
        )
    if heap_max > _COMPRESSED or not is_compressed:
        yield Finding(
            "heap",
            "warning",
            f"The heap of {name} ({_size(heap_max)}) is too large for compressed pointers.",
            "It holds less than one of 30 GB.",
            "give it 30 GB or less",
        )
    if heap_max < _TINY:
        yield Finding(
            "heap",
            "notice",
            f"The heap of {name} is small ({_size(heap_max)}).",
            "Large ingests are refused now and then, and asked again, which takes time.",
            "FACEDEX_NODE_HEAP=1g, then `facedex down`",
        )
    if used_percent >= _BUSY:
        yield Finding(
            "heap",
            "warning",
            f"{used_percent} % of the heap of {name} is used.",
            "Elasticsearch refuses requests before it runs out of it.",
            "more heap, or fewer shards and collections",
        )


def preload(cluster: Cluster) -> Iterator[Finding]:
    """What is read into memory when an index is opened: the graph and the quantised vectors should be, the full ones never."""
    found = []
    for each in cluster.collections:
        files = cluster.setting(each.index, "store.preload") or []
        docs = sum(shard["docs"] for shard in cluster.shards if shard["index"] == each.index and shard["primary"])
        quantised = not each.index_type.startswith(("flat", "hnsw"))
        if quantised and {"vec", "*"} & set(files):
            found.append(
                Finding(
                    "preload",
                    "warning",
                    f"{each.name} preloads its full vectors ({', '.join(files)}).",
                    "They push the quantised ones, which searches read first, out of memory.",
                    "index.store.preload: [vex, veq, veb] in the component template facedex-faces@custom, then migrate",
                )
            )
        elif not files and docs * vector_bytes(each.index_type, each.dims) > _WORTH_PRELOADING:
            found.append(
                Finding(
                    "preload",
                    "notice",
                    f"{each.name} preloads nothing.",
                    "The first searches after a start are slow.",
                    "index.store.preload: [vex, veq, veb] in the component template facedex-faces@custom, then migrate",
                )
            )
    yield from found or [Finding("preload", "ok", "Nothing is preloaded that should not be.")]


def _names(nodes: dict[str, Any], host: str) -> list[str]:
    return sorted(node["name"] for node in nodes.values() if node["host"] == host)


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)
