"""Locks that the kernel frees when their holder dies, however it dies: ``flock`` on files of the node's folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POLL = 0.05  # seconds between two tries


def held(path: Path) -> bool:
    """Whether some process holds the lock exclusively. Looks by trying: a holder-to-be must not give up at once (see ``take``)."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def take(path: Path, *, seconds: float, shared: bool = False) -> int:
    """Takes the lock and returns its file descriptor; closing it frees the lock.

    Raises:
        TimeoutError: somebody else kept it for so long.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + seconds
    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                return fd
            if time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(_POLL if seconds else 0)
    except BaseException:
        os.close(fd)
        raise


@contextmanager
def exclusive(path: Path, *, seconds: float) -> Iterator[None]:
    """``take`` for the length of a block."""
    fd = take(path, seconds=seconds)
    try:
        yield
    finally:
        os.close(fd)
