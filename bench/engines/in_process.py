"""Vector search in this process, in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.engines.engine import EF_CONSTRUCTION, Engine, M

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class Brute(Engine):
    """Every vector, in numpy: exact."""

    name, effort = "numpy, every vector", ""
    efforts = (0,)
    packages, modules = ("numpy",), ("numpy",)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        self._all: Vectors = np.concatenate(list(blocks))

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        likeness = probes @ self._all.T
        best = np.argpartition(-likeness, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(likeness, best, 1), axis=1, kind="stable")
        return np.take_along_axis(best, order, 1)  # type: ignore[no-any-return, return-value]

    def disk(self) -> int:
        return int(self._all.nbytes)


class _Faiss(Engine):
    _index: Any

    def _efforts(self, effort: int) -> Any:
        raise NotImplementedError

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        return self._index.search(probes, k, params=self._efforts(effort))[1]  # type: ignore[no-any-return, return-value]

    def disk(self) -> int:
        import faiss

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            faiss.write_index(self._index, str(path))
            return path.stat().st_size


class FaissHnsw(_Faiss):
    """faiss's graph over float32."""

    name, effort = "faiss HNSW", "efSearch"
    efforts = (10, 30, 100, 300, 1000, 3000, 10_000)  # Facedex is held to what it takes at equal rank-1, and that is far
    packages, modules = ("faiss-cpu",), ("faiss",)

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
    packages, modules = ("faiss-cpu",), ("faiss",)

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
                # "np": without polysemous codes, which take minutes to train and are of no use to these searches.
                self._index = faiss.index_factory(dims, f"IVF{lists},PQ{dims // 4}np", faiss.METRIC_INNER_PRODUCT)
                self._index.train(np.concatenate(waiting))
                self._index.add(np.concatenate(waiting))
                waiting.clear()

    def _efforts(self, effort: int) -> Any:
        import faiss

        return faiss.SearchParametersIVF(nprobe=effort)  # type: ignore[call-arg]


class Usearch(Engine):
    """usearch: a graph over float32."""

    name, effort = "usearch", "expansion"
    efforts = (10, 30, 100, 300, 1000, 3000)
    packages, modules = ("usearch",), ("usearch.index",)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from usearch.index import Index

        done = 0
        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = Index(ndim=block.shape[1], metric="ip", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)
            self._index.add(np.arange(done, done + len(block)), block)
            done += len(block)

    def prepare(self, effort: int) -> None:
        self._index.expansion_search = effort  # type: ignore[misc]

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self._index.search(probe, k, threads=1).keys  # type: ignore[no-any-return, return-value]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        return self._index.search(probes, k).keys  # type: ignore[no-any-return, return-value]

    def disk(self) -> int:
        return int(self._index.serialized_length)


class Voyager(Engine):
    """Voyager: hnswlib's graph, as Spotify keeps it."""

    name, effort = "Voyager", "query_ef"
    efforts = (10, 30, 100, 300, 1000, 3000)
    packages, modules = ("voyager",), ("voyager",)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from voyager import Index, Space

        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = Index(Space.InnerProduct, block.shape[1], M=M, ef_construction=EF_CONSTRUCTION, max_elements=count)
            self._index.add_items(block, num_threads=os.cpu_count() or 1)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self._index.query(probe, k, num_threads=1, query_ef=effort)[0]  # type: ignore[no-any-return, return-value]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        return self._index.query(probes, k, num_threads=os.cpu_count() or 1, query_ef=effort)[0]  # type: ignore[no-any-return, return-value]

    def disk(self) -> int:
        return len(self._index.as_bytes())


class Hnswlib(Engine):
    """hnswlib, from NMSLIB: the first of these graphs."""

    name, effort = "hnswlib", "ef"
    efforts = (10, 30, 100, 300, 1000, 3000)
    packages, modules = ("hnswlib",), ("hnswlib",)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import hnswlib

        for block in blocks:
            if not hasattr(self, "_index"):
                self._index = hnswlib.Index("ip", block.shape[1])
                self._index.init_index(count, M=M, ef_construction=EF_CONSTRUCTION)
            self._index.add_items(block)

    def prepare(self, effort: int) -> None:
        self._index.set_ef(effort)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self._index.knn_query(probe, k, num_threads=1)[0][0]  # type: ignore[no-any-return, return-value]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        return self._index.knn_query(probes, k)[0]  # type: ignore[no-any-return, return-value]

    def disk(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save_index(str(path))
            return path.stat().st_size


class Annoy(Engine):
    """Annoy: a forest of random splits."""

    name, effort = "Annoy", "search_k"
    efforts = (1_000, 10_000, 100_000)
    packages, modules = ("annoy",), ("annoy",)

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

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self._index.get_nns_by_vector(probe, k, search_k=effort)  # type: ignore[no-any-return, return-value]

    def disk(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save(str(path))
            return path.stat().st_size
