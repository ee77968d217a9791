"""Models converted once and kept in the cache folder, each beside its SHA-256."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StorageError
from core.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Cached:
    """The bytes of a model, and where they lie."""

    data: bytes
    path: Path


def cached(name: str, make: Callable[[], bytes]) -> Cached:
    """The model ``name`` out of the cache, made by ``make`` when it is not there or was damaged.

    Processes that start at the same moment may each make it; files are put in place whole, so none reads half of one.
    A read-only cache will do when the model is in it.

    Raises:
        StorageError: the model is not there, and the cache can't be written.
    """
    path = settings().cache_dir / "models" / name
    data = _read(path)
    if data is not None:
        return Cached(data, path)
    data = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)
        _write(_seal(path), hashlib.sha256(data).hexdigest().encode())
    except OSError as error:
        raise StorageError.of(error, f"write to the cache folder {path.parent}", "Choose another one with FACEDEX_CACHE_DIR.") from None
    return Cached(data, path)


def _seal(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _read(path: Path) -> bytes | None:
    try:
        data, seal = path.read_bytes(), _seal(path).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest().encode() != seal:
        return None  # damaged
    return data


def _write(path: Path, data: bytes) -> None:
    """Put a file in place whole: written beside it, then renamed."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".tmp", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
