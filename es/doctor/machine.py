"""Is this machine fit: Java, folders, room?"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import FacedexError
from core.findings import Finding
from es.local import jdk, places

if TYPE_CHECKING:
    from core.settings import Settings

_LITTLE = 2_000_000_000  # bytes of free disk


def java(settings: Settings) -> Iterator[Finding]:
    """The JDK of Facedex's own node."""
    if settings.url is not None:
        return
    try:
        found = jdk.installed(settings)
    except FacedexError as error:
        yield Finding("java", "error", str(error))
        return
    if found is None:
        yield Finding(
            "java",
            "error" if settings.java_home else "warning",
            f"No complete JDK {jdk.OLDEST} or newer is found.",
            "Facedex's own node needs one; it tries to fetch one, which takes the internet.",
            "install one (for instance Temurin 25), or set FACEDEX_JAVA_HOME to its folder",
        )
    else:
        yield Finding("java", "ok", f"The JDK is {found}.")


def cache(settings: Settings) -> Iterator[Finding]:
    """Whether the cache can be written."""
    folder = existing(settings.cache_dir)
    if os.access(folder, os.W_OK | os.X_OK):
        yield Finding("cache", "ok", f"The cache {settings.cache_dir} can be written.")
    else:
        yield Finding(
            "cache",
            "warning",
            f"The cache {settings.cache_dir} can't be written.",
            "Models are converted anew in every command, and Elasticsearch can't be brought.",
            "let this user write there, or set FACEDEX_CACHE_DIR",
        )


def private(settings: Settings) -> Iterator[Finding]:
    """Whether others on this machine can read what holds faces."""
    home = places.node_home(settings)
    data = places.absolute(settings.data_dir)
    lists = sorted((data / "rejects").glob("*")) if (data / "rejects").is_dir() else []
    readable = [folder for folder in (home.data, home.snapshots, data / "seen", *lists) if _others_read(folder)]
    for folder in readable:
        yield Finding(
            "privacy",
            "warning",
            f"{folder} can be read by other users of this machine.",
            "It holds faces, or names of people and files.",
            f"chmod -R go= '{folder}'",
        )
    if not readable:
        yield Finding("privacy", "ok", "Other users of this machine can't read the data folder.")


def _others_read(path: Path) -> bool:
    """Whether a file or folder, and every folder above it, lets others pass and read."""
    try:
        if not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            return False
        return all(folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH) for folder in path.parents)
    except OSError:
        return False


def room(settings: Settings) -> Iterator[Finding]:
    """Free disk of the data folder."""
    free = shutil.disk_usage(existing(settings.data_dir)).free
    if free < _LITTLE:
        yield Finding(
            "room",
            "warning",
            f"The disk of {settings.data_dir} has {free / 1e9:,.1f} GB free.",
            "A million faces take 0.7 GB, and for a while twice as much.",
            "free it, or set FACEDEX_DATA_DIR to another place",
        )
    else:
        yield Finding("room", "ok", f"The disk of the data folder has {free / 1e9:,.0f} GB free.")


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = places.absolute(path)
    return next(folder for folder in (path, *path.parents) if folder.exists())
