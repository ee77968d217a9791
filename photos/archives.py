"""The photos within zip and tar archives, in place: nothing is unpacked to disk, and no archive is held in memory.

Members come in the archive's own order. Hidden members are left out, as hidden files are. Where an archive is broken, or expands beyond all
measure, what comes before is given out, then one photo that can't be read, so that the rest is not missed in silence.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator

from core.addresses import scheme, shown
from core.errors import PhotoError, UsageError
from core.files import MAX_BYTES
from photos import streams, tars, zips
from photos.places import Nowhere, Place, Streamed, TarMember, ZipMember
from photos.streams import Stream, decompressed, open_archive

WITHIN = "!/"  # between an archive's address and a member's name
_SUFFIXES = (".zip", *streams.SUFFIXES)
_FREE_MEMBERS, _BYTES_A_MEMBER = 10_000, 64  # that a compressed tar may have, and for each more how many bytes it must have
_PIECE = 1 << 16
_TOO_LARGE = f"The photo has more than {MAX_BYTES >> 20} MB.", "too_large"

Member = tuple[str, Place]  # its name, without "." and leading slashes


def is_archive(address: str) -> bool:
    """Whether an address ends as an archive's does."""
    return address.lower().endswith(_SUFFIXES)


def archive_of(address: str) -> str | None:
    """The archive of an address like ``photos.zip!/Ada/1.jpg``. (A folder may have such a name, too.)"""
    archive, mark, _ = address.partition(WITHIN)
    return archive if mark and is_archive(archive) and (scheme(archive) or os.path.isfile(archive)) else None  # noqa: PTH113


def absolute(folder: str | os.PathLike[str], path: str) -> str:
    """A path seen from a folder. Links stay as they are named, and so does what is within an archive."""
    archive, mark, name = path.partition(WITHIN)
    if mark:
        archive = absolute(folder, archive)
        if archive_of(archive + mark) is not None:
            return archive + mark + name
    return os.path.abspath(os.path.join(folder, path))  # noqa: PTH100, PTH118 - Path.absolute keeps ".."


def members(archive: str) -> Iterator[Member]:
    """The photos of an archive, in its order. One whose name came before gets the number of its place: ``1.jpg#7``.

    Raises:
        UsageError: it can't be opened at all (code ``unreadable_archive``).
    """
    found = _zip(archive) if archive.lower().endswith(".zip") else _tar(archive)
    names = _Names(1 << 30 if "://" in archive else os.path.getsize(archive) if os.path.isfile(archive) else 0)  # noqa: PTH113, PTH202
    for number, (name, place) in enumerate(found, 1):
        plain = "/".join(part for part in name.split("/") if part not in ("", "."))
        if plain and not any(part.startswith(".") and part != ".." for part in plain.split("/")):
            yield f"{plain}#{number}" if names.repeats(plain) else plain, place


class _Names:
    """Names that came before, in little memory whatever their number: a few bits for each.

    A new one is taken for a repeated one once in ten thousand or less. It is numbered then, and always so, since the same archive always
    gives the same.
    """

    def __init__(self, archive_size: int) -> None:
        self._bits = bytearray(min(max(archive_size // 128, 1 << 16), 1 << 25))  # a member has 512 bytes at least, mostly many thousands

    def repeats(self, name: str) -> bool:
        """Whether a name came before."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=24).digest()
        came = True
        for at in (0, 8, 16):
            where, bit = divmod(int.from_bytes(digest[at : at + 8], "little") % (8 * len(self._bits)), 8)
            if not self._bits[where] >> bit & 1:
                came = False
                self._bits[where] |= 1 << bit
        return came


def _zip(archive: str) -> Iterator[Member]:
    begun, claimed = False, 0
    try:
        with open_archive(archive) as file:
            most = streams.FREE + streams.RATIO * file.seek(0, 2)
            for member in zips.entries(file):
                begun = True
                if member.file_size > MAX_BYTES:
                    yield member.filename, Nowhere(*_TOO_LARGE)
                    continue
                claimed += member.file_size
                if claimed > most:  # members can share their bytes
                    raise PhotoError(
                        f"The archive expands to more than {streams.RATIO} times its size; the rest is not read.", code="too_large"
                    )
                yield member.filename, ZipMember(archive, member)
    except Exception as error:  # noqa: BLE001 - file systems have errors of their own
        yield _rest(archive, error, begun=begun)


def _tar(archive: str) -> Iterator[Member]:
    begun = False
    try:
        with decompressed(archive) as stream:
            for number, entry in enumerate(tars.entries(stream)):
                begun = True
                if stream.is_compressed and number > _FREE_MEMBERS + stream.consumed // _BYTES_A_MEMBER:
                    raise PhotoError("The archive has more members than bytes; the rest is not read.", code="too_large")
                yield entry.name, _member(archive, stream, entry)
            while stream.is_compressed and stream.read(_PIECE):  # up to the checksum
                pass
    except Exception as error:  # noqa: BLE001 - each compression has errors of its own
        yield _rest(archive, error, begun=begun)


def _rest(archive: str, error: Exception, *, begun: bool) -> Member:
    """What stands for all that an archive may hold from here on."""
    if isinstance(error, PhotoError):
        return "the rest", Nowhere(str(error), error.code)
    if not begun:
        raise _closed(archive, error) from None
    return "the rest", Nowhere(f"The archive is broken from here on ({type(error).__name__}).")


def _member(archive: str, stream: Stream, entry: tars.Entry) -> Place:
    if not entry.is_file:
        return Nowhere("This is no regular file of the archive, but a link or something like it.")
    if entry.size > MAX_BYTES:
        return Nowhere(*_TOO_LARGE)
    if not stream.is_compressed:
        return TarMember(archive, entry.offset, entry.size)
    data = stream.read(entry.size)
    if len(data) < entry.size:
        raise tarfile.ReadError("unexpected end of data")
    # Hashed now, since the stream does not come back here.
    place = Streamed(archive, entry.offset, entry.size, hashlib.sha256(data).hexdigest())
    place.keep(data)
    return place


def _closed(archive: str, error: Exception) -> UsageError:
    if isinstance(error, UsageError):
        return error
    return UsageError(f"The archive {shown(archive)!r} can't be opened ({type(error).__name__}).", code="unreadable_archive")
