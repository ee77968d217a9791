"""The members of a zip archive, read from its directory one after the other, whatever that says about its size.

Python's own reader refuses the whole archive for one name that is not what it claims, and takes the directory into memory.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import IO

_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR_64 = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_COMMENT = 0xFFFF  # the longest
_LARGE = 0xFFFFFFFF  # the number is in an extra field
_EXTRA_64 = 1


def entries(file: IO[bytes]) -> Iterator[zipfile.ZipInfo]:
    """All members but folders, as far as they are needed to read them.

    Raises:
        zipfile.BadZipFile: this is no zip archive, or its directory is broken here.
    """
    at, end, shift = _directory(file)
    file.seek(at)
    while at < end:
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or not head.startswith(b"PK\1\2"):
            raise zipfile.BadZipFile("broken directory")
        fields = _ENTRY.unpack(head)
        flags, method, checksum, packed, size = fields[5], fields[6], fields[9], fields[10], fields[11]
        names, extras, comments, offset = fields[12], fields[13], fields[14], fields[18]
        name, extra = file.read(names), file.read(extras)
        file.seek(comments, 1)
        at += _ENTRY.size + names + extras + comments
        member = zipfile.ZipInfo(_name(name))
        member.flag_bits, member.compress_type, member.CRC = flags, method, checksum
        member.file_size, member.compress_size, member.header_offset = _sizes(size, packed, offset, extra)
        member.header_offset += shift
        if not member.filename.endswith("/"):
            yield member


def _directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Where the directory begins and ends, and how far the archive lies behind the beginning of the file."""
    size = file.seek(0, 2)
    begin = max(0, size - _END.size - _COMMENT)
    file.seek(begin)
    tail = file.read(_END.size + _COMMENT)
    at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise zipfile.BadZipFile("no directory")
    *_, length, offset, _ = _END.unpack_from(tail, at)
    end = begin + at
    locator = end - _LOCATOR_64.size
    if locator >= _END_64.size:
        file.seek(locator - _END_64.size)
        record = file.read(_END_64.size + 4)
        if record.startswith(b"PK\6\6") and record.endswith(b"PK\6\7"):
            *_, length, offset = _END_64.unpack_from(record)
            end = locator - _END_64.size
    shift = end - length - offset
    if shift < 0:
        raise zipfile.BadZipFile("the directory is longer than the file")
    return end - length, end, shift


def _name(raw: bytes) -> str:
    """A name as text. Whatever the archive says of them, most are UTF-8; other bytes are kept as they are."""
    name = raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return name if "/" in name else name.replace("\\", "/")


def _sizes(size: int, packed: int, offset: int, extra: bytes) -> tuple[int, int, int]:
    if _LARGE not in (size, packed, offset):
        return size, packed, offset
    large = iter(_numbers(extra))
    try:
        found = [next(large) if each == _LARGE else each for each in (size, packed, offset)]
    except StopIteration:
        raise zipfile.BadZipFile("a size is missing") from None
    return found[0], found[1], found[2]


def _numbers(extra: bytes) -> list[int]:
    """What the extra field for large archives holds."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _EXTRA_64:
            data = extra[at + 4 : at + 4 + length]
            return [int.from_bytes(data[n : n + 8], "little") for n in range(0, len(data) - len(data) % 8, 8)]
        at += 4 + length
    return []
