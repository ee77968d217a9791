"""Vector search in this process: what Facedex is measured beside. Each is built from the same stream of vectors.

Vectors have length 1, so that inner product is cosine. A row is a number from 0, in the order of the stream.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

M, EF_CONSTRUCTION = 16, 100  # of every graph, as in a collection


class Engine(ABC):
    """One way to search."""

    name: ClassVar[str]
    effort: ClassVar[str]  # what its number of effort is called
    efforts: ClassVar[Sequence[int]]

    @abstractmethod
    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        """Takes all vectors in, until they can be found.

        Args:
            blocks: (n, dims) each.
            count: of the vectors in all.
        """

    @abstractmethod
    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        """The rows of the k nearest of one probe, (dims,), best first. Called by several threads."""

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[int]]:
        """The same for many probes at once."""
        return [self.find(probe, k, effort) for probe in probes]

    @abstractmethod
    def disk(self) -> int:
        """Bytes that it keeps on disk, or would."""

    def close(self) -> None:  # noqa: B027  most have nothing to end
        """Ends it, where there is something to end."""


class Brute(Engine):
    """Every vector, in numpy: exact."""

    name, effort = "numpy, every vector", ""
    efforts = (0,)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        self._all: Vectors = np.concatenate(list(blocks))

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[int]]:
        likeness = probes @ self._all.T
        best = np.argpartition(-likeness, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(likeness, best, 1), axis=1, kind="stable")
        return [list(map(int, row)) for row in np.take_along_axis(best, order, 1)]

    def disk(self) -> int:
        return int(self._all.nbytes)


class _Faiss(Engine):
    _index: Any

    def _efforts(self, effort: int) -> Any:
        raise NotImplementedError

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[int]]:
        return [list(map(int, row)) for row in self._index.search(probes, k, params=self._efforts(effort))[1]]

    def disk(self) -> int:
        import faiss

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            faiss.write_index(self._index, str(path))
            return path.stat().st_size


class FaissHnsw(_Faiss):
    """faiss's graph over float32."""

    name, effort = "faiss HNSW", "efSearch"
    efforts = (10, 30, 100, 300, 1000)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import faiss

        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = faiss.IndexHNSWFlat(block.shape[1], M, faiss.METRIC_INNER_PRODUCT)
                self._index.hnsw.efConstruction = EF_CONSTRUCTION
            self._index.add(block)

    def _efforts(self, effort: int) -> Any:
        import faiss

        return faiss.SearchParametersHNSW(efSearch=effort)  # type: ignore[attr-defined]


class FaissIvfPq(_Faiss):
    """faiss's inverted lists of product-quantised vectors: small, and not exact."""

    name, effort = "faiss IVF-PQ", "nprobe"
    efforts = (1, 4, 16, 64, 256)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import faiss

        lists = max(16, int(4 * count**0.5))  # faiss's own rule of thumb
        waiting: list[Vectors] = []
        for block in blocks:
            waiting.append(block)
            if hasattr(self, "_index") and self._index.is_trained:
                self._index.add(waiting.pop())
            elif sum(map(len, waiting)) >= min(count, 40 * lists):
                dims = block.shape[1]
                self._index = faiss.index_factory(dims, f"IVF{lists},PQ{dims // 4}", faiss.METRIC_INNER_PRODUCT)
                self._index.train(np.concatenate(waiting))
                self._index.add(np.concatenate(waiting))
                waiting.clear()

    def _efforts(self, effort: int) -> Any:
        import faiss

        return faiss.SearchParametersIVF(nprobe=effort)  # type: ignore[call-arg]


class Usearch(Engine):
    """usearch: a graph over float32."""

    name, effort = "usearch", "expansion"
    efforts = (10, 30, 100, 300, 1000)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from usearch.index import Index

        done = 0
        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = Index(ndim=block.shape[1], metric="ip", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)
            self._index.add(np.arange(done, done + len(block)), block)
            done += len(block)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        self._index.expansion_search = effort  # type: ignore[misc]
        return [int(key) for key in self._index.search(probe, k).keys]

    def disk(self) -> int:
        return int(self._index.serialized_length)


class Voyager(Engine):
    """Voyager: hnswlib's graph, as Spotify keeps it."""

    name, effort = "Voyager", "query_ef"
    efforts = (10, 30, 100, 300, 1000)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from voyager import Index, Space

        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = Index(Space.InnerProduct, block.shape[1], M=M, ef_construction=EF_CONSTRUCTION, max_elements=count)
            self._index.add_items(block, num_threads=os.cpu_count() or 1)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        return [int(row) for row in self._index.query(probe, k, query_ef=effort)[0]]

    def disk(self) -> int:
        return len(self._index.as_bytes())


class Hnswlib(Engine):
    """hnswlib, from NMSLIB: the first of these graphs."""

    name, effort = "hnswlib", "ef"
    efforts = (10, 30, 100, 300, 1000)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import hnswlib

        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = hnswlib.Index("ip", block.shape[1])
                self._index.init_index(count, M=M, ef_construction=EF_CONSTRUCTION)
            self._index.add_items(block)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        self._index.set_ef(max(effort, k))
        return [int(row) for row in self._index.knn_query(probe, k, num_threads=1)[0][0]]

    def disk(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save_index(str(path))
            return path.stat().st_size


class Annoy(Engine):
    """Annoy: a forest of random splits."""

    name, effort = "Annoy", "search_k"
    efforts = (1_000, 10_000, 100_000)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from annoy import AnnoyIndex

        done = 0
        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = AnnoyIndex(block.shape[1], "dot")
            for vector in block:
                self._index.add_item(done, vector)
                done += 1
        self._index.build(50)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        return [int(row) for row in self._index.get_nns_by_vector(probe, k, search_k=effort)]

    def disk(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save(str(path))
            return path.stat().st_size


IN_PROCESS: dict[str, type[Engine]] = {
    "numpy": Brute,
    "faiss-hnsw": FaissHnsw,
    "faiss-ivfpq": FaissIvfPq,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "voyager": Voyager,
    "annoy": Annoy,
}
