"""The photos within zip and tar archives, in place: nothing is unpacked to disk.

Members come in the archive's own order, which costs no memory for tar; a zip's directory (about half a kB a member) is held while it is
read. Hidden members are left out, as hidden files are. Where an archive is broken, what comes before is given out, then one photo that
can't be read, so that the rest is not missed in silence.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, Self

from core.errors import UsageError
from core.files import MAX_BYTES
from ingest.places import Nowhere, Place, Streamed, TarMember, ZipMember, open_archive

WITHIN = "!/"  # between an archive's address and a member's name
_COMPRESSED: dict[str, Callable[[IO[bytes], Literal["rb"]], Any]] = {
    **dict.fromkeys((".tar.gz", ".tgz"), gzip.open),
    **dict.fromkeys((".tar.bz2", ".tbz2"), bz2.open),
    **dict.fromkeys((".tar.xz", ".txz"), lzma.open),
}
_SUFFIXES = (".zip", ".tar", *_COMPRESSED)
_LONG_NAMES = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_LONGEST_NAME = 1 << 20
_PIECE = 1 << 16
_TOO_LARGE = f"The photo has more than {MAX_BYTES >> 20} MB.", "too_large"

Member = tuple[str, Place]  # its name, without "." and leading slashes


def is_archive(address: str) -> bool:
    """Whether an address ends as an archive's does."""
    return address.lower().endswith(_SUFFIXES)


def members(archive: str) -> Iterator[Member]:
    """The photos of an archive, in its order.

    Raises:
        UsageError: it can't be opened at all (code ``unreadable_archive``).
    """
    found = _zip(archive) if archive.lower().endswith(".zip") else _tar(archive)
    for name, place in found:
        plain = "/".join(part for part in name.split("/") if part not in ("", "."))
        if plain and not any(part.startswith(".") and part != ".." for part in plain.split("/")):
            yield plain, place


@contextmanager
def decompressed(archive: str) -> Iterator[IO[bytes]]:
    """The tar within an archive, to read from its beginning on.

    Raises:
        Exception: it can't be opened; file systems have errors of their own.
    """
    opener = next((opener for suffix, opener in _COMPRESSED.items() if archive.lower().endswith(suffix)), None)
    with open_archive(archive) as file:
        if opener is None:
            yield file
            return
        with opener(file, "rb") as plain:
            yield plain


def _zip(archive: str) -> Iterator[Member]:
    try:
        with open_archive(archive) as file, zipfile.ZipFile(file) as directory:
            found = directory.infolist()
    except Exception as error:  # noqa: BLE001 - file systems have errors of their own
        raise _closed(archive, error) from None
    for member in found:
        if not member.is_dir():
            yield member.filename, Nowhere(*_TOO_LARGE) if member.file_size > MAX_BYTES else ZipMember(archive, member)


def _tar(archive: str) -> Iterator[Member]:
    begun = False
    is_stream = not archive.lower().endswith(".tar")
    try:
        with decompressed(archive) as file, tarfile.open(fileobj=file, mode="r|" if is_stream else "r:", tarinfo=_Header) as tar:
            begun = True
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
                if not member.isdir():
                    yield member.name, _member(archive, tar, member, is_stream=is_stream)
            while is_stream and file.read(_PIECE):  # up to the checksum
                pass
    except Exception as error:  # noqa: BLE001 - each compression has errors of its own
        if not begun:
            raise _closed(archive, error) from None
        yield "the rest", Nowhere(f"The archive is broken from here on ({type(error).__name__}).")


def _member(archive: str, tar: tarfile.TarFile, member: tarfile.TarInfo, *, is_stream: bool) -> Place:
    if not member.isreg() or member.issparse():
        return Nowhere("This is no regular file of the archive, but a link or something like it.")
    if member.size > MAX_BYTES:
        return Nowhere(*_TOO_LARGE)
    if not is_stream:
        return TarMember(archive, member.offset_data, member.size)
    file = tar.extractfile(member)
    data = file.read() if file else b""
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    # Hashed now, since the stream does not come back here.
    place = Streamed(archive, member.offset_data, member.size, hashlib.sha256(data).hexdigest())
    place.keep(data)
    return place


class _Header(tarfile.TarInfo):
    """A member's header. Python takes a broken one for the end of the archive, and reads a name of any length into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) in {0, tarfile.BLOCKSIZE} and not buf.strip(b"\0"):
                raise  # this is how the end is told
            raise tarfile.ReadError(str(error)) from None
        if member.type in _LONG_NAMES and member.size > _LONGEST_NAME:
            raise tarfile.ReadError("name too long")
        return member


def _closed(archive: str, error: Exception) -> UsageError:
    if isinstance(error, UsageError):
        return error
    return UsageError(f"The archive {archive!r} can't be opened ({type(error).__name__}).", code="unreadable_archive")
