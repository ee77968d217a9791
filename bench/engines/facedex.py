"""Facedex itself, in the ways that it can keep its vectors."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.engine import PAGE, Served, tree_bytes
from es.index_types import DEFAULT_INDEX_TYPE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from es.collections import Collection
    from es.local.node import Node
    from ingest.writer import Work
    from query.knn import Depth

    Vectors = NDArray[np.float32]

_GONE_SECONDS = 60.0  # that segments may take to go once they are merged
_BESIDE = 0.01  # of the bytes in segments, besides: lists of them, locks


class Facedex(Served):
    """A collection as an ingest makes it (whole face documents, bulk-load mode, merged), searched as a search does: with what it tells.

    Every face is compared, as the default is up to 1.5 million.
    """

    name, effort = "Facedex", "compared again in full"
    efforts: ClassVar[Sequence[int]] = (100, 300, 1000, 3000)
    packages = ("elasticsearch",)
    index_type: ClassVar[str] = DEFAULT_INDEX_TYPE
    writers = 1  # ingests that run at once
    _collection: Collection | None = None

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from core.terminal import say
        from es import collections
        from es.client import speaking
        from es.documents import alias, face_id
        from es.loading import BulkLoad
        from faces.recipe import DEFAULT
        from ingest.writer import Writer

        name = f"bench-{uuid.uuid4().hex[:12]}"
        self._at |= {"name": name, "count": count}
        self._collection = collections.create(self._client, name, DEFAULT.as_dict(), index_type=self.index_type)
        shared = _Shared(blocks)

        def write(_writer: int) -> None:
            writer = Writer(self._client, name, model=DEFAULT.model, run="bench", detection="bench")
            for number, _ in enumerate(writer.write(_works(shared))):
                if number % PAGE == 0:
                    load.renew()

        with BulkLoad(self._client, name, say) as load, ThreadPoolExecutor(self.writers) as pool:
            load.begin()
            list(pool.map(write, range(self.writers)))
        with speaking():
            self._client.indices.refresh(index=alias(name))
        self._rows = {face_id(_sha256(row), 0, DEFAULT.model): row for row in range(count)}

    def _connect(self) -> Any:
        from core.settings import settings
        from core.terminal import say
        from es.client import connect

        return connect(settings(), say)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        from query.knn import nearest

        return nearest(self._client, self._at["name"], list(probes), k, depth=self._depth(effort))

    def _depth(self, effort: int) -> Depth:
        from query.knn import Depth

        return Depth(effort, again=True)

    def rows(self, found: Sequence[Any]) -> list[int]:
        return [self._rows[hit["_id"]] for hit in found]

    @property
    def client(self) -> Any:
        """Its connection."""
        return self._client

    @property
    def collection(self) -> str:
        """Its name."""
        return str(self._at["name"])

    def disk(self) -> int:
        """Once merged segments are gone, and the server has seen it: it counts files only every 10 seconds."""
        from core.terminal import say
        from es.client import speaking
        from es.documents import alias

        index, until = alias(self._at["name"]), time.monotonic() + _GONE_SECONDS
        while True:
            with speaking():
                self._client.indices.flush(index=index)
                self._client.indices.refresh(index=index)
                stored = int(self._client.indices.stats(index=index, metric="store")["_all"]["primaries"]["store"]["size_in_bytes"])
            live = sum(segment["size_in_bytes"] for copy in self._primaries() for segment in copy["segments"].values())
            if live <= stored <= live * (1 + _BESIDE):
                return stored
            if time.monotonic() > until:
                say(f"The server counts {stored / 1e6:,.0f} MB on disk, and {live / 1e6:,.0f} MB in segments: not merged yet?")
                return stored
            time.sleep(1)

    def memory(self) -> int | None:
        node = self._node()
        return None if node is None else tree_bytes(node.pid)

    def node_pid(self) -> int:
        """The process of the node, which has to be one of Facedex's own; started where it isn't there."""
        _ = self._client  # to be connected starts it
        node = self._node()
        assert node is not None, "no node of Facedex's own"  # noqa: S101
        return node.pid

    def _node(self) -> Node | None:
        """The node of Facedex's own, where none was named."""
        from core.settings import settings
        from es.local import node, places

        return node.ready(places.node_home(settings()))

    def versions(self) -> dict[str, str]:
        from es.client import server_version

        return super().versions() | {"server": server_version(self._client)}

    def details(self) -> dict[str, Any]:
        primaries, node = self._primaries(), self._node()
        return {"shards": len(primaries), "segments": sum(len(copy["segments"]) for copy in primaries), "heap": node and node.heap}

    def _primaries(self) -> list[Mapping[str, Any]]:
        """Its primary shards, each with its segments."""
        from es.client import speaking
        from es.documents import alias

        with speaking():
            indices = self._client.indices.segments(index=alias(self._at["name"]))["indices"]
        return [copy for index in indices.values() for copies in index["shards"].values() for copy in copies if copy["routing"]["primary"]]

    def close(self) -> None:
        from es.collections import delete

        if self._collection is not None:
            delete(self._client, self._collection)
            self._client.close()


class FacedexCells(Facedex):
    """The same, where only the faces in the nearest cells are compared."""

    name, effort = "Facedex, some cells", "thousandths of the cells"
    efforts: ClassVar[Sequence[int]] = (10, 30, 70, 150, 300)

    def _depth(self, effort: int) -> Depth:
        from faces.recipe import DEFAULT
        from query.knn import Depth

        share = effort / 1000
        return Depth(self._again(share), again=True, share=share, model=DEFAULT.model)

    def _again(self, share: float) -> int:
        from query.knn import compared_again

        return compared_again(round(share * self._at["count"]))


class FacedexCellsFar(FacedexCells):
    """The same, where as many are compared again as if all were compared: to find all of the nearest, and not just the right one."""

    name = "Facedex, some cells, more again"
    efforts = (70, 150, 300)

    def _again(self, share: float) -> int:
        return super()._again(1.0)


class FacedexGraph(Facedex):
    """A collection with a graph, of eight bits a dimension."""

    name, effort = "Facedex, int8_hnsw", "num_candidates"
    efforts = (30, 100, 300, 1000, 3000, 10_000)
    index_type = "int8_hnsw"

    def _depth(self, effort: int) -> Depth:
        from query.knn import Depth

        return Depth(effort)


class FacedexFloat(FacedexGraph):
    """The same without quantisation."""

    name, index_type = "Facedex, hnsw", "hnsw"


class FacedexInt4(FacedexGraph):
    """The same with four bits a dimension."""

    name, index_type = "Facedex, int4_hnsw", "int4_hnsw"


class FacedexBit(FacedexGraph):
    """The same with one bit a dimension."""

    name, index_type = "Facedex, bbq_hnsw", "bbq_hnsw"


def _sha256(row: int) -> str:
    return hashlib.sha256(b"%d" % row).hexdigest()


class _Shared:
    """Blocks of faces, each with the row that it begins at, for several who take them."""

    def __init__(self, blocks: Iterable[Vectors]) -> None:
        self._blocks, self._row, self._lock = iter(blocks), 0, threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, Vectors]]:
        while True:
            with self._lock:
                block = next(self._blocks, None)
                if block is None:
                    return
                begin, self._row = self._row, self._row + len(block)
            yield begin, block


def _works(blocks: Iterable[tuple[int, Vectors]]) -> Iterator[Work]:
    from faces.face import Face
    from faces.quality import Quality
    from ingest.writer import Work
    from photos.sources import Source
    from workers.worker import Outcome

    quality = Quality(120, 90.5, 0.5, 0.9)
    for begin, block in blocks:
        for row, vector in enumerate(block, begin):
            face = Face((70, 70, 110, 110), ((90, 100),) * 5, 1.5, vector, quality=quality)
            source = Source(f"/photos/{row // 1000:06}/{row:09}.jpg", f"person {row // 4}")
            yield Work(source, Outcome(_sha256(row), 250, 250, (face,)))
