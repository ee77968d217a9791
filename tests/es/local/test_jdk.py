"""Finding a Java that will do, among many that won't."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from core.errors import EngineError
from core.settings import Settings
from es.local import jdk

GOOD = "java.base jdk.jdi jdk.incubator.vector"


def make_jdk(home: Path, version: str, modules: str | None = GOOD, script: str = "exit 1") -> Path:
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    if modules is not None:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


@pytest.fixture
def bare(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Java: nothing in the environment, on the path, or in the usual folders."""
    for name in ("ES_JAVA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(open_dir / "empty"))
    monkeypatch.setenv("HOME", str(open_dir))
    monkeypatch.setattr(jdk, "_SYSTEM_FOLDERS", (open_dir / "jvm",))
    return open_dir


def settings_in(folder: Path, java_home: Path | None = None) -> Settings:
    return Settings(cache_dir=folder / "cache", data_dir=folder / "data", java_home=java_home)


def test_this_machine_has_one(open_dir: Path) -> None:
    home = jdk.find_java_home(settings_in(open_dir))
    assert (home / "bin" / "java").exists()


def test_the_newest_that_will_do_wins(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_jdk(bare / "jvm" / "old", "17.0.2")
    make_jdk(bare / "jvm" / "trimmed", "26.0.1", modules="java.base")
    make_jdk(bare / "jvm" / "b21", "21.0.9")
    newest = make_jdk(bare / ".jdk" / "jdk-25" / "Contents" / "Home", "25.0.3")  # as install-jdk leaves it on macOS
    monkeypatch.setenv("JAVA_HOME", str(make_jdk(bare / "mine", "24")))
    assert jdk.find_java_home(settings_in(bare)) == newest


def test_java_on_the_path_is_followed_home(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_jdk(bare / "somewhere", "21.0.1")
    (bare / "bin").mkdir()
    (bare / "bin" / "java").symlink_to(home / "bin" / "java")
    monkeypatch.setenv("PATH", str(bare / "bin"))
    assert jdk.find_java_home(settings_in(bare)) == home


def test_a_jdk_that_does_not_list_its_modules_is_asked(bare: Path) -> None:
    answer = "printf 'java.base@23.0.1\\njdk.jdi@23.0.1\\njdk.incubator.vector@23.0.1\\n'"
    home = make_jdk(bare / "jvm" / "silent", "", modules=None, script=answer)
    assert jdk.find_java_home(settings_in(bare)) == home


@pytest.mark.parametrize("version", ["17.0.12", "1.8.0_402", "20"])
def test_a_named_jdk_that_is_too_old_is_refused(open_dir: Path, version: str) -> None:
    home = make_jdk(open_dir / "old", version)
    with pytest.raises(EngineError, match="FACEDEX_JAVA_HOME") as caught:
        jdk.find_java_home(settings_in(open_dir, home))
    assert caught.value.code == "no_jdk"
    assert str(home) in str(caught.value)


def test_a_named_folder_without_a_jdk_is_refused(open_dir: Path) -> None:
    with pytest.raises(EngineError, match="21 or newer") as caught:
        jdk.find_java_home(settings_in(open_dir, open_dir))
    assert caught.value.code == "no_jdk"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_jdk_that_the_server_can_not_enter_is_passed_over(bare: Path) -> None:
    make_jdk(bare / "jvm" / "closed" / "x", "25")
    (bare / "jvm" / "closed").chmod(0o700)
    usable = make_jdk(bare / "jvm" / "open", "21")
    (bare / "jvm" / "z").symlink_to(bare / "jvm" / "closed" / "x")
    assert jdk.find_java_home(settings_in(bare)) == usable


def test_none_at_all_is_one_sentence_in_good_time(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there: fetching fails at once
    said: list[str] = []
    started = time.monotonic()
    with pytest.raises(EngineError) as caught:
        jdk.find_java_home(settings_in(bare), said.append)
    assert time.monotonic() - started < 30
    assert caught.value.code == "no_jdk"
    for word in ("21", "none was found", "fetching one failed", "JAVA_HOME", "FACEDEX_JAVA_HOME"):
        assert word in str(caught.value)
    assert len(said) == 1
    assert [path.name for path in (bare / "cache").iterdir() if "part" in path.name] == []


def test_a_fetched_jdk_is_kept(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jdk, "_install", lambda target: make_jdk(target / "jdk-25", "25.0.3"))
    said: list[str] = []
    first = jdk.find_java_home(settings_in(bare), said.append)
    assert jdk.find_java_home(settings_in(bare), said.append) == first
    assert len(said) == 1
