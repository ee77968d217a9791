"""OpenSearch with its k-NN plugin, both from Maven Central; its graph is Lucene's, as Facedex's."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.engine import EF_CONSTRUCTION, M, Served, Server, free_port, pages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.settings import Settings

    Vectors = NDArray[np.float32]

VERSION = "3.5.0"
_HEAP = "2g"
_MERGE_SECONDS = 3600
_ARCHIVES = (  # group, name, version, SHA-256
    (
        "org.opensearch.distribution.integ-test-zip",
        "opensearch",
        VERSION,
        "b676ad392c95a94d8d2bd8785b8b922c7811536daf6a9ec0c7277a34bd8a17a9",
    ),
    ("org.opensearch.plugin", "opensearch-knn", f"{VERSION}.0", "99fdf3ac9ef95974e276298b83a58532bf21ba13bd5fd96a4b59465b7e613309"),
)
_DOWNLOAD = """
import sys
from maven_artifact import Artifact
from maven_artifact.downloader import Downloader
group, name, version, file = sys.argv[1:]
Downloader().download(Artifact(group, name, version, extension="zip"), filename=file)
"""


class OpenSearch(Served):
    """Vectors alone, without documents; as many segments a shard as Facedex merges to. A batch is one multi-search.

    The plugin of Maven Central has no native code, so that this is its "lucene" engine, not "faiss".
    """

    name, effort = "OpenSearch", "ef_search"
    efforts = (10, 30, 100, 300, 1000, 3000)
    packages = ("opensearch-py",)
    _METHOD: ClassVar[dict[str, Any]] = {}

    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        from core.settings import settings
        from es.merging import SEGMENTS

        self._at["port"] = free_port()
        self._server = _start(settings(), self._own(), self._at["port"])
        client = self._server.wait(self._reach)
        for row, part in pages(blocks):
            if row == 0:
                client.indices.create(index="faces", body=self._index(part.shape[1]))
            lines: list[Any] = []
            for number, vector in enumerate(part, row):
                lines += ({"index": {"_id": str(number)}}, {"embedding": vector.tolist()})
            if client.bulk(index="faces", body=lines, request_timeout=300)["errors"]:
                raise RuntimeError("OpenSearch did not take all vectors")
        client.indices.refresh(index="faces")
        client.indices.forcemerge(index="faces", max_num_segments=SEGMENTS, request_timeout=_MERGE_SECONDS)
        client.indices.refresh(index="faces")

    def _index(self, dims: int) -> dict[str, Any]:
        parameters = {"m": M, "ef_construction": EF_CONSTRUCTION} | self._METHOD
        method = {"name": "hnsw", "engine": "lucene", "parameters": parameters}
        vector = {"type": "knn_vector", "dimension": dims, "space_type": "innerproduct", "method": method}
        return {
            "settings": {"index": {"knn": True, "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": -1}},
            "mappings": {"_source": {"excludes": ["embedding"]}, "properties": {"embedding": vector}},
        }

    def _reach(self) -> Any:
        client = self._connect()
        client.cluster.health(wait_for_status="green")
        return client

    def _connect(self) -> Any:
        from opensearchpy import OpenSearch as Client

        return Client(f"http://127.0.0.1:{self._at['port']}", timeout=60)

    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        hits: Sequence[Any] = self._client.search(index="faces", body=_query(probe, k, effort))["hits"]["hits"]
        return hits

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        lines: list[Any] = []
        for probe in probes:
            lines += ({}, _query(probe, k, effort))
        return [each["hits"]["hits"] for each in self._client.msearch(index="faces", body=lines)["responses"]]

    def rows(self, found: Sequence[Any]) -> list[int]:
        return [int(each["_id"]) for each in found]

    def disk(self) -> int:
        return int(self._client.indices.stats(index="faces")["_all"]["primaries"]["store"]["size_in_bytes"])

    def versions(self) -> dict[str, str]:
        return super().versions() | {"server": self._client.info()["version"]["number"]}

    def details(self) -> dict[str, Any]:
        return {"shards": 1, "segments": len(self._client.cat.segments(index="faces", format="json")), "heap": _HEAP}


class OpenSearchBytes(OpenSearch):
    """The same with seven bits a dimension, Lucene's own quantisation."""

    name = "OpenSearch, 7 bits"
    _METHOD: ClassVar[dict[str, Any]] = {"encoder": {"name": "sq"}}


def _query(probe: Vectors, k: int, effort: int) -> dict[str, Any]:
    knn = {"vector": probe.tolist(), "k": k, "method_parameters": {"ef_search": max(effort, k)}}
    return {"size": k, "_source": False, "query": {"knn": {"embedding": knn}}}


def _start(settings: Settings, folder: Path, port: int) -> Server:
    from es.local import jdk, places

    home = _find(settings)
    user = places.server_user(settings)
    config = folder / "config"
    shutil.copytree(home / "config", config)
    (config / "opensearch.yml").write_text(
        f"discovery.type: single-node\nnetwork.host: 127.0.0.1\nhttp.port: {port}\ntransport.port: {free_port()}\n"
        f"path.data: {folder / 'data'}\npath.logs: {folder}\n"
    )
    options = (config / "jvm.options").read_text().splitlines()  # its logs would stand below its home
    (config / "jvm.options").write_text("\n".join(line for line in options if "logs/" not in line) + "\n")
    heap = f"-Xms{_HEAP} -Xmx{_HEAP}"
    environment = os.environ | {
        "OPENSEARCH_JAVA_HOME": str(jdk.find_java_home(settings)),
        "OPENSEARCH_JAVA_OPTS": heap,
        "OPENSEARCH_PATH_CONF": str(config),
    }
    how: dict[str, Any] = {"cwd": folder, "env": environment}
    log = folder / "log"
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.uid, user.gid)
        how |= {"user": user.uid, "group": user.gid, "extra_groups": []}
    return Server([str(home / "bin" / "opensearch")], log, **how)


def _find(settings: Settings) -> Path:
    """The folder of the unpacked server with its plugin, brought if it isn't there."""
    from es.local import distribution, places

    home = places.server_cache(settings) / f"opensearch-{VERSION}"
    if home.is_dir():
        return home
    places.make_folder(home.parent)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{home.name}-part-") as part:
        tree = Path(part) / "tree"
        for (group, name, version, known), into in zip(_ARCHIVES, (tree, tree / home.name / "plugins" / "opensearch-knn"), strict=True):
            archive = Path(part) / "archive.zip"
            command = [sys.executable, "-P", "-c", _DOWNLOAD, group, name, version, str(archive)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with archive.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != known:
                    raise RuntimeError(f"{name} {version} is not the archive that is known")
            distribution.unpack(archive, into)
        (tree / home.name).rename(home)
    return home
