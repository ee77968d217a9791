"""The embedded node's life, with real processes: starting, sharing, dying, idling, stopping."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineError, StorageError, UsageError
from core.settings import ELASTICSEARCH_VERSION, Settings
from es.local import locks, memory, node, places, processes
from es.local.supervisor import is_up

# A command as any other: it makes sure that the node runs, prints where it is, and lives until its input closes.
COMMAND = """
import json, sys
from core.settings import Settings
from es.local import node
found = node.ensure(Settings())
print(json.dumps({"pid": found.pid, "url": found.url}), flush=True)
if "stay" in sys.argv:
    sys.stdin.read()
"""


def environment(settings: Settings) -> dict[str, str]:
    chosen = {
        "FACEDEX_DATA_DIR": str(settings.data_dir),
        "FACEDEX_NODE_HEAP": settings.node_heap or "",
        "FACEDEX_NODE_IDLE_MINUTES": str(settings.node_idle_minutes),
        "FACEDEX_NODE_PORT": str(settings.node_port),
    }
    return {**os.environ, **chosen}


def command(settings: Settings) -> dict[str, Any]:
    """Runs one to its end. Its output is a pipe, which nothing that stays behind may keep open."""
    done = subprocess.run([sys.executable, "-c", COMMAND], env=environment(settings), capture_output=True, timeout=120, check=True)
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def call(method: str, url: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found


def eventually(check: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_of(folder: Path) -> list[int]:
    """Every live process that names the folder on its command line."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [int(row[0]) for row in rows if len(row) == 3 and not row[1].startswith("Z") and str(folder) in row[2]]


@pytest.fixture
def make_settings(open_dir: Path) -> Iterator[Callable[..., Settings]]:
    """Settings of a node of one's own; whatever they started is gone afterwards."""
    made: list[Settings] = []

    def make(**more: Any) -> Settings:
        made.append(Settings(**{"data_dir": open_dir, "node_heap": "512m", **more}))
        return made[-1]

    yield make
    for settings in made:
        node.stop(settings)
        fd = node._in_use.pop(places.node_home(settings).path, None)
        if fd is not None:
            os.close(fd)
    assert processes_of(open_dir) == []


def test_one_node_for_all_through_crashes(make_settings: Callable[..., Settings], open_dir: Path) -> None:
    settings = make_settings()
    assert node.running(settings) is None
    with ThreadPoolExecutor(2) as pool:  # two real commands at the same moment
        first, second = pool.map(lambda _: command(settings), range(2))
    assert first == second
    _check_properties(settings, first)
    call("PUT", f"{first['url']}/faces", {"settings": {"number_of_replicas": 0}})
    call("PUT", f"{first['url']}/faces/_doc/1?refresh=true", {"who": "Ada"})

    os.kill(first["pid"], signal.SIGKILL)  # the server crashes
    third = command(settings)
    assert third["pid"] != first["pid"]
    assert call("GET", f"{third['url']}/faces/_doc/1")["_source"] == {"who": "Ada"}

    boss = node.read_state(places.node_home(settings))["supervisor"]
    server_mark = processes.mark(third["pid"])
    os.kill(boss["pid"], signal.SIGKILL)  # its supervisor is killed: the server doesn't outlive it
    assert processes.wait_gone(third["pid"], server_mark, 10)
    assert node.running(settings) is None
    assert node.stop(settings) is False
    fourth = command(settings)
    assert call("GET", f"{fourth['url']}/faces/_doc/1")["_source"] == {"who": "Ada"}

    assert node.stop(settings) is True
    assert node.running(settings) is None
    assert processes_of(open_dir) == []
    assert node.stop(settings) is False


def _check_properties(settings: Settings, found: dict[str, Any]) -> None:
    started = time.process_time()
    running = node.ensure(settings)
    assert time.process_time() - started < 0.02
    assert node.running(settings) == running
    assert (running.pid, running.url) == (found["pid"], found["url"])
    assert (running.version, running.heap) == (ELASTICSEARCH_VERSION, "512m")
    assert running.log == node.log_path(settings)
    assert "started" in running.log.read_text()
    assert abs(time.time() - running.started) < 120
    assert call("GET", f"{running.url}/_cluster/health")["cluster_name"] == "facedex"
    with pytest.raises(urllib.error.HTTPError):  # a mistyped collection makes no index
        call("PUT", f"{running.url}/mistyped/_doc/1", {})
    details = call("GET", f"{running.url}/_nodes/_local/http,transport,process")["nodes"].popitem()[1]
    for bound in (*details["http"]["bound_address"], *details["transport"]["bound_address"]):
        assert bound.startswith("127.0.0.1:")
    owner = running.data.stat()
    assert owner.st_mode & 0o007 == 0
    if os.geteuid() == 0:
        assert owner.st_uid != 0


def test_it_stops_when_idle_but_not_under_a_command(make_settings: Callable[..., Settings], open_dir: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = make_settings(node_idle_minutes=0.05, node_port=port)  # 3 s
    staying = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "stay"], env=environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with staying:
        assert staying.stdout is not None
        found = json.loads(staying.stdout.readline())
        assert found["url"] == f"http://127.0.0.1:{port}"
        time.sleep(6)  # twice as long as idle
        assert node.running(settings) is not None
        staying.kill()  # a killed command doesn't hold the node
    assert eventually(lambda: processes_of(open_dir) == [], 20)
    assert node.running(settings) is None


def test_a_port_that_is_taken(make_settings: Callable[..., Settings], open_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"{port}.*taken") as caught:
            node.ensure(make_settings(node_port=port))
    assert caught.value.code == "port_taken"
    assert processes_of(open_dir) == []


def test_a_start_that_takes_too_long_is_stopped(make_settings: Callable[..., Settings], open_dir: Path) -> None:
    with pytest.raises(EngineError) as caught:
        node.ensure(make_settings(node_start_seconds=0.5))
    assert caught.value.code == "engine_start"
    assert processes_of(open_dir) == []


def test_a_server_that_can_not_start_tells_why(make_settings: Callable[..., Settings], open_dir: Path) -> None:
    settings = make_settings(node_heap="1m")
    with pytest.raises(EngineError, match="Too small maximum heap") as caught:
        node.ensure(settings)
    assert caught.value.code == "engine_start"
    assert "server.out" in str(caught.value)  # no log yet
    assert "\n" not in str(caught.value)
    assert processes_of(open_dir) == []


def test_a_node_is_up_once_its_indices_are_open_but_for_broken_ones() -> None:
    def answer(status: int, **health: int) -> bytes:
        return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\r\n".encode() + json.dumps(health).encode()

    assert is_up(answer(200))
    assert is_up(answer(401))
    assert not is_up(answer(503))
    assert not is_up(b"")
    assert not is_up(answer(408, initializing_shards=4, unassigned_shards=100))
    assert not is_up(answer(408, initializing_shards=0, number_of_pending_tasks=1))
    assert is_up(answer(408, initializing_shards=0, number_of_pending_tasks=0, unassigned_shards=1))


def test_a_state_of_before_a_reboot_is_ignored(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    home = places.node_home(settings)
    places.make_home(home, places.server_user(settings))
    mine = {"pid": os.getpid(), "mark": "another boot, another process"}
    home.state.write_text(json.dumps({"phase": "ready", "port": 9, "server": mine, "supervisor": mine}))
    assert node.running(settings) is None
    assert node.stop(settings) is False  # and this process is still here
    home.state.write_text("half a sta")
    assert node.running(settings) is None


def test_a_data_folder_below_a_file(open_dir: Path) -> None:
    (open_dir / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        node.ensure(Settings(data_dir=open_dir / "file" / "data"))


def test_a_disk_that_is_full(small_disk: Path, make_settings: Callable[..., Settings]) -> None:
    (small_disk / "filler").write_bytes(b"x" * 8192)
    settings = make_settings(data_dir=small_disk)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        node.ensure(settings)
    assert caught.value.code == "disk_full"


def test_a_disk_that_is_read_only(small_disk: Path, make_settings: Callable[..., Settings]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="read-only"):
        node.ensure(make_settings(data_dir=small_disk))


def test_an_unknown_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    for name in ("no-such-user", "root"):
        with pytest.raises(UsageError, match="FACEDEX_NODE_USER"):
            node.running(Settings(node_user=name))


def test_where_the_node_is_when_its_user_can_not_enter(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    monkeypatch.setattr(places, "SYSTEM_DATA", open_dir / "lib")
    monkeypatch.setattr(places, "SYSTEM_CACHE", open_dir / "cache")
    (open_dir / "closed").mkdir(mode=0o700)
    closed, other = (Settings(data_dir=open_dir / "closed" / x, cache_dir=open_dir / "closed" / x) for x in "ab")
    assert places.node_home(Settings(data_dir=open_dir / "new")).path == open_dir / "new" / "node"
    assert places.node_home(closed).path.parent == open_dir / "lib"
    assert places.server_cache(closed).parent == open_dir / "cache"
    assert places.node_home(closed) != places.node_home(other)

    places.make_home(places.node_home(closed), places.server_user(closed))
    (open_dir / "closed").chmod(0o711)  # opened later: the node stays where its data is
    assert places.node_home(closed).path.parent == open_dir / "lib"
    assert places.node_home(other).path == open_dir / "closed" / "b" / "node"

    places.make_home(places.node_home(other), places.server_user(other))
    (open_dir / "closed").chmod(0o700)  # closed later: an empty node in another place would be worse than an error
    with pytest.raises(StorageError, match="nobody"):
        places.node_home(other)


def test_heap(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.heap("2G") == "2g"
    for total, expected in ((1, "512m"), (8, "2048m"), (64, "4096m")):
        monkeypatch.setattr(memory, "available", lambda total=total: total * 1024**3)
        assert memory.heap(None) == expected
    monkeypatch.undo()
    # A container that may use 3 GB, in a group that may use more.
    (open_dir / "own").write_text("0::/outer/inner\n")
    (open_dir / "groups" / "outer" / "inner").mkdir(parents=True)
    (open_dir / "groups" / "outer" / "memory.max").write_text(f"{3 * 1024**3}\n")
    (open_dir / "groups" / "outer" / "inner" / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_OWN_CGROUP", open_dir / "own")
    monkeypatch.setattr(memory, "_CGROUPS", open_dir / "groups")
    assert memory.available() <= 3 * 1024**3


def test_locks_are_shared_or_not(open_dir: Path) -> None:
    path = open_dir / "lock"
    assert not locks.held(path)
    with locks.exclusive(path, seconds=1):
        assert locks.held(path)
        with pytest.raises(TimeoutError):
            locks.take(path, seconds=0.1, shared=True)
    shared = locks.take(path, seconds=0, shared=True)
    os.close(locks.take(path, seconds=0, shared=True))
    with pytest.raises(TimeoutError):
        locks.take(path, seconds=0)
    os.close(shared)
    assert not locks.held(path)


def test_a_process_is_known_by_its_birth(open_dir: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    with subprocess.Popen([sleep, "60"]) as child:
        its_mark = processes.mark(child.pid)
        assert processes.same(child.pid, its_mark)
        assert not processes.send(child.pid, "someone else", signal.SIGKILL)
        assert processes.send(child.pid, its_mark, signal.SIGKILL)
        assert processes.wait_gone(child.pid, its_mark, 5)  # a zombie counts as gone
    assert processes.mark(child.pid) is None
