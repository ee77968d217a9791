"""Snapshots on a schedule. This server has no SLM, so that one is spoken to as its documentation says, with a stand-in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import EngineError, UsageError
from es import schedules


@pytest.fixture
def with_slm() -> Iterator[tuple[Elasticsearch, dict[str, Any]]]:
    """A server that only keeps the policies that it is given, and these."""
    policies: dict[str, Any] = {}

    class Server(BaseHTTPRequestHandler):
        def answer(self, body: object, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_PUT(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if given["schedule"] == "0 0 0 0 0 0":
                error = {"type": "illegal_argument_exception", "reason": "invalid schedule"}
                return self.answer({"error": {"root_cause": [error], **error}, "status": 400}, 400)
            policies[self.path.rsplit("/", 1)[-1]] = given
            return self.answer({"acknowledged": True})

        def do_GET(self) -> None:
            if self.path == "/_slm/status":
                return self.answer({"operation_mode": "RUNNING"})
            found = {name: {"version": 1, "policy": policy} for name, policy in policies.items()}
            return self.answer(found if found else {"error": {"type": "resource_not_found_exception"}}, 200 if found else 404)

        def do_DELETE(self) -> None:
            known = policies.pop(self.path.rsplit("/", 1)[-1], None)
            self.answer({}, 200 if known else 404)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Elasticsearch(f"http://127.0.0.1:{server.server_port}") as client:
        yield client, policies
    server.shutdown()
    server.server_close()


def test_a_schedule_is_set_shown_and_ended(with_slm: tuple[Elasticsearch, dict[str, Any]]) -> None:
    client, policies = with_slm
    wished = schedules.Schedule(schedules.cron("02:30", None), 14, "backups")
    schedules.check(client, wished)
    assert schedules.get(client) is None
    schedules.put(client, wished)
    assert schedules.get(client) == wished
    policy = policies["facedex"]
    assert policy["schedule"] == "0 30 2 * * ?"
    assert policy["retention"] == {"expire_after": "14d"}
    assert policy["config"]["include_global_state"] is False
    assert policy["config"]["indices"] == ["facedex-*", "-facedex-*--copy-*"]
    assert policy["config"]["metadata"] == {"facedex": {}}  # that makes its snapshots ours
    assert schedules.remove(client)
    assert not schedules.remove(client)


def test_a_schedule_that_is_refused(with_slm: tuple[Elasticsearch, dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="invalid schedule"):
        schedules.put(with_slm[0], schedules.Schedule("0 0 0 0 0 0", 14, "backups"))


def test_without_slm_the_line_for_crontab_is_told(client: Elasticsearch) -> None:
    with pytest.raises(EngineError) as caught:
        schedules.check(client, schedules.Schedule(schedules.cron("2:05", None), 30, ""))
    assert caught.value.code == "no_slm"
    assert "5 2 * * * facedex snapshot create && facedex snapshot delete --older-than 30d --yes" in str(caught.value)


@pytest.mark.parametrize(
    ("daily", "expression"), [(None, None), ("2:30", "0 30 2 * * ?"), ("25:00", None), ("noon", None), (None, "30 2 * * *")]
)
def test_times_that_can_not_be_read(daily: str | None, expression: str | None) -> None:
    with pytest.raises(UsageError):
        schedules.cron(daily, expression)
