"""Where the bytes of one photo are, and how they are read: a file, a part of an archive, an address.

A place is small and travels to the worker that looks at the photo. What is dear to come by (downloaded, or decompressed in sequence) is
read once to be hashed, and travels along while there is room for it; otherwise the worker reads it again. So memory is bounded, whatever
the number and the size of photos.
"""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from contextlib import ExitStack, suppress
from typing import Any, ClassVar

from core import files, remote, web
from core.errors import PhotoError
from photos.streams import Stream, decompressed, open_archive

_ROOM = 128 << 20  # bytes of all photos on their way together
_LOCAL_HEADER = 30  # bytes, of which the last four are the lengths of the name and of the extra field that follow
_ENCRYPTED = 1
_PIECE = 4096
_LARGE_PIECE = 1 << 18
_PASSED, _MOST_PASSED = 1 << 20, 32 << 20  # bytes of a compressed archive that are kept behind the photo read last, in pieces
_LARGE = 32 << 20  # bytes of a member from which only one is expanded at a time, since several threads do so
_one_large = threading.Lock()


class Place(ABC):
    """Where the bytes of a photo are. ``costs_again``: to send it to a worker a second time is dear."""

    __slots__ = ()
    costs_again: ClassVar[bool] = False

    @abstractmethod
    def read(self) -> bytes:
        """The bytes.

        Raises:
            PhotoError: they can't be had; ``unreadable``, ``too_large``, ``timeout`` or ``forbidden``.
        """

    def sha256(self) -> str | None:
        """The SHA-256 of the bytes, in hexadecimal, or ``None`` where :meth:`read` would say why they can't be had."""
        with suppress(PhotoError):
            return hashlib.sha256(self.read()).hexdigest()
        return None


class File(Place):
    """A file on this machine."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> bytes:
        """See :meth:`Place.read`."""
        return files.read(self._path)

    def sha256(self) -> str | None:
        """See :meth:`Place.sha256`."""
        return files.sha256_of(self._path)


class Given(Place):
    """A photo whose bytes are here."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        """See :meth:`Place.read`."""
        return self._data


class Nowhere(Place):
    """A photo that can't be had, and why."""

    __slots__ = ("_code", "_message")

    def __init__(self, message: str, code: str = "unreadable") -> None:
        self._message = message
        self._code = code

    def read(self) -> bytes:
        """See :meth:`Place.read`."""
        raise PhotoError(self._message, code=self._code)


class TarMember(Place):
    """A member of a tar archive that is not compressed: a part of a file."""

    __slots__ = ("_archive", "_offset", "_size")

    def __init__(self, archive: str, offset: int, size: int) -> None:
        self._archive, self._offset, self._size = archive, offset, size

    def read(self) -> bytes:
        """See :meth:`Place.read`."""
        try:
            with open_archive(self._archive) as file:
                file.seek(self._offset)
                data = file.read(self._size)
        except Exception as error:  # noqa: BLE001 - archives can be on file systems with errors of their own
            raise _broken(error) from None
        if len(data) < self._size:
            raise PhotoError("The archive ends within this photo.", code="unreadable")
        return data

    def sha256(self) -> str | None:
        """See :meth:`Place.sha256`. (In pieces: several threads do so at once.)"""
        digest, left = hashlib.sha256(), self._size
        with suppress(Exception), open_archive(self._archive) as file:
            file.seek(self._offset)
            while left and (piece := file.read(min(left, _LARGE_PIECE))):
                digest.update(piece)
                left -= len(piece)
            return digest.hexdigest() if not left else None
        return None


class ZipMember(Place):
    """A member of a zip archive: found without reading the archive's directory again."""

    __slots__ = ("_archive", "_member")

    def __init__(self, archive: str, member: zipfile.ZipInfo) -> None:
        self._archive, self._member = archive, member

    def read(self) -> bytes:
        """See :meth:`Place.read`."""
        if self._member.flag_bits & _ENCRYPTED:
            raise PhotoError("The photo is encrypted.", code="unreadable")
        try:
            with open_archive(self._archive) as file:
                file.seek(self._member.header_offset)
                header = file.read(_LOCAL_HEADER)
                file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
                with zipfile.ZipExtFile(file, "r", self._member) as member:  # compares the checksum at the end
                    data = _pieces(member)
        except Exception as error:  # noqa: BLE001 - each compression has errors of its own
            raise _broken(error) from None
        if len(data) > files.MAX_BYTES:  # whatever the directory says
            raise PhotoError(f"The photo has more than {files.MAX_BYTES >> 20} MB.", code="too_large")
        if len(data) < self._member.file_size:
            raise PhotoError("The archive ends within this photo.", code="unreadable")
        return data


def _pieces(member: zipfile.ZipExtFile) -> bytes:
    # Small ones: of bzip2 and LZMA all that a piece expands to comes at once, a thousand times its size and more.
    data = io.BytesIO()
    with ExitStack() as stack:
        is_large = False
        while data.tell() <= files.MAX_BYTES and (piece := member.read(_PIECE)):
            data.write(piece)
            if not is_large and data.tell() > _LARGE:
                is_large = True
                stack.enter_context(_one_large)
    return data.getvalue()


class _Room:
    """How many bytes may be kept, by all threads together."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether there was room."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Gives back what was taken."""
        with self._lock:
            self._left += size


class Dear(Place):
    """A place whose bytes are dear to come by: what was read, or why it couldn't be, travels along while there is room."""

    __slots__ = ("__weakref__", "_from", "_kept", "_taken")
    costs_again = True
    _room: ClassVar[_Room] = _Room(_ROOM)

    def __init__(self) -> None:
        self._kept: bytes | PhotoError | None = None
        self._taken = 0
        self._from = self._room  # what is taken goes back to where it came from

    @abstractmethod
    def _fetch(self) -> bytes: ...

    @abstractmethod
    def _arguments(self) -> tuple[Any, ...]: ...

    def read(self) -> bytes:
        """See :meth:`Place.read`."""
        if isinstance(self._kept, PhotoError):
            raise self._kept
        return self._fetch() if self._kept is None else self._kept

    def sha256(self) -> str | None:
        """See :meth:`Place.sha256`."""
        try:
            data = self.read()
        except PhotoError as error:
            self._kept = error
            return None
        self.keep(data)
        return hashlib.sha256(data).hexdigest()

    def keep(self, data: bytes) -> bool:
        """Keeps the bytes if there is room."""
        if self._kept is None and self._from.take(len(data)):
            self._kept, self._taken = data, len(data)
        return self._kept is not None

    def drop(self) -> bytes | PhotoError | None:
        """Keeps nothing any more, and says what it was."""
        kept, self._kept = self._kept, None
        self._from.give(self._taken)
        self._taken = 0
        return kept

    def __del__(self) -> None:
        self._from.give(self._taken)

    def __reduce__(self) -> tuple[Any, ...]:
        # Once it is on its way to a worker, nothing has to be kept here. (Sent a second time, it would be read again.)
        return _arrived, (type(self), self._arguments(), self.drop())


def _arrived(kind: type[Dear], arguments: tuple[Any, ...], kept: bytes | PhotoError | None) -> Dear:
    place = kind(*arguments)
    place._kept = kept
    return place


class Web(Dear):
    """What an http or https server sends."""

    __slots__ = ("_limits", "_url")

    def __init__(self, url: str, limits: web.Limits) -> None:
        super().__init__()
        self._url, self._limits = url, limits

    def _fetch(self) -> bytes:
        return web.fetch(self._url, self._limits)

    def _arguments(self) -> tuple[Any, ...]:
        return self._url, self._limits


class Remote(Dear):
    """A file that fsspec opens."""

    __slots__ = ("_seconds", "_url")

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__()
        self._url, self._seconds = url, seconds

    def _fetch(self) -> bytes:
        return remote.read(self._url, self._seconds)

    def _arguments(self) -> tuple[Any, ...]:
        return self._url, self._seconds


class Streamed(Dear):
    """A member of a compressed tar archive, which can only be read from its beginning on. ``sha256`` is known from the first reading.

    Only the process that sends photos decompresses: a worker that starts late would begin at the beginning, and take too long for ever.
    """

    __slots__ = ("_archive", "_offset", "_sha256", "_size")

    def __init__(self, archive: str, offset: int, size: int, sha256: str | None = None) -> None:
        super().__init__()
        self._archive, self._offset, self._size, self._sha256 = archive, offset, size, sha256

    def sha256(self) -> str | None:
        """See :meth:`Place.sha256`."""
        return self._sha256 or super().sha256()

    def __reduce__(self) -> tuple[Any, ...]:
        kept = self.drop()
        if kept is None:
            try:
                kept = self._fetch()
            except PhotoError as error:
                kept = error
        return _arrived, (type(self), self._arguments(), kept)

    def _fetch(self) -> bytes:
        return _cursor.read(self._archive, self._offset, self._size)

    def _arguments(self) -> tuple[Any, ...]:
        return self._archive, self._offset, self._size, self._sha256


class _Cursor:
    """How far an archive is decompressed: photos are asked for about in its order, so it goes on from there.

    What it passed last is kept, since the threads that send photos overtake each other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._archive: str | None = None
        self._stream: Stream | None = None
        self._passed: deque[tuple[int, bytes]] = deque()  # where each piece begins

    def read(self, archive: str, offset: int, size: int) -> bytes:
        """A part of what the archive holds, decompressed."""
        with self._lock:
            try:
                stream = self._stream
                begin = self._passed[0][0] if self._passed else 0
                if stream is None or self._archive != archive or offset < begin:
                    stream = self._open(archive)
                while stream.position < offset + size and self._pass(stream, offset, offset + size):
                    pass
            except Exception as error:  # noqa: BLE001 - each compression has errors of its own
                self._stream = None  # whatever its state is now, the next photo begins anew
                raise _broken(error) from None
            end = offset + size
            parts = [piece[max(0, offset - at) : end - at] for at, piece in self._passed if at < end and at + len(piece) > offset]
        data = b"".join(parts)
        if len(data) < size:
            raise PhotoError("The archive ends within this photo.", code="unreadable")
        return data

    def _pass(self, stream: Stream, wanted: int, end: int) -> bool:
        """Decompresses a piece more, up to an end; false where there is none. Nothing goes from ``wanted`` on."""
        at = stream.position
        piece = stream.read(min(_PASSED, end - at))
        self._passed.append((at, piece))
        while at - self._passed[0][0] > _MOST_PASSED and self._passed[0][0] + len(self._passed[0][1]) <= wanted:
            self._passed.popleft()
        return bool(piece)

    def _open(self, archive: str) -> Stream:
        self._opened.close()
        self._passed.clear()
        self._archive, self._stream = archive, self._opened.enter_context(decompressed(archive))
        return self._stream


_cursor = _Cursor()


def _broken(error: Exception) -> PhotoError:
    # Only the kind of error is told: the words can repeat what the archive holds.
    return PhotoError(f"The photo can't be read from its archive ({type(error).__name__}).", code="unreadable")
