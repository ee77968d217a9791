"""The nodes of a cluster as containers of a Docker engine: a network and, for each node, a container and a volume of its faces.

The names and labels are made of the plan's folder, so that two clusters never mix. What goes into a node's configuration is copied into its
container, which a remote engine can do as well, and nothing secret stands in a container's description. A container that stopped is made
anew: all that matters is in its volume.
"""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from core.errors import EngineError
from core.settings import ELASTICSEARCH_VERSION, settings
from es.cluster import engine as engines
from es.cluster.engine import available
from es.cluster.plan import Member, Plan
from es.cluster.shape import free_port, node_settings
from es.local import telling

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

__all__ = ["available", "down", "members", "stop", "up"]

IMAGE = f"docker.elastic.co/elasticsearch/elasticsearch:{ELASTICSEARCH_VERSION}"

_CLUSTER, _NODE, _PORT, _FORMED = (f"facedex.{word}" for word in ("cluster", "node", "port", "formed"))  # labels
_HOME = "/usr/share/elasticsearch"
_SNAPSHOTS = f"{_HOME}/snapshots"  # a volume that all nodes share
_OWNER = (1000, 0)  # who Elasticsearch is in the image
_STOP_SECONDS = 30
_POLL = 0.5
_LOG_LINES = 200
_MEGABYTE = 1 << 20


def up(plan: Plan, say: Callable[[str], None]) -> list[Member]:
    """Starts the nodes that don't run, all at the same time, and waits until each answers; then says where all are.

    Raises:
        EngineError: there is no engine, no image, or a node can't be started; the others go on.
    """
    with engines.engine() as client:
        engines.ensure_image(client, IMAGE, say)
        there = _containers(client, plan)
        missing = [name for name in plan.names if name not in there or there[name].status != "running"]
        if missing:
            say(f"Starting Elasticsearch in containers ({', '.join(missing)}).")
            _network(client, plan)
            formed = _is_formed(client, plan)
            for name in missing:
                if name in there:
                    there[name].remove(force=True)
                there[name] = _start(client, plan, name, formed=formed)
        _await_all({name: there[name] for name in plan.names}, plan)
        if missing:
            _note_formed(client, plan)
    return members(plan)


def members(plan: Plan) -> list[Member]:
    """The nodes as they are now.

    Raises:
        EngineError: there is no engine.
    """
    with engines.engine() as client:
        there = _containers(client, plan)
    return [_member(name, there.get(name)) for name in plan.names]


def down(plan: Plan, *, erase: bool) -> bool:
    """Stops all nodes; says whether there were any. Their faces stay, unless ``erase``.

    Raises:
        EngineError: there is no engine.
    """
    with engines.engine() as client:
        containers = list(_containers(client, plan).values())
        if containers:
            with ThreadPoolExecutor(len(containers)) as pool:
                list(pool.map(_stop, containers))
        ours = {"filters": {"label": f"{_CLUSTER}={mark(plan)}"}}
        for network in client.networks.list(**ours):
            network.remove()
        for volume in client.volumes.list(**ours) if erase else ():
            volume.remove(force=True)
    return bool(containers)


def stop(plan: Plan, name: str) -> bool:
    """Stops one node in good order; says whether there was a container of it.

    Raises:
        EngineError: there is no engine.
    """
    with engines.engine() as client:
        container = _containers(client, plan).get(name)
        if container is not None:
            _stop(container)
    return container is not None


def _stop(container: Container) -> None:
    if container.status == "paused":
        container.unpause()
    container.stop(timeout=_STOP_SECONDS)
    container.remove(force=True)


def mark(plan: Plan) -> str:
    """What all labels and names of a cluster hold: made of its folder."""
    return hashlib.sha256(str(plan.folder.resolve()).encode()).hexdigest()[:12]


def _called(plan: Plan, what: str) -> str:
    return f"facedex-{mark(plan)}-{what}"


def _containers(client: DockerClient, plan: Plan) -> dict[str, Container]:
    found = client.containers.list(all=True, ignore_removed=True, filters={"label": f"{_CLUSTER}={mark(plan)}"})
    return {container.labels[_NODE]: container for container in found}


def _member(name: str, container: Container | None) -> Member:
    if container is None:
        return Member(name, None, running=False, id="")
    running = container.status == "running"
    return Member(name, _url(container) if running else None, running=running, id=str(container.short_id))


def _url(container: Container) -> str:
    return f"https://127.0.0.1:{container.labels[_PORT]}"


def _network(client: DockerClient, plan: Plan) -> None:
    name = _called(plan, "network")
    if not client.networks.list(names=[name]):
        client.networks.create(name, driver="bridge", labels={_CLUSTER: mark(plan)})


def _start(client: DockerClient, plan: Plan, name: str, *, formed: bool) -> Container:
    from docker.types import EndpointConfig

    network = _called(plan, "network")
    volume = _volume(client, plan, name)
    port = int(volume.attrs["Labels"][_PORT])
    limit = _memory_limit(plan.heap)
    container = client.containers.create(
        IMAGE,
        name=_called(plan, name),
        hostname=name,
        labels={_CLUSTER: mark(plan), _NODE: name, _PORT: str(port)},
        network=network,
        networking_config={network: EndpointConfig(client.api.api_version, aliases=[name])},
        ports={"9200/tcp": ("127.0.0.1", port)},
        volumes={
            volume.name: {"bind": f"{_HOME}/data", "mode": "rw"},
            _called(plan, "snapshots"): {"bind": _SNAPSHOTS, "mode": "rw"},
        },
        mem_limit=limit,
        memswap_limit=limit,  # none: a heap that is swapped makes a node seem dead
        restart_policy={"Name": "unless-stopped"},
        log_config={"type": "json-file", "config": {"max-size": "10m", "max-file": "3"}},
        security_opt=["no-new-privileges:true"],
    )
    container.put_archive(_HOME, _archive({}, [_SNAPSHOTS.rpartition("/")[2]]))  # a new volume belongs to root
    container.put_archive(f"{_HOME}/config", _archive(_files(plan, name, formed=formed)))
    container.start()
    return container


def _volume(client: DockerClient, plan: Plan, name: str) -> Any:
    """The volume of a node's faces, made if it isn't there. It remembers the node's port, so that programs find the node again."""
    from docker.errors import NotFound

    called = _called(plan, name)
    try:
        return client.volumes.get(called)
    except NotFound:
        return client.volumes.create(called, labels={_CLUSTER: mark(plan), _NODE: name, _PORT: str(free_port())})


def _is_formed(client: DockerClient, plan: Plan) -> bool:
    """Whether any node knows the cluster. Where none does (an erasure was cut off), they would wait for each other for ever."""
    marks = f"{_FORMED}={mark(plan)}", [f"{_CLUSTER}={mark(plan)}", _NODE]
    return all(client.volumes.list(filters={"label": label}) for label in marks)


def _note_formed(client: DockerClient, plan: Plan) -> None:
    """An empty volume says that the cluster was there: labels of those with faces can't change, and it lives as long as they do."""
    client.volumes.create(_called(plan, "formed"), labels={_CLUSTER: mark(plan), _FORMED: mark(plan)})


def _memory_limit(heap: str) -> int:
    """Bytes: twice the heap, for vectors are read through the system's file cache, and half a gigabyte for the Java machine."""
    megabytes = int(heap[:-1]) * (1024 if heap[-1] in "gG" else 1)
    return (2 * megabytes + 512) * _MEGABYTE


def _files(plan: Plan, name: str, *, formed: bool) -> dict[str, bytes]:
    values = {
        **node_settings(plan, name, formed=formed),
        "path.repo": [_SNAPSHOTS],
        "network.host": "0.0.0.0",  # noqa: S104 - of the container: outside it, only this machine's loopback leads there
        "discovery.seed_hosts": [other for other in plan.names if other != name],
    }
    files = {path.name: path.read_bytes() for path in sorted(plan.files(name).iterdir()) if path.is_file()}
    files["elasticsearch.yml"] = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()).encode()
    # A dump would hold faces, and fill the disk.
    files["jvm.options.d/facedex.options"] = f"-Xms{plan.heap}\n-Xmx{plan.heap}\n-XX:-HeapDumpOnOutOfMemoryError\n".encode()
    return files


def _archive(files: dict[str, bytes], folders: Sequence[str] = ()) -> bytes:
    """A tar archive of files and folders that only Elasticsearch can read."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for folder in sorted({*folders, *(name.rpartition("/")[0] for name in files)} - {""}):
            archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o770))
        for name, data in files.items():
            entry = _entry(name, tarfile.REGTYPE, 0o600)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, time.time()
    entry.uid, entry.gid = _OWNER
    return entry


def _await_all(containers: dict[str, Container], plan: Plan) -> None:
    deadline = time.monotonic() + settings().node_start_seconds
    trusted = ssl.create_default_context(cafile=str(plan.files(plan.names[0]) / "ca.crt"))
    waiting = dict(containers)
    restarts = {name: container.attrs["RestartCount"] for name, container in containers.items()}
    while True:
        for name, container in list(waiting.items()):
            if _answers(_url(container), trusted):
                del waiting[name]
            elif _died(container, restarts[name]):
                why = _telling(container)
                container.stop(timeout=_STOP_SECONDS)  # it would be started again and again
                raise EngineError(f"The node {name} did not start: {why}.", code="engine_start")
        if not waiting:
            return
        if time.monotonic() > deadline:
            name, container = next(iter(waiting.items()))
            raise EngineError(f"The node {name} did not answer in time: see `docker logs {container.name}`.", code="engine_start")
        time.sleep(_POLL)


def _answers(url: str, trusted: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=trusted):  # noqa: S310 - https, made by _url
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code in {401, 405}  # 405: a distribution without `GET /`
    except OSError:
        return False


def _died(container: Container, restarts: int) -> bool:
    container.reload()
    return container.status in {"exited", "dead"} or container.attrs["RestartCount"] > restarts


def _telling(container: Container) -> str:
    if container.attrs["State"].get("OOMKilled"):
        return "it took more memory than it may: give it more heap"
    log = container.logs(tail=_LOG_LINES).decode(errors="replace")
    if "vm.max_map_count" in log:
        return "the kernel lets it map too few files: run `sysctl -w vm.max_map_count=1048576` as root on the machine of the engine"
    return telling.line(log)
