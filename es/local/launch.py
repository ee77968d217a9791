"""Launches the Elasticsearch server process.

Elasticsearch's own start script runs three Java machines: one checks versions, one prepares a description of the launch (command,
environment, and the bytes that the server wants on its input), one stays to watch the server. Here the second is run once and its
description kept, and the supervisor stands in for the third: 2 s and 50 MB less, and a server that ends with its supervisor,
because it ends when its input closes.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import EngineError
from es.local.places import Home, User, give

_MAGIC = b"ESLD"
_PREPARE_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """All that the supervisor is told."""

    home: str
    server: str  # the unpacked distribution
    java_home: str
    version: str
    heap: str
    port: int  # 0: any
    idle_seconds: float
    start_seconds: float
    user: User | None  # who the server becomes
    node: str = "facedex"  # its name in the cluster
    extra: dict[str, object] = field(default_factory=dict)  # settings of Elasticsearch, besides and above those of a node alone
    files: str | None = None  # a folder of files for the server's configuration: certificates, users, roles

    @property
    def tls(self) -> bool:
        """Whether the server speaks HTTPS."""
        return self.extra.get("xpack.security.http.ssl.enabled") is True

    @classmethod
    def read(cls, text: str) -> Job:
        """The job from the supervisor's command line."""
        fields = json.loads(text)
        user = fields.pop("user")
        return cls(**fields, user=User(**user) if user else None)


@dataclass(frozen=True)
class Descriptor:
    """How to launch, as Elasticsearch worked it out."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    stdin: bytes


def launch(job: Job) -> subprocess.Popen[bytes]:
    """Starts the server; the caller keeps ``stdin`` open for as long as the server shall live.

    Raises:
        EngineError: Elasticsearch rejects the configuration.
        OSError: a file can't be written.
    """
    home = Home(Path(job.home))
    written = _configure(job, home)
    descriptor = _descriptor(job, home, written)
    with home.output.open("wb") as output:
        server = subprocess.Popen(
            descriptor.command,
            env=descriptor.environment,
            cwd=descriptor.folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=job.user.uid if job.user else None,
            group=job.user.gid if job.user else None,
            extra_groups=[] if job.user else None,
        )
    assert server.stdin is not None  # noqa: S101  for mypy
    with suppress(BrokenPipeError):  # it died at once: its exit tells
        server.stdin.write(descriptor.stdin)
        server.stdin.flush()
    return server


def settings_yml(job: Job, home: Home) -> str:
    """The server's settings. Values are written as JSON, which YAML reads."""
    values: dict[str, object] = {
        "cluster.name": "facedex",
        "node.name": job.node,
        "path.data": [str(home.data)],  # a list, because a comma in a string makes it two
        "path.logs": str(home.logs),
        "network.host": "127.0.0.1",  # HTTP and transport: nobody outside this machine
        "http.port": job.port,
        "transport.port": 0,
        "node.portsfile": True,  # tells us the ports that were really bound
        "discovery.type": "single-node",
        "xpack.security.enabled": False,
        "action.auto_create_index": False,  # a mistyped collection is an error, not a new index
        **job.extra,
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def jvm_options(job: Job) -> str:
    """What differs from Elasticsearch's own options."""
    return "\n".join(
        (
            f"-Xms{job.heap}",
            f"-Xmx{job.heap}",
            "-XX:-AlwaysPreTouch",  # memory is taken when needed: 0.5 GB less at 1 GB heap, and a quicker start
            "-XX:-HeapDumpOnOutOfMemoryError",  # a dump would hold faces, and fill the disk
            "-Xlog:disable",  # no garbage collection log: up to 2 GB of it
            "-Xlog:all=warning:stderr:utctime,level,tags",
            "",
        )
    )


def _configure(job: Job, home: Home) -> str:
    """Writes the configuration, empties what the last run left, and returns all that the launch depends on."""
    home.logs.joinpath("http.ports").unlink(missing_ok=True)
    shutil.rmtree(home.tmp, ignore_errors=True)
    home.tmp.mkdir(mode=0o700, exist_ok=True)
    theirs = Path(job.server) / "config"
    options = home.config / "jvm.options.d"
    if options.is_symlink():
        options.unlink()
    options.mkdir(mode=0o700, exist_ok=True)
    for name in ("jvm.options", "log4j2.properties"):
        _write(home.config / name, (theirs / name).read_text())
    yml, jvm = settings_yml(job, home), jvm_options(job)
    _write(home.config / "elasticsearch.yml", yml)
    _write(options / "facedex.options", jvm)
    for source in sorted(Path(job.files).iterdir()) if job.files else ():
        _write(home.config / source.name, source.read_text())
    if job.user is not None:
        give(home.config, job.user)
        give(home.tmp, job.user)
    with suppress(OSError):  # a JDK may be replaced in its place
        return "\n".join((job.server, job.java_home, (Path(job.java_home) / "release").read_text(), yml, jvm))
    return "\n".join((job.server, job.java_home, yml, jvm))


def _write(path: Path, text: str) -> None:
    """Replaces a file without following a link, to it or to its folder: root writes here into a folder that another user owns."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
        fd = os.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    finally:
        os.close(folder)


def _descriptor(job: Job, home: Home, written: str) -> Descriptor:
    """Kept from an earlier launch with the same configuration, else prepared."""
    key = written.encode()
    kept = home.launch.read_bytes() if home.launch.exists() and (home.config / "elasticsearch.keystore").exists() else b""
    if kept.startswith(key + b"\0"):
        with suppress(ValueError, struct.error):
            return parse(kept[len(key) + 1 :])
    prepared = _prepare(job, home)
    descriptor = parse(prepared)
    part = home.launch.with_suffix(".part")
    _write(part, "")
    part.chmod(0o600)
    part.write_bytes(key + b"\0" + prepared)
    part.rename(home.launch)
    return descriptor


def _prepare(job: Job, home: Home) -> bytes:
    """Runs Elasticsearch's own preparer, as its server launcher does."""
    server, java = Path(job.server), Path(job.java_home) / "bin" / "java"
    # Nothing of the user's environment: a daemon has no business with its secrets.
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(home.tmp),
        "HOSTNAME": "facedex",
        "JAVA": str(java),
        "JAVA_TYPE": "ES_JAVA_HOME",
        "ES_JAVA_HOME": job.java_home,
        "ES_HOME": job.server,
        "ES_PATH_CONF": str(home.config),
        "ES_TMPDIR": str(home.tmp),
        "ES_DISTRIBUTION_TYPE": "zip",
        "ES_REDIRECT_STDOUT_TO_STDERR": "true",  # stdout carries the description
    }
    command = [
        str(java),
        *("-Xms4m", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        f"-Djava.io.tmpdir={home.tmp}",
        *("-Dcli.name=server", f"-Dcli.script={server / 'bin' / 'elasticsearch'}", "-Dcli.libs=lib/tools/server-cli"),
        *(f"-Des.path.home={server}", f"-Des.path.conf={home.config}", "-Des.distribution.type=zip", "-Des.java.type=ES_JAVA_HOME"),
        *("-cp", f"{server}/lib/*:{server}/lib/cli-launcher/*", "org.elasticsearch.launcher.CliToolLauncher"),
        "--quiet",  # the log file says it all; the process's own output stays small
    ]
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=server,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=min(_PREPARE_SECONDS, job.start_seconds),
            check=False,
            user=job.user.uid if job.user else None,
            group=job.user.gid if job.user else None,
            extra_groups=[] if job.user else None,
        )
    except subprocess.TimeoutExpired:
        raise EngineError("Elasticsearch did not start: its launcher did not answer in time.", code="engine_start") from None
    home.output.write_bytes(done.stderr)
    if done.returncode != 0:
        raise EngineError("", code="engine_start")  # the caller finds the telling line in the output
    return done.stdout


def parse(data: bytes) -> Descriptor:
    """Reads the description: Java's DataOutput format, in the order of Elasticsearch's LaunchDescriptor.

    Raises:
        ValueError: it is something else, or cut off.
    """
    if not data.startswith(_MAGIC):
        raise ValueError("not a launch description")
    at = len(_MAGIC)

    def chunk(size: int) -> bytes:
        nonlocal at
        at += size
        if at > len(data):
            raise ValueError("the launch description is cut off")
        return data[at - size : at]

    def number() -> int:
        return int(struct.unpack(">i", chunk(4))[0])

    def text() -> str:
        return chunk(struct.unpack(">H", chunk(2))[0]).decode()

    command = [text()]
    for _ in range(2):  # options of the Java machine, then the class to run
        command += [text() for _ in range(number())]
    environment = {text(): text() for _ in range(number())}
    folder, _, _ = text(), text(), chunk(1)  # between: the temporary folder, and whether to become a daemon
    return Descriptor(command, environment, folder, chunk(number()))
