"""The Elasticsearch server itself: brought once by ``maven-artifact``, checked against a pinned SHA-256, unpacked into the cache."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import EngineError, StorageError
from core.settings import ELASTICSEARCH_VERSION
from es.local import places

if TYPE_CHECKING:
    from core.settings import Settings

GROUP = "org.elasticsearch.distribution.integ-test-zip"
SHA256 = "d9b0c28e08e499f6510b52ad66ec4bf9cdceab97cc28b3456989b8744b896934"
ZIP_BYTES = 132_432_175
UNPACKED_BYTES = 160_000_000  # rounded up

_STALL_SECONDS = 60.0  # a download that stands still for so long is given up
_LOCK_SECONDS = 1800.0  # for another command's download
_REMEDY = "Free it, or set FACEDEX_CACHE_DIR to another place."

# Runs apart: it prints to stdout, where only results belong, and waits for ever on a connection that stalls. It ends with us: when its
# input closes.
_DOWNLOAD = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(254)), daemon=True).start()
from maven_artifact import Artifact
from maven_artifact.downloader import Downloader
try:
    Downloader().download(Artifact(sys.argv[1], "elasticsearch", sys.argv[2], extension="zip"), filename=sys.argv[3])
except Exception as error:
    sys.exit(getattr(error, "errno", None) or 255)
"""


def find_server(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder of the unpacked server, brought if it isn't there.

    Raises:
        EngineError: ``download``; no network, or not the file that we know.
        StorageError: it can't be written.
    """
    target = places.server_cache(settings) / f"elasticsearch-{ELASTICSEARCH_VERSION}"
    if target.is_dir():  # it got its name last of all, so it is whole
        return target
    from filelock import FileLock, Timeout

    places.make_folder(target.parent)
    try:
        with FileLock(f"{target}.lock", timeout=_LOCK_SECONDS):
            if not target.is_dir():
                _bring(target, say)
    except Timeout:
        raise EngineError(
            "Another command has been downloading Elasticsearch for half an hour: stop it and try again.", code="download"
        ) from None
    except OSError as error:
        raise StorageError.of(error, f"write to {target.parent}", _REMEDY) from None
    return target


def _bring(target: Path, say: Callable[[str], None]) -> None:
    _sweep(target)
    if shutil.disk_usage(target.parent).free < ZIP_BYTES + UNPACKED_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-part-") as part:
        archive = Path(part) / "server.zip"
        say(f"Downloading Elasticsearch {ELASTICSEARCH_VERSION} ({ZIP_BYTES // 1_000_000} MB, once).")
        _download(archive)
        _check(archive)
        say("Unpacking it.")
        unpack(archive, Path(part) / "tree")
        (Path(part) / "tree" / target.name).rename(target)


def _sweep(target: Path) -> None:
    """Removes what killed downloads left; we hold the lock, so nobody is at work there."""
    for leftover in target.parent.glob(f"{target.name}-part-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _download(archive: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _DOWNLOAD, GROUP, ELASTICSEARCH_VERSION, archive],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with child:
        try:
            code = _watch(child, archive)
        finally:
            child.kill()
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
        raise OSError(code, os.strerror(code))
    if code != 0:
        raise EngineError(
            f"Can't download Elasticsearch {ELASTICSEARCH_VERSION}: the network or the package repository can't be reached; "
            "try again with a connection, or set ELASTICSEARCH_URL to a cluster of yours.",
            code="download",
        )


def _watch(child: subprocess.Popen[bytes], archive: Path) -> int:
    """Waits for the download; its exit code, or -1 if it stood still."""
    size, since = -1, time.monotonic()
    with _progress() as show:
        while (code := child.poll()) is None:
            now = archive.stat().st_size if archive.exists() else 0
            show(now)
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > _STALL_SECONDS:
                return -1
            time.sleep(0.1)
    return code


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A bar on stderr for people; nothing for programs."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Elasticsearch", total=ZIP_BYTES)
        yield lambda size: bar.update(task, completed=size)


def _check(archive: Path) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise EngineError(
            f"The downloaded Elasticsearch {ELASTICSEARCH_VERSION} is not the file that is known (its SHA-256 begins with {found[:12]}, "
            f"not {SHA256[:12]}): it was thrown away; try again, and look for a proxy that changes downloads if it happens again.",
            code="download",
        )


def unpack(archive: Path, into: Path) -> None:
    """Unpacks below ``into`` and nowhere else; everyone may read the result, for the server may run as another user."""
    places.make_folder(into)
    with zipfile.ZipFile(archive) as bundle:
        for entry in bundle.infolist():
            mode = entry.external_attr >> 16
            path = into / entry.filename
            # After the checksum this can't happen; it costs nothing to be sure.
            if entry.filename.startswith("/") or ".." in path.parts or stat.S_ISLNK(mode):
                raise EngineError(f"The Elasticsearch archive holds an unsafe entry: {entry.filename!r}.", code="download")
            bundle.extract(entry, into)
            path.chmod(0o755 if entry.is_dir() or mode & 0o100 else 0o644)
    for folder, _, _ in os.walk(into):  # some folders have no entry of their own
        Path(folder).chmod(0o755)
