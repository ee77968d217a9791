"""A proxy in front of the real node, which answers for it now and then, as a cluster in trouble does."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

# For a path, a status to answer in the node's place, 0 to cut the connection, LOST to do so once it is done, None to pass on.
Trouble = Callable[[str], int | None]
LOST = -1
Refused = Callable[[int], bool]  # whether the operation of that number within a bulk request is refused

_KIND = "es_rejected_execution_exception"
_ELASTIC = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
Answer = tuple[int, dict[str, str], bytes]


def _error(status: int) -> dict[str, Any]:
    return {"error": {"type": _KIND, "reason": "a storm", "root_cause": []}, "status": status}


@contextmanager
def between(client: Elasticsearch, trouble: Trouble = lambda _: None, refused: Refused | None = None) -> Iterator[str]:
    """The address of the proxy, for the time of the block."""
    target = next(iter(client.transport.node_pool.all())).config

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            what = trouble(self.path)
            # A connection can be cut after the node did what it was told, so that the same is asked twice.
            answer = self._asked(body) if what in {None, LOST} or (what == 0 and len(body) % 2) else None
            if what in {0, LOST}:
                self.close_connection = True
                return
            if answer is None:
                assert what is not None
                answer = what, _ELASTIC, json.dumps(_error(what)).encode()
            self._answer(*answer)

        def _asked(self, body: bytes) -> Answer:
            if refused is None or "_bulk" not in self.path:
                return self._ask(body)
            operations = _operations(body)
            passed = [lines for number, lines in enumerate(operations) if not refused(number)]
            items = iter(json.loads(self._ask(b"".join(passed))[2])["items"] if passed else [])
            whole = [next(items) if lines in passed else _item(lines) for lines in operations]
            return 200, _ELASTIC, json.dumps({"items": whole}).encode()

        def _ask(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
            try:
                unkept = {"host", "connection", "accept-encoding", "content-length"}
                kept = {key: value for key, value in self.headers.items() if key.lower() not in unkept}
                connection.request(self.command, self.path, body, kept)
                found = connection.getresponse()
                return found.status, dict(found.getheaders()), found.read()
            finally:
                connection.close()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for key, value in headers.items():
                if key.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(key, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _pass  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _operations(body: bytes) -> list[bytes]:
    """The lines of a bulk request, those of one operation together."""
    lines = iter(body.splitlines(keepends=True))
    return [line if b'{"delete"' in line else line + next(lines) for line in lines]


def _item(lines: bytes) -> dict[str, Any]:
    ((kind, meta),) = json.loads(lines.splitlines()[0]).items()
    return {kind: {"_id": meta["_id"], **_error(429)}}
