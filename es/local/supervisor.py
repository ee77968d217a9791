"""Watches over one server for as long as it lives: ``python -m es.local.supervisor JOB``, started by ``es.local.start``, with no terminal.

It holds a lock for its life, writes what runs to ``state.json``, and stops the server when told to (SIGTERM) or when no command came
for a while. The server's standard input is a pipe from here, and the server ends when that closes: even a supervisor that is killed
leaves no server behind. Only the standard library and light modules of ours are imported: it stays for hours.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import EngineError, FacedexError
from es.local import locks, places, processes
from es.local.launch import Job, launch
from es.local.places import Home
from es.local.telling import telling_error

_TICK = 5.0  # seconds between two looks for commands
_STOP_SECONDS = 30.0
_POLL = 0.05


class Supervisor:
    """One server, from launch to end."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.home = Home(Path(job.home))
        self.told_to_stop = False
        self._wake, wake_up = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_up, False)
        # A signal writes to the pipe, so a wait for the pipe is a wait for a signal too, without a race.
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_up)
        self._state: dict[str, Any] = {
            "phase": "starting",
            "supervisor": {"pid": os.getpid(), "mark": processes.mark(os.getpid())},
            "version": job.version,
            "heap": job.heap,
        }

    def run(self) -> None:
        """Starts the server, watches it, stops it; the state file tells others how it goes."""
        log_size = self.home.log.stat().st_size if self.home.log.exists() else 0
        server: subprocess.Popen[bytes] | None = None
        try:
            self._write()
            server = launch(self.job)
            self._write(server={"pid": server.pid, "mark": processes.mark(server.pid)})
            port = self._wait_ready(server)
            self._write(phase="ready", port=port, tls=self.job.tls, started=time.time())
            self._watch(server)
            self._end(server)
            self.home.state.unlink(missing_ok=True)
        except (FacedexError, OSError) as error:
            if server is not None:
                self._end(server)
            self._fail(telling_error(error, self.home, log_size))

    def _stop(self, *_: object) -> None:
        self.told_to_stop = True

    def _wait_ready(self, server: subprocess.Popen[bytes]) -> int:
        """Until the server answers: the port comes from a file that it writes after it has bound it."""
        deadline = time.monotonic() + self.job.start_seconds
        ports = self.home.logs / "http.ports"
        while time.monotonic() < deadline:
            if self.told_to_stop:
                raise EngineError("The node was told to stop while it started.", code="engine_start")
            if server.poll() is not None:
                raise EngineError("", code="engine_start")
            if text := places.read_inside(ports, 4096):
                port = int(text.split()[0].rpartition(b":")[2])
                if healthy(port, deadline - time.monotonic(), tls=self.job.tls):
                    return port
            self._pause(_POLL)
        raise EngineError(
            f"Elasticsearch did not answer within {self.job.start_seconds:.0f} s; its log is {self.home.log} "
            "(FACEDEX_NODE_START_SECONDS gives it longer).",
            code="engine_start",
        )

    def _watch(self, server: subprocess.Popen[bytes]) -> None:
        """Returns when the server died, when told to stop, or when the node was idle for long enough."""
        last_used = time.time()
        while server.poll() is None and not self.told_to_stop:
            self._pause(min(_TICK, self.job.idle_seconds / 4))
            try:
                claim = locks.take(self.home.in_use, seconds=0)
            except TimeoutError:  # a command runs
                last_used = time.time()
                continue
            try:
                # Between two looks short commands come and go: each leaves its time on the file.
                last_used = max(last_used, os.fstat(claim).st_mtime)
                if time.time() - last_used > self.job.idle_seconds:
                    # Gone while nobody can claim the node: the next command sees no state, and waits for a new node.
                    self.home.state.unlink(missing_ok=True)
                    return
            finally:
                os.close(claim)

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        """Asks the server to end, then makes it."""
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdin is not None:
            with suppress(OSError):
                server.stdin.close()

    def _pause(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self._wake, 1024)

    def _write(self, **news: object) -> None:
        self._state.update(news)
        part = self.home.state.with_suffix(".part")
        part.write_text(json.dumps(self._state))
        part.replace(self.home.state)

    def _fail(self, error: FacedexError) -> None:
        with suppress(OSError):  # on a full disk the lock alone tells that we are gone
            self.home.launch.unlink(missing_ok=True)  # it may be what was wrong
            self._write(phase="failed", kind=type(error).__name__, code=error.code, message=str(error))


def healthy(port: int, seconds: float, *, tls: bool = False) -> bool:
    """Whether the server answers, its data at hand. A plain socket: an HTTP library would double the size of this process.

    One that wants a password (we hold none) answers as soon as it has joined its cluster; whoever started it looks further.
    """
    wait = max(1, min(int(seconds), 20))
    request = f"GET /_cluster/health?wait_for_status=yellow&timeout={wait}s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=wait + 5) as plain, _secured(plain, tls=tls) as connection:
            connection.sendall(request.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return False
    return is_up(answer)


def is_up(answer: bytes) -> bool:
    """What an answer about the cluster's health means for who wants to search. Many indices take longer to open than one request waits;
    one that is broken (nothing of it is being opened) stays so, and the others can be used all the same.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    if status != [b"408"]:
        return status in ([b"200"], [b"401"])
    try:
        health = json.loads(body)
    except ValueError:
        return False
    return not any(health.get(busy) for busy in ("initializing_shards", "number_of_pending_tasks", "number_of_in_flight_fetch"))


def _secured(connection: socket.socket, *, tls: bool) -> socket.socket:
    """The same connection, through TLS where the server wants it. Nothing secret is said, so the certificate does not matter."""
    if not tls:
        return connection
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection)


def _alone() -> None:
    """A session of its own, no streams: nobody waits for us, and no Ctrl-C reaches us."""
    os.setsid()
    os.chdir("/")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):  # the server opens many files
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Takes the lock, leaves its parent, supervises. The parent's exit means: the lock is held."""
    job = Job.read(sys.argv[1])
    try:
        locks.take(Home(Path(job.home)).alive, seconds=5)  # never closed
    except TimeoutError:
        return 1  # another supervisor
    # The lock belongs to the open file, which the child shares: it is never free in between.
    if os.fork():
        return 0
    _alone()
    Supervisor(job).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
