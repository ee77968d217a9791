"""The ways to search that are measured beside each other, by the names that they have on the command line."""

from __future__ import annotations

from bench.engines import embedded, facedex, in_process, opensearch, postgres, servers
from bench.engines.engine import Engine

ENGINES: dict[str, type[Engine]] = {
    "facedex": facedex.Facedex,
    "facedex-cells": facedex.FacedexCells,
    "facedex-cells-far": facedex.FacedexCellsFar,
    "facedex-graph": facedex.FacedexGraph,
    "facedex-hnsw": facedex.FacedexFloat,
    "facedex-int4": facedex.FacedexInt4,
    "facedex-bbq": facedex.FacedexBit,
    "opensearch": opensearch.OpenSearch,
    "opensearch-sq": opensearch.OpenSearchBytes,
    "pgvector": postgres.Pgvector,
    "redis": servers.Redis,
    "redis-float": servers.RedisFloat,
    "milvus": servers.Milvus,
    "chroma": servers.Chroma,
    "deepface-search": postgres.DeepfaceSearch,
    "deepface-find": embedded.DeepfaceFind,
    "deepface-find-dict": embedded.DeepfaceFindDict,
    "qdrant": embedded.Qdrant,
    "lancedb": embedded.Lance,
    "numpy": in_process.Brute,
    "faiss-hnsw": in_process.FaissHnsw,
    "faiss-ivfpq": in_process.FaissIvfPq,
    "hnswlib": in_process.Hnswlib,
    "usearch": in_process.Usearch,
    "voyager": in_process.Voyager,
    "annoy": in_process.Annoy,
}
