"""What photo files contained when they were last ingested, so that those that did not change since need not be read.

A cache on this machine, in an SQLite file for each collection: it can be deleted at any time. As in git's index, a file counts as unchanged
when its device, inode, size, time of modification and time of change are the same to the nanosecond; one that was modified just before it
was read is not remembered, since it could be modified once more within the same tick of the clock.

What is remembered was also reconciled: the collection held nothing else of this path. That is why files are remembered when their photo is
stored, and not when they are read.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from core.files import make_private, sha256_of
from photos.places import Place

_READERS = 4  # threads that hash files
_RACY_NS = 2_000_000_000  # file systems keep times to 2 seconds at the worst
_FLUSH = 5_000  # rows
_LOCK_SECONDS = 10.0  # for another run to let go of the file
_STAMP = struct.Struct("<QQqqq")
_MEMORY = ":memory:"
_TABLES = """
CREATE TABLE IF NOT EXISTS photo (id INTEGER PRIMARY KEY, stamp BLOB NOT NULL, sha256 BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS owner (id TEXT NOT NULL);
"""


class Look(NamedTuple):
    """What a file contains. ``stamp`` is ``None`` where it must not be remembered."""

    sha256: str | None
    stamp: bytes | None = None
    remembered: bool = False


class Fingerprints:
    """The files of one collection, by path.

    Args:
        file: where they are kept; ``None`` keeps them for this run only.
        owner: what they are valid for (the collection's index, which a new collection of the same name does not have).
        trust: ``False`` reads every file, whatever is remembered.
    """

    def __init__(self, file: Path | None, owner: str, *, trust: bool = True) -> None:
        self._trust = trust
        self._lock = threading.Lock()  # one thread looks ahead while another remembers
        self._new: list[tuple[int, bytes, bytes]] = []
        self._database = _opened(file, owner)
        self._readers = ThreadPool(_READERS)  # its threads never keep a process from ending: a place can be slow to read
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed = True
        self._readers.close()
        with self._lock:
            self._flush()
            self._database.close()

    def look(self, paths: Sequence[str], said: Sequence[bytes] = ()) -> list[Look]:
        """What each file contains, read only where it may have changed. A file that can't be read has no hash.

        Args:
            paths: the files.
            said: of each, a digest of what else was said of it: it is remembered with the file, and something else is news. Without, what
                was said does not matter.
        """
        stamps = [_stamp(path) for path in paths]
        ids = [_id(path) for path in paths]
        known = self._remembered(ids) if self._trust else {}
        looks: list[Look | None] = []
        unread: list[str] = []
        for number, (path, id_, stamp) in enumerate(zip(paths, ids, stamps, strict=True)):
            found = known.get(id_)
            if found is not None and stamp is not None and (found[0] == stamp + said[number] if said else found[0].startswith(stamp)):
                looks.append(Look(found[1].hex(), found[0], remembered=True))
            else:
                looks.append(None)
                unread.append(path)
        read = self._readers.imap(self._read, unread)
        return [look or _with(next(read), said[number] if said else b"") for number, look in enumerate(looks)]

    def read(self, places: Sequence[Place]) -> Iterator[Look]:
        """What each place contains that is no file of its own."""
        return self._readers.imap(lambda place: Look(None) if self._closed else Look(place.sha256()), places)

    def _read(self, path: str) -> Look:
        return Look(None) if self._closed else _read(path)

    def remember(self, path: str, look: Look) -> None:
        """Keeps what a file contained. Only for photos that the collection has acknowledged."""
        if look.remembered or look.stamp is None or look.sha256 is None:
            return
        with self._lock:
            self._new.append((_id(path), look.stamp, bytes.fromhex(look.sha256)))
            if len(self._new) >= _FLUSH:
                self._flush()

    def _remembered(self, ids: list[int]) -> dict[int, tuple[bytes, bytes]]:
        marks = ",".join("?" * len(ids))
        with self._lock, suppress(sqlite3.Error):  # broken or locked: files are read instead
            rows = self._database.execute(f"SELECT id, stamp, sha256 FROM photo WHERE id IN ({marks})", ids)  # noqa: S608
            return {id_: (stamp, sha256) for id_, stamp, sha256 in rows}
        return {}

    def _flush(self) -> None:
        with suppress(sqlite3.Error), self._database:  # a full disk, for instance: the next run reads the files again
            self._database.executemany("INSERT OR REPLACE INTO photo VALUES (?, ?, ?)", self._new)
        self._new.clear()


def _opened(file: Path | None, owner: str) -> sqlite3.Connection:
    if file is None:
        return _prepared(_MEMORY, owner)
    try:
        make_private(file.parent)
        return _prepared(str(file), owner)
    except sqlite3.OperationalError:  # another run holds it, or the disk is full: it stays as it is
        return _prepared(_MEMORY, owner)
    except sqlite3.DatabaseError:  # it is none
        for broken in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            broken.unlink(missing_ok=True)
    except OSError:
        return _prepared(_MEMORY, owner)
    try:
        return _prepared(str(file), owner)
    except sqlite3.Error:
        return _prepared(_MEMORY, owner)


def _prepared(name: str, owner: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=_LOCK_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_TABLES)
        with database:
            if database.execute("SELECT id FROM owner").fetchall() != [(owner,)]:
                database.execute("DELETE FROM photo")
                database.execute("DELETE FROM owner")
                database.execute("INSERT INTO owner VALUES (?)", (owner,))
    except sqlite3.Error:
        database.close()
        raise
    return database


def _with(look: Look, said: bytes) -> Look:
    return look if look.stamp is None or not said else look._replace(stamp=look.stamp + said)


def _id(path: str) -> int:
    """64 bits of a path's hash. Two paths with the same would still differ in their inodes."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest(), "little", signed=True)


def _stamp(path: str) -> bytes | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a million times
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read(path: str) -> Look:
    begun = time.time_ns()
    before = _stamp(path)
    sha256 = sha256_of(path)
    if before is None or before != _stamp(path):
        return Look(sha256)
    *_, modified, changed = _STAMP.unpack(before)
    return Look(sha256, None if begun - max(modified, changed) < _RACY_NS else before)
