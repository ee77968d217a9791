"""Commands that are told to end: at once, in one sentence, with nothing left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from elasticsearch import Elasticsearch

from es.documents import alias
from tests.faces_made import small_copies, worker_at_work

# A test run in the background has interrupts ignored (under nohup, hang-ups too), and its children would inherit that.
CODE = (
    "import signal, facedex; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); facedex.main()"
)


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("facedex: interrupted")
    assert "Traceback" not in err


@pytest.fixture
def people(tmp_path: Path, portraits: dict[str, Path]) -> str:
    small_copies(portraits["obama.jpg"], tmp_path / "people" / "B", 2000)
    return str(tmp_path / "people")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_says_so_and_restores_the_index(
    client: Elasticsearch, name: str, people: str, how: signal.Signals
) -> None:
    process = start("ingest", people, "-c", name, "--workers", "1", "--bulk-load")
    worker = worker_at_work(process.pid)
    process.send_signal(how)
    ended(process)
    assert not worker.is_running()
    (shape,) = client.indices.get_settings(index=alias(name)).values()
    assert "refresh_interval" not in shape["settings"]["index"]


@pytest.mark.usefixtures("client")
def test_ctrl_c_on_a_terminal_while_workers_start(name: str, people: str) -> None:
    process = start("ingest", people, "-c", name, "--workers", "2")
    while not any("spawn_main" in " ".join(child.cmdline()) for child in psutil.Process(process.pid).children()):
        time.sleep(0.01)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    ended(process)


@contextmanager
def slow_server() -> Iterator[tuple[str, threading.Event]]:
    """An address whose photos do not come, and whether one was asked for."""
    asked, over = threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            over.wait(120)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("client")
def test_photos_that_are_slow_to_come_are_not_waited_for(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEDEX_WEB_SECONDS", "100")
    with slow_server() as (url, asked):
        (tmp_path / "list.csv").write_text("path\n" + "".join(f"{url}/{number}.jpg\n" for number in range(1000)))
        process = start("ingest", str(tmp_path / "list.csv"), "-c", name, "--allow-private-addresses")
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        ended(process)
