"""Where the embedded node lives, and as whom.

One rule. Everything is in the plain place: the node below ``data_dir``, the server below ``cache_dir``. Only a node started by root
becomes another user (``node_user``), and only where that user can't enter the plain place (``/root`` is closed to others, and so is
a private temporary folder) its files are in ``/var/lib/facedex/<hash>`` and ``/var/cache/facedex/<hash>`` instead. The hash is that
of the plain place, so two homes never share a node. A node that exists in ``/var/lib`` stays there.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StorageError, UsageError

if TYPE_CHECKING:
    from core.settings import Settings

SYSTEM_DATA = Path("/var/lib/facedex")
SYSTEM_CACHE = Path("/var/cache/facedex")
_PLAIN = "node"  # the node's folder below data_dir


@dataclass(frozen=True)
class User:
    """The user that the server runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Home:
    """The files of one node. ``data``, ``logs``, ``config``, ``tmp`` and ``snapshots`` belong to the server's user, the rest to who
    starts it.
    """

    path: Path

    @property
    def data(self) -> Path:
        """Elasticsearch's own data."""
        return self.path / "data"

    @property
    def logs(self) -> Path:
        """Elasticsearch's logs, and the ports it learned."""
        return self.path / "logs"

    @property
    def config(self) -> Path:
        """Written anew at every start."""
        return self.path / "config"

    @property
    def tmp(self) -> Path:
        """Emptied at every start."""
        return self.path / "tmp"

    @property
    def snapshots(self) -> Path:
        """Where the server may keep snapshots: beside the plain place, so that whoever throws the node away keeps them."""
        return self.path.parent / "snapshots" if self.path.name == _PLAIN else self.path / "snapshots"

    @property
    def log(self) -> Path:
        """The log for people."""
        return self.logs / "facedex.log"

    @property
    def output(self) -> Path:
        """What the server's process itself prints: little, but all there is when the Java machine can't start."""
        return self.path / "server.out"

    @property
    def state(self) -> Path:
        """What runs; written by the supervisor, whole or not at all."""
        return self.path / "state.json"

    @property
    def launch(self) -> Path:
        """How the server was launched, kept for the next time."""
        return self.path / "launch.bin"

    @property
    def starting(self) -> Path:
        """Lock: somebody starts the node."""
        return self.path / "starting.lock"

    @property
    def alive(self) -> Path:
        """Lock: the supervisor lives."""
        return self.path / "supervisor.lock"

    @property
    def in_use(self) -> Path:
        """Lock, shared: commands that use the node. Its time is that of the latest one."""
        return self.path / "in-use.lock"


def server_user(settings: Settings) -> User | None:
    """Who the server becomes: None means that it stays who it is.

    Raises:
        UsageError: there is no such user, or it is root.
    """
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(settings.node_user)
    except KeyError:
        raise UsageError(f"The setting FACEDEX_NODE_USER names {settings.node_user!r}, but there is no such user.") from None
    if entry.pw_uid == 0:
        raise UsageError("The setting FACEDEX_NODE_USER names a user with root's rights; Elasticsearch refuses to run as root.")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def node_home(settings: Settings) -> Home:
    """The folder of the node that these settings mean. Creates nothing."""
    return home_of(settings, _PLAIN)


def home_of(settings: Settings, name: str) -> Home:
    """The folder of a node whose plain place is this below ``data_dir``. Creates nothing."""
    plain = absolute(settings.data_dir) / name
    user = server_user(settings)
    if user is None:
        return Home(plain)
    elsewhere = SYSTEM_DATA / _short_hash(plain)
    if elsewhere.is_dir():
        return Home(elsewhere)
    if plain.exists() and plain.stat().st_uid != 0:  # who owns it could put links where root writes
        raise StorageError(f"The folder {plain} belongs to another user: as root, set FACEDEX_DATA_DIR to another place.")
    if enterable(plain, user):
        return Home(plain)
    if (plain / "data").exists():  # an empty node in another place would look like lost faces
        raise StorageError(f"The user {user.name} can't enter {plain}, where the node's data is. Let others pass the folders above it.")
    return Home(elsewhere)


def server_cache(settings: Settings) -> Path:
    """The folder for the server's own files (and a fetched JDK). Creates nothing."""
    plain = absolute(settings.cache_dir)
    user = server_user(settings)
    return plain if user is None or enterable(plain, user) else SYSTEM_CACHE / _short_hash(plain)


def enterable(path: Path, user: User | None) -> bool:
    """Whether the user can pass through every folder down to the path, as far as it exists; what is missing we make passable."""
    if user is None:
        return True
    for folder in (path, *path.parents):
        try:
            found = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        who = stat.S_IXUSR if found.st_uid == user.uid else stat.S_IXGRP if found.st_gid == user.gid else stat.S_IXOTH
        if stat.S_ISDIR(found.st_mode) and not found.st_mode & who:  # a file in the way is found out when the folder is made
            return False
    return True


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; new ones can be passed through, whatever the umask, so that the server's user gets in."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(exist_ok=True)
        path.chmod(0o755 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise StorageError.of(error, f"make the folder {path}", "Free it, or set FACEDEX_DATA_DIR or FACEDEX_CACHE_DIR.") from None


def read_inside(path: Path, limit: int, start: int = 0) -> bytes:
    """The end of a file that the server wrote, from ``start`` on, at most ``limit`` bytes; empty where there is none.

    Root reads here in a folder of another user: no link is followed, no pipe waited for.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return b""
            file.seek(max(start if start <= found.st_size else 0, found.st_size - limit))  # a log that got smaller was begun anew
            return file.read(limit)
    except OSError:
        return b""


def make_home(home: Home, user: User | None) -> None:
    """Makes the node's folders and gives the server its own."""
    make_folder(home.path)
    for folder in (home.data, home.logs, home.config, home.tmp, home.snapshots):
        make_servers(folder, user)


def make_servers(folder: Path, user: User | None) -> None:
    """Makes a folder that belongs to the server, and is closed to others."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if user is not None and not folder.is_symlink() and folder.stat().st_uid != user.uid:
            give(folder, user)
    except OSError as error:
        raise StorageError.of(error, f"make the folder {folder}", "Free it, or set FACEDEX_DATA_DIR to another place.") from None


def give(folder: Path, user: User) -> None:
    """Hands a folder and all in it to the user (another ``node_user`` may have had it before)."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(place) / name, user.uid, user.gid, follow_symlinks=False)
    os.chown(folder, user.uid, user.gid)


def absolute(path: Path) -> Path:
    """The path from the root, with the home folder filled in; links stay, so that it names the same place next time."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100  Path.absolute keeps "..", resolve follows links


def _short_hash(path: Path) -> str:
    import hashlib

    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
