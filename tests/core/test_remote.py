import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import fsspec
import pytest

from core import addresses, deadline, remote
from core.errors import PhotoError, UsageError
from core.web import Limits


@pytest.fixture
def dripping() -> Iterator[int]:
    """A server that sends a byte now and then, and never a line."""
    serving = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        with suppress(OSError):
            connection, _ = serving.accept()
            while True:
                connection.sendall(b"2")
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    yield int(serving.getsockname()[1])
    serving.close()


def test_a_server_that_drips_is_given_up(dripping: int) -> None:
    begun = time.monotonic()
    with pytest.raises(PhotoError) as refused:
        remote.read(f"ftp://127.0.0.1:{dripping}/1.jpg", 0.3)
    assert refused.value.code == "timeout"
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "url",
    ["webhdfs://127.0.0.1/1.jpg", "ftp://127.0.0.1/1.jpg", "github://127.0.0.1/1.jpg", "jupyter://h/1.jpg", "smb://h/1.jpg", "git://x"],
)
def test_addresses_that_may_lead_into_private_networks_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="private") as refused:
        remote.check(url, Limits())
    assert refused.value.code == "forbidden"
    remote.check(url, Limits(allow_private=True))


@pytest.mark.parametrize("url", ["s3://bucket/1.jpg", "gs://bucket/1.jpg", "abfs://box/1.jpg", "sftp://host/1.jpg", "memory://1.jpg"])
def test_buckets_and_logins_are_allowed(url: str) -> None:
    remote.check(url, Limits())


@pytest.mark.parametrize(
    "url", ["asyncwrapper://x", "data://text/plain,abc", "simplecache::s3://x", "dir://x", "local://x", "reference://x"]
)
def test_wrappers_are_never_allowed(url: str) -> None:
    with pytest.raises(UsageError, match="no kind of address"):
        remote.check(url, Limits(allow_private=True))


def test_no_sentence_holds_a_password() -> None:
    for url in ("memory://ada:secret@host/none", "ftp://ada:secret@127.0.0.1:1/none"):
        with pytest.raises(UsageError) as refused:
            remote.is_folder(url)
        assert "secret" not in str(refused.value)


def test_folders_without_end_are_walked_no_deeper_than_a_name_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    files = fsspec.filesystem("memory")

    def endless(folder: str, **_: Any) -> list[dict[str, Any]]:
        return [{"name": f"{folder}/{'x' * 10}", "type": "directory"}, {"name": f"{folder}/1.jpg", "type": "file"}]

    monkeypatch.setattr(type(files), "ls", lambda _, folder, **more: endless(folder, **more))
    found = list(remote.walk("memory://deep"))
    assert len(found) < 500
    assert addresses.is_too_long(found[-1])  # it becomes a reject


def test_a_call_that_hangs_is_left_to_itself() -> None:
    free = threading.Event()
    with pytest.raises(TimeoutError):
        deadline.within(0.05, free.wait)
    free.set()
    assert deadline.within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        deadline.within(5, lambda: 1 // 0)
