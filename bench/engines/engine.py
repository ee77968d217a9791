"""What every way to search has to do, and what those over the wire share.

Vectors have length 1, so that inner product is cosine. A row is a number from 0, in the order of the stream.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import psutil

from es.index_types import GRAPH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

M, EF_CONSTRUCTION = GRAPH["m"], GRAPH["ef_construction"]  # of every graph whose maker lets them be set, as in a collection
PAGE = 2_000  # vectors in a request

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0

Answer = TypeVar("Answer")


class Engine(ABC):
    """One way to search."""

    name: ClassVar[str]
    effort: ClassVar[str]  # what its number of effort is called
    efforts: ClassVar[Sequence[int]]
    packages: ClassVar[Sequence[str]] = ()  # whose versions are told
    modules: ClassVar[Sequence[str]] = ()  # imported before its memory is measured
    note: ClassVar[str] = ""  # what a reader of its figures has to know
    most: ClassVar[int | None] = None  # faces: with more it takes hours
    asks: ClassVar[int | None] = None  # probes, for the same reason
    served: ClassVar[bool] = False  # by another process, so that its clients can be in several

    @abstractmethod
    def build(self, blocks: Iterable[Vectors], count: int) -> None:
        """Takes all vectors in, until they can be found.

        Args:
            blocks: (n, dims) each.
            count: of the vectors in all.
        """

    def prepare(self, effort: int) -> None:  # noqa: B027  most are told with each search
        """Sets the effort, where it is one for all clients; before any of them searches."""

    @abstractmethod
    def find(self, probe: Vectors, k: int, effort: int) -> Sequence[Any]:
        """The k nearest of one probe, (dims,), best first, by the engine's own names. Called by several threads."""

    def many(self, probes: Vectors, k: int, effort: int) -> Sequence[Sequence[Any]]:
        """The same for many probes at once, by the engine's own call for that where it has one."""
        return [self.find(probe, k, effort) for probe in probes]

    def rows(self, found: Sequence[Any]) -> list[int]:
        """The rows of what was found; not part of any time that is measured."""
        return [int(each) for each in found]

    @abstractmethod
    def disk(self) -> int:
        """Bytes that it keeps on disk, or would."""

    def memory(self) -> int | None:
        """Bytes of the processes that serve it; ``None`` where it lives in this one, or elsewhere."""
        return None

    def versions(self) -> dict[str, str]:
        """Of what is measured."""
        return {package: version(package) for package in self.packages}

    def details(self) -> dict[str, Any]:
        """What else belongs to its figures."""
        return {}

    def close(self) -> None:  # noqa: B027  most have nothing to end
        """Ends it, where there is something to end."""


class Kept(Engine):
    """It keeps what it has in a folder, which is made when it is needed and goes when it is closed."""

    _folder: Path | None = None

    def _own(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="facedex-bench-"))
        return self._folder

    def disk(self) -> int:
        return folder_bytes(self._own())

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class Served(Kept):
    """Over the wire: each thread has a connection of its own, and a copy of it can be sent to another process, which connects by itself."""

    served = True

    def __init__(self) -> None:
        self._at: dict[str, Any] = {}  # all that a client has to know
        self._server: Server | None = None
        self._here = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return self._at

    def __setstate__(self, at: dict[str, Any]) -> None:
        self._at, self._folder, self._server, self._here = at, None, None, threading.local()

    @abstractmethod
    def _connect(self) -> Any:
        """A client."""

    @property
    def _client(self) -> Any:
        if not hasattr(self._here, "client"):
            self._here.client = self._connect()
        return self._here.client

    def memory(self) -> int | None:
        return None if self._server is None else tree_bytes(self._server.pid)

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
        super().close()


class Server:
    """A process of ours, on loopback."""

    def __init__(self, command: Sequence[str], log: Path, **how: Any) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, **how)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def wait(self, ask: Callable[[], Answer]) -> Answer:
        """The first answer; until then every exception is taken for a server that isn't there yet."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return ask()
            except Exception:  # noqa: BLE001
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"it did not start: {self._log.read_text(errors='replace')[-500:]}") from None
                time.sleep(0.2)

    def stop(self) -> None:
        """Ends it and what it started."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.pid)
            processes = [root, *root.children(recursive=True)]
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
            for process in psutil.wait_procs(processes, _STOP_SECONDS)[1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def folder_bytes(folder: Path) -> int:
    """What the files in it take of the disk: some are made long in advance, and empty."""
    return sum(512 * file.stat().st_blocks for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def tree_bytes(pid: int) -> int:
    """Memory of a process and its children, each shared page counted once (a page of a mapped file counts while it is mapped in)."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seen = process.memory_full_info()
            total += int(getattr(seen, "pss", seen.rss))
    return total


def pages(blocks: Iterable[Vectors], size: int = PAGE) -> Iterator[tuple[int, Vectors]]:
    """The stream in pieces of a request, each with the row of its first."""
    row = 0
    for block in blocks:
        for start in range(0, len(block), size):
            part = block[start : start + size]
            yield row, part
            row += len(part)
