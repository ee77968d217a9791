"""Reading photo files, which can be anything: pipes, devices, terabytes."""

from __future__ import annotations

import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

from core.errors import PhotoError, UsageError

MAX_BYTES = 256 << 20  # a photo file larger than this is rejected unread
_PIECE = 1 << 18


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file.

    Raises:
        PhotoError: ``unreadable`` (not there, not allowed, not a regular file) or ``too_large`` (more than :data:`MAX_BYTES`).
    """
    try:
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size + 1)
    except OSError as error:
        raise _unreadable(error) from None
    except ValueError:  # a NUL in the path
        raise PhotoError("There can be no file of this name.", code="unreadable") from None
    if len(data) > size:
        raise PhotoError("The file grew while it was read.", code="unreadable")
    return data


def sha256_of(path: str | os.PathLike[str]) -> str | None:
    """The SHA-256 of a photo file, in hexadecimal, or ``None`` where :func:`read` would say why it can't be read."""
    try:
        with _open(path) as file:
            size, digest, piece, total = os.fstat(file.fileno()).st_size, hashlib.sha256(), bytearray(_PIECE), 0
            while total <= size and (count := file.readinto(piece)):
                digest.update(memoryview(piece)[:count])
                total += count
            return digest.hexdigest() if total <= size else None
    except (OSError, ValueError, PhotoError):
        return None


def _open(path: str | os.PathLike[str]) -> BufferedReader:
    # A named pipe would block for ever; without O_NONBLOCK even opening it does.
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115 - a descriptor; the caller closes
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
        return file
    file.close()
    if stat.S_ISREG(status.st_mode):
        raise PhotoError(f"The file has {status.st_size >> 20} MB, more than {MAX_BYTES >> 20}.", code="too_large")
    raise PhotoError("This is not a regular file.", code="unreadable")


def _unreadable(error: OSError) -> PhotoError:
    return PhotoError(f"The file can't be read ({(error.strerror or 'error').lower()}).", code="unreadable")


def check_writable(path: Path, option: str) -> None:
    """Refuses a file that can't be written, before hours of work that would end in it.

    Raises:
        UsageError: it is a folder, or its folder is not there or closed.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder: name a file.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option} {path} can't be written: its folder is not there or closed.")


def make_private(folder: Path) -> None:
    """Makes a folder that only its owner can enter, for names of people and files; one that is there stays as it is.

    Raises:
        OSError: it can't be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
