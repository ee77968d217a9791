"""The bytes of archives: opened wherever they are, decompressed within limits of memory and of how much comes out of how little."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from core import remote
from core.errors import PhotoError, UsageError

FREE = 512 << 20  # bytes that any archive may expand to
RATIO = 200  # and so many more for each byte that it has itself: photos hardly compress
_XZ_MEMORY = 256 << 20  # xz -9 needs 65 MB
_XZ_MAGIC = b"\xfd7zXZ\0"
_PIECE = 1 << 16


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Xz:
    """An xz file, decompressed. (Python's own reader takes whatever memory the file asks for.)"""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._expander = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        """Some bytes, none at the end."""
        ahead = b""
        while True:
            if self._expander.eof:  # files can be put one behind the other; anything else there is ignored, as by others
                ahead = (self._expander.unused_data or self._file.read(_PIECE)).lstrip(b"\0")
                if not ahead.startswith(_XZ_MAGIC):
                    return b""
                self._expander = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            if not ahead and self._expander.needs_input and not (ahead := self._file.read(_PIECE)):
                raise EOFError("the compressed data ends early")
            data, ahead = self._expander.decompress(ahead, size), b""
            if data:
                return data


_COMPRESSED: dict[str, Callable[[IO[bytes]], _Readable]] = {
    **dict.fromkeys((".tar.gz", ".tgz"), lambda file: gzip.GzipFile(fileobj=file)),
    **dict.fromkeys((".tar.bz2", ".tbz2"), bz2.BZ2File),
    **dict.fromkeys((".tar.xz", ".txz"), _Xz),
}
SUFFIXES = (".tar", *_COMPRESSED)


class Stream:
    """A tar archive from its beginning on, decompressed. ``position`` says how far it was read."""

    def __init__(self, file: IO[bytes], expanded: _Readable | None) -> None:
        self.is_compressed = expanded is not None
        self.position = 0
        self._file = file
        self._expanded = expanded
        self._end = 0 if self.is_compressed else file.seek(0, 2)
        if not self.is_compressed:
            file.seek(0)

    @property
    def consumed(self) -> int:
        """Bytes of the archive itself that were read until now."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """So many bytes; fewer where the archive ends.

        Raises:
            PhotoError: more comes out than any archive of photos holds (``too_large``).
            Exception: what the decompressor raises.
        """
        if self._expanded is None:
            data = self._file.read(size)
            self.position += len(data)
            return data
        pieces: list[bytes] = []
        left = size
        while left and (piece := self._expanded.read(min(left, _PIECE))):
            left -= len(piece)
            pieces.append(piece)
            self._count(len(piece))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip_to(self, position: int) -> None:
        """Goes on from a later place.

        Raises:
            tarfile.ReadError: the archive ends before.
            Exception: see :meth:`read`.
        """
        if self._expanded is None:
            if position > self._end:
                raise tarfile.ReadError("unexpected end of data")
            self.position = self._file.seek(position)
            return
        while self.position < position:
            piece = self._expanded.read(min(position - self.position, _PIECE))
            if not piece:
                raise tarfile.ReadError("unexpected end of data")
            self._count(len(piece))

    def _count(self, size: int) -> None:
        self.position += size
        if self.position > FREE and self.position > FREE + RATIO * self.consumed:
            raise PhotoError(f"The archive expands to more than {RATIO} times its size; the rest is not read.", code="too_large")


@contextmanager
def decompressed(archive: str) -> Iterator[Stream]:
    """The tar within an archive.

    Raises:
        Exception: it can't be opened; file systems have errors of their own.
    """
    expand = next((expand for suffix, expand in _COMPRESSED.items() if archive.lower().endswith(suffix)), None)
    with open_archive(archive) as file:
        yield Stream(file, expand(file) if expand else None)


def open_archive(address: str) -> IO[bytes]:
    """An archive, on this machine or where fsspec finds it.

    Raises:
        UsageError, OSError, Exception: it can't be opened; file systems have errors of their own.
    """
    if "://" in address:
        return remote.open_(address)
    path = Path(address)
    if not path.is_file():  # a named pipe would be waited for
        raise UsageError(f"{address!r} is no file.", code="no_such_source")
    return path.open("rb")
