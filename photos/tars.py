"""The members of a tar archive, one header after the other, in memory that no archive can make grow.

Python's own reader keeps what an archive says about all that follows, and expands the maps of sparse files, before anybody can refuse them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from photos.streams import Stream

_BLOCK = tarfile.BLOCKSIZE
_LONGEST = 1 << 20  # bytes of a header that says more about the member after it
_PAX = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}
_PASSED_OVER = {tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK}  # about all that follows; what a link leads to
_ABOUT_OTHERS = _PAX | _PASSED_OVER | {tarfile.GNUTYPE_LONGNAME}
_FILES = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_SPARSE_GOES_ON, _SPARSE_GOES_ON_STILL = 482, 504  # bytes of headers: whether a block with more of the map follows


class Entry(NamedTuple):
    """A member: its name, where its bytes are, and whether they are a regular file's."""

    name: str
    offset: int
    size: int
    is_file: bool


class _More:
    """What headers say about the member after them."""

    __slots__ = ("is_sparse", "name", "size")

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.size: int | None = None
        self.is_sparse = False

    def add(self, data: bytes) -> None:
        """Reads the records of a PAX header: their length, a blank, a name, "=", a value, a line break."""
        at = 0
        while at < len(data) and data[at]:
            head, _, rest = data[at : at + 24].partition(b" ")
            length = int(head) if head.isdigit() and len(head) < len(b"1000000") + 1 else 0
            if not rest or length <= len(head) + 1:
                raise tarfile.ReadError("invalid header")
            name, _, value = data[at + len(head) + 1 : at + length - 1].partition(b"=")
            at += length
            if name.startswith(b"GNU.sparse."):
                self.is_sparse = True
            if name in {b"path", b"GNU.sparse.name"} and not (self.is_sparse and name == b"path" and self.name):
                self.name = value
            elif name == b"size":
                if not value.isdigit() or len(value) > len(str(1 << 63)):
                    raise tarfile.ReadError("invalid header")
                self.size = int(value)


def entries(stream: Stream) -> Iterator[Entry]:
    """All members but folders. The bytes of one can be read from the stream before the next is asked for.

    Raises:
        tarfile.TarError: this is no tar archive, or is broken here.
        Exception: see :meth:`Stream.read`.
    """
    more = _More()
    while (header := _header(stream)) is not None:
        size = header.size
        if header.type in _ABOUT_OTHERS:
            if header.type not in _PASSED_OVER and size > _LONGEST:
                raise tarfile.ReadError("name too long")
            data = b"" if header.type in _PASSED_OVER else stream.read(size)
            if header.type in _PAX:
                more.add(data)
            elif data:
                more.name = data.partition(b"\0")[0]
            stream.skip_to(stream.position + (_padded(size) - len(data)))
            continue
        size = header.size if more.size is None else more.size
        offset = stream.position
        name = header.name if more.name is None else more.name.decode("utf-8", "surrogateescape")
        if not header.isdir() and not name.endswith("/"):
            yield Entry(name, offset, size, header.type in _FILES and not more.is_sparse)
        # Links, devices and folders have no bytes, whatever their size says.
        if header.type in _FILES or header.type == tarfile.GNUTYPE_SPARSE or header.type not in tarfile.SUPPORTED_TYPES:
            stream.skip_to(offset + _padded(size))
        more = _More()


def _header(stream: Stream) -> tarfile.TarInfo | None:
    """The next header, or ``None`` at the end."""
    begun = stream.position > 0
    block = stream.read(_BLOCK)
    if not block and not begun:
        raise tarfile.ReadError("empty file")
    if not block.strip(b"\0"):
        return None
    if len(block) < _BLOCK:
        raise tarfile.ReadError("truncated header")
    header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if header.size < 0:
        raise tarfile.ReadError("invalid header")
    if header.type == tarfile.GNUTYPE_SPARSE:
        goes_on = block[_SPARSE_GOES_ON]
        while goes_on:
            block = stream.read(_BLOCK)
            if len(block) < _BLOCK:
                raise tarfile.ReadError("truncated header")
            goes_on = block[_SPARSE_GOES_ON_STILL]
    return header


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
