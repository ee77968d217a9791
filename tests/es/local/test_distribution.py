"""Bringing the server: once, whole, checked, or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import EngineError, StorageError
from core.settings import ELASTICSEARCH_VERSION, Settings
from es.local import distribution

NAME = f"elasticsearch-{ELASTICSEARCH_VERSION}"


def settings_in(folder: Path) -> Settings:
    return Settings(cache_dir=folder / "cache", data_dir=folder / "data")


def left(folder: Path) -> list[str]:
    """What is in the cache folder, locks aside."""
    return [path.name for path in (folder / "cache").iterdir() if path.suffix != ".lock"]


def make_zip(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as bundle:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o700 if "/bin/" in name else 0o600) << 16
            bundle.writestr(entry, b"content")
    return data.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[Path]]:
    """Puts other bytes in the place of the download; returns the list of downloads made."""

    def serve(data: bytes) -> list[Path]:
        made: list[Path] = []

        def download(archive: Path) -> None:
            made.append(archive)
            time.sleep(0.2)
            archive.write_bytes(data)

        monkeypatch.setattr(distribution, "_download", download)
        monkeypatch.setattr(distribution, "SHA256", hashlib.sha256(data).hexdigest())
        return made

    return serve


def test_the_real_one_is_whole_and_open_to_all() -> None:
    server = distribution.find_server(Settings())
    assert server.name == NAME
    assert (server / "modules" / "transport-netty4").is_dir()
    for path in (server, server / "lib", server / "bin" / "elasticsearch"):
        assert path.stat().st_mode & 0o005 == 0o005
    assert (server / "config" / "jvm.options").stat().st_mode & stat.S_IROTH


def test_whoever_comes_at_the_same_moment_waits_for_one_download(open_dir: Path, served: Callable[[bytes], list[Path]]) -> None:
    made = served(make_zip(f"{NAME}/bin/elasticsearch", f"{NAME}/lib/some.jar"))
    said: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: distribution.find_server(settings_in(open_dir), said.append), range(4)))
    assert found == {open_dir / "cache" / NAME}
    assert len(made) == 1
    assert len(said) == 2
    assert left(open_dir) == [NAME]
    assert (open_dir / "cache" / NAME / "bin" / "elasticsearch").stat().st_mode & 0o777 == 0o755
    assert (open_dir / "cache" / NAME / "lib" / "some.jar").stat().st_mode & 0o777 == 0o644


def test_another_file_is_refused_and_thrown_away(
    open_dir: Path, served: Callable[[bytes], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    served(make_zip(f"{NAME}/bin/elasticsearch"))
    monkeypatch.setattr(distribution, "SHA256", "0" * 64)
    with pytest.raises(EngineError, match="SHA-256") as caught:
        distribution.find_server(settings_in(open_dir))
    assert caught.value.code == "download"
    assert left(open_dir) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", f"{NAME}/../../evil"])
def test_nothing_is_unpacked_outside(open_dir: Path, served: Callable[[bytes], list[Path]], name: str) -> None:
    served(make_zip(f"{NAME}/bin/elasticsearch", name))
    with pytest.raises(EngineError, match="unsafe"):
        distribution.find_server(settings_in(open_dir))
    assert left(open_dir) == []
    assert not list(open_dir.rglob("evil"))


def test_no_network_is_one_sentence(open_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    (open_dir / "cache" / f"{NAME}-part-killed").mkdir(parents=True)  # left by a download that was killed
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(EngineError, match="ELASTICSEARCH_URL") as caught:
        distribution.find_server(settings_in(open_dir))
    assert caught.value.code == "download"
    assert left(open_dir) == []
    assert capfd.readouterr() == ("", "")


def test_a_download_that_stands_still_is_given_up(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_DOWNLOAD", "import time; time.sleep(60)")
    monkeypatch.setattr(distribution, "_STALL_SECONDS", 0.3)
    with pytest.raises(EngineError) as caught:
        distribution.find_server(settings_in(open_dir))
    assert caught.value.code == "download"


def test_a_killed_download_leaves_nothing_that_looks_whole(open_dir: Path) -> None:
    code = "from core.settings import Settings; from es.local import distribution; distribution.find_server(Settings())"
    environment = os.environ | {"FACEDEX_CACHE_DIR": str(open_dir / "cache")}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as child:
        deadline = time.monotonic() + 30
        while not list(open_dir.glob("cache/*-part-*/server.zip")) and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert NAME not in left(open_dir)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "storage"), (errno.EACCES, "storage")])
def test_a_disk_that_takes_no_more_is_named(open_dir: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    monkeypatch.setattr(distribution, "_DOWNLOAD", f"import sys; sys.exit({number})")
    with pytest.raises(StorageError, match="FACEDEX_CACHE_DIR") as caught:
        distribution.find_server(settings_in(open_dir))
    assert caught.value.code == code


def test_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full") as caught:
        distribution.find_server(Settings(cache_dir=small_disk))
    assert caught.value.code == "disk_full"
    assert [path.name for path in small_disk.iterdir() if path.suffix != ".lock"] == []


def test_a_cache_folder_that_is_a_file(open_dir: Path) -> None:
    (open_dir / "cache").write_text("")
    with pytest.raises(StorageError, match="cache"):
        distribution.find_server(settings_in(open_dir))
