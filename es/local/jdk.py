"""The Java that runs Elasticsearch: found on this machine, or fetched once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import EngineError, StorageError
from es.local import places

if TYPE_CHECKING:
    from core.settings import Settings

OLDEST = 21  # Elasticsearch 9 refuses older ones
FETCHED = "25"  # the version that install-jdk is asked for
MODULES = frozenset({"jdk.incubator.vector", "jdk.jdi"})  # a trimmed JDK lacks them, and the server does not boot

_SYSTEM_FOLDERS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
_ASK_SECONDS = 20.0  # for java --list-modules
_FETCH_SECONDS = 600.0

# Runs apart, because install-jdk has no time limit of its own.
_FETCH = "import socket, sys, jdk; socket.setdefaulttimeout(30); jdk.install(sys.argv[1], path=sys.argv[2])"


def find_java_home(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder of the newest usable JDK; without one, a JDK is fetched into the cache folder.

    Raises:
        EngineError: ``no_jdk``; the sentence says what was looked for and how to get it.
    """
    user = places.server_user(settings)
    if settings.java_home is not None:
        if _version(settings.java_home, user) is None:
            raise EngineError(
                f"FACEDEX_JAVA_HOME is {settings.java_home}, but there is no complete JDK {OLDEST} or newer that the engine can use.",
                code="no_jdk",
            )
        return settings.java_home
    found = _newest(candidates(settings), user)
    return found if found is not None else _fetch(settings, user, say)


def installed(settings: Settings) -> Path | None:
    """The JDK that would be used without fetching one. Looks only."""
    user = places.server_user(settings)
    return _newest(iter([settings.java_home]) if settings.java_home else candidates(settings), user)


def candidates(settings: Settings) -> Iterator[Path]:
    """Folders that may be a JDK, the likeliest first."""
    for name in ("ES_JAVA_HOME", "JAVA_HOME"):
        if os.environ.get(name):
            yield Path(os.environ[name])
    java = shutil.which("java")
    if java:
        yield Path(java).resolve().parent.parent
    own = places.server_cache(settings) / "jdk"
    for folder in (*_SYSTEM_FOLDERS, Path.home() / ".jdk", Path.home() / ".jre", own):
        yield from _inside(folder)


def _inside(folder: Path) -> Iterator[Path]:
    with suppress(OSError):  # not there, or not ours to look into
        for entry in sorted(folder.iterdir()):
            yield entry
            yield entry / "Contents" / "Home"  # macOS


def _newest(homes: Iterator[Path], user: places.User | None) -> Path | None:
    best: tuple[tuple[int, ...], Path] | None = None
    for home in dict.fromkeys(homes):
        version = _version(home, user)
        if version is not None and (best is None or version > best[0]):
            best = version, home
    return best[1] if best else None


def _version(home: Path, user: places.User | None) -> tuple[int, ...] | None:
    """The version of a JDK that will do, else None."""
    java = home / "bin" / "java"
    with suppress(OSError):
        # Links are followed: what they lead to must be open to the server's user too.
        if java.is_file() and os.access(java, os.X_OK) and places.enterable(java.resolve(), user):
            version, modules = _read_release(home / "release") or _ask(java) or ((), frozenset[str]())
            return version if version >= (OLDEST,) and modules >= MODULES else None
    return None


def _read_release(path: Path) -> tuple[tuple[int, ...], frozenset[str]] | None:
    try:
        values = dict(re.findall(r'^(\w+)="(.*)"$', path.read_text(), re.MULTILINE))
    except OSError:
        return None
    if "JAVA_VERSION" not in values or "MODULES" not in values:  # some builds leave the modules out
        return None
    return _numbers(values["JAVA_VERSION"]), frozenset(values["MODULES"].split())


def _ask(java: Path) -> tuple[tuple[int, ...], frozenset[str]] | None:
    try:
        asked = subprocess.run([java, "--list-modules"], capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    modules = dict(line.partition("@")[::2] for line in asked.stdout.split())  # java.base@25.0.3
    return _numbers(modules.get("java.base", "")), frozenset(modules)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def _fetch(settings: Settings, user: places.User | None, say: Callable[[str], None]) -> Path:
    from filelock import FileLock

    target = places.server_cache(settings) / "jdk"
    places.make_folder(target)
    with FileLock(target.with_name("jdk.lock"), timeout=_FETCH_SECONDS + 60):
        found = _newest(_inside(target), user)  # another command may have fetched it meanwhile
        if found is not None:
            return found
        say(f"No JDK {OLDEST} or newer found; fetching JDK {FETCHED} into {target}.")
        with suppress(OSError, subprocess.SubprocessError):
            _install(target)
        found = _newest(_inside(target), user)
    if found is None:
        raise EngineError(
            f"Elasticsearch needs a complete JDK {OLDEST} or newer; none was found, and fetching one failed: install one "
            "(for instance Temurin 25) and set JAVA_HOME or FACEDEX_JAVA_HOME to its folder.",
            code="no_jdk",
        )
    return found


def _install(target: Path) -> None:
    """Unpacked beside its place and then moved: a fetch that was cut off leaves nothing that looks like a JDK."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="jdk-part-") as part:
        try:
            subprocess.run(
                [sys.executable, "-P", "-c", _FETCH, FETCHED, part],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_FETCH_SECONDS,
                check=True,
            )
            for entry in Path(part).iterdir():
                shutil.move(entry, target / entry.name)
        except OSError as error:
            raise StorageError.of(error, f"unpack a JDK into {target}", "Free it, or set FACEDEX_CACHE_DIR.") from None
