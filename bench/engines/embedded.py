"""Vector databases that run inside a program, and keep what they have in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.engines.engine import EF_CONSTRUCTION, Kept, M, pages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class Qdrant(Kept):
    """Qdrant Edge: the segments and graphs of Qdrant's server as a library, optimised before they are searched."""

    name, effort = "Qdrant Edge", "hnsw_ef"
    note = "Qdrant's engine as a library, without its server"
    efforts = (10, 30, 100, 300, 1000)
    packages, modules = ("qdrant-edge-py",), ("qdrant_edge",)
    _shard: Any = None

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import qdrant_edge as qdrant

        for row, part in pages(blocks):
            if self._shard is None:
                vectors = qdrant.EdgeVectorParams(size=part.shape[1], distance=qdrant.Distance.Dot)
                graph = qdrant.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=10)
                segments = qdrant.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1, max_segment_size=2**31)
                config = qdrant.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=segments)
                self._shard = qdrant.EdgeShard.create(str(self._own()), config)
            points = [qdrant.Point(number, vector.tolist()) for number, vector in enumerate(part, row)]
            self._shard.update(qdrant.UpdateOperation.upsert_points(points))
        self._shard.optimize()
        self._shard.flush()

    def _asked(self, probe: Vectors, k: int, effort: int) -> Any:
        import qdrant_edge as qdrant

        nearest = qdrant.Query.Nearest(probe.tolist())
        return qdrant.QueryRequest(limit=k, query=nearest, params=qdrant.SearchParams(hnsw_ef=max(effort, k)))

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        found: Sequence[Any] = self._shard.query(self._asked(probe, k, effort))
        return found

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        import qdrant_edge as qdrant

        asked = qdrant.QueryBatchRequest([self._asked(probe, k, effort) for probe in probes])
        found: Sequence[Sequence[Any]] = self._shard.query_batch(asked)
        return found

    def rows(self, found: Sequence[Any]) -> list[int]:
        return [int(point.id) for point in found]

    def details(self) -> dict[str, Any]:
        return {"segments": int(self._shard.info().segments_count)}

    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()
        super().close()


class Lance(Kept):
    """LanceDB: one graph in eight bits a dimension over a table of columns. It has no call for many searches at once."""

    name, effort = "LanceDB", "ef"
    efforts = (10, 30, 100, 300, 1000)
    packages, modules = ("lancedb",), ("lancedb", "pyarrow")
    _table: Any = None

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import lancedb
        import pyarrow
        from lancedb.index import HnswSq

        database = lancedb.connect(str(self._own()))

        def batches() -> Iterator[Any]:
            for row, part in pages(blocks):
                flat = pyarrow.array(part.reshape(-1))
                columns = {
                    "row": pyarrow.array(np.arange(row, row + len(part))),
                    "vector": pyarrow.FixedSizeListArray.from_arrays(flat, part.shape[1]),
                }
                yield pyarrow.table(columns)

        for batch in batches():
            if self._table is None:
                self._table = database.create_table("faces", batch)
            else:
                self._table.add(batch)
        graph = HnswSq(distance_type="dot", num_partitions=1, m=M, ef_construction=EF_CONSTRUCTION)
        self._table.create_index("vector", config=graph)
        self._table.optimize()

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        asked = self._table.search(probe).select(["row", "_distance"]).limit(k).ef(max(effort, k)).nprobes(1)
        found: Sequence[Any] = asked.to_arrow()["row"].to_pylist()
        return found


class DeepfaceFind(Kept):
    """``DeepFace.find`` as people call it, over the datastore that it keeps beside the photos.

    The code is DeepFace's own; the datastore is written by DeepFace's own writer, but with vectors that are known, and a model of ours
    in its registry takes the vector out of the "photo" that is searched for (see bench/engines/prepared). Not counted, then: detection,
    alignment and embedding; and, as ``refresh_database`` is off, the listing and hashing of all photos before each search, which is on
    by default.
    """

    name, effort = "DeepFace.find", ""
    note = "refresh_database off; photos not counted; every face is compared, and the datastore is read, in each search"
    efforts = (0,)
    packages = ("deepface", "pandas")
    most: ClassVar[int | None] = 20_000
    asks: ClassVar[int | None] = 5
    _TABLE: ClassVar[str] = "pandas"

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from bench.engines.prepared import plug_in

        plug_in()
        from deepface.modules import filestore, recognition

        box = {"target_x": 70, "target_y": 70, "target_w": 110, "target_h": 110}
        faces = [
            {"identity": str(row + number), "hash": f"{row + number:040}", "embedding": vector.tolist(), **box}
            for row, part in pages(blocks)
            for number, vector in enumerate(part)
        ]
        store = filestore.build_file_store(str(self._own()))
        path = store.join("ds_model_dlib_detector_skip_aligned_normalization_base_expand_0.npz")
        recognition.__dict__["__save_representations"](store, path, "npz", faces)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        from deepface import DeepFace

        from bench.engines.prepared import SHAPE

        found = DeepFace.find(
            probe.reshape(SHAPE).repeat(3, -1),
            str(self._own()),
            model_name="Dlib",
            detector_backend="skip",
            enforce_detection=False,
            similarity_search=True,
            k=k,
            silent=True,
            refresh_database=False,
            return_type=self._TABLE,
        )
        return found[0] if found else []

    def rows(self, found: Any) -> list[int]:
        return [int(name) for name in found["identity"]]


class DeepfaceFindDict(DeepfaceFind):
    """The same with ``return_type="dict"``, which compares with all faces at once."""

    name, _TABLE = 'DeepFace.find, return_type="dict"', "dict"
    most: ClassVar[int | None] = 100_000
    asks: ClassVar[int | None] = 20

    def rows(self, found: Any) -> list[int]:
        return [int(each["identity"]) for each in found]
