"""A cluster that is not running, as the commands see it; and its secrets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.settings import Settings
from es.cluster import processes, record
from es.cluster.plan import Plan
from es.security import certificates
from tests.cli.conftest import Type
from tests.cli.conftest import type_ as type_  # noqa: PLC0414 - a fixture


@pytest.fixture
def stopped(tmp_path: Path) -> record.Record:
    """A cluster that was up once, at ports where nobody is now."""
    made = record.Record(record.folder(Settings(data_dir=tmp_path)), "local", 3, "512m", 0, ("https://127.0.0.1:1", "https://127.0.0.1:2"))
    record.write(made)
    record.prepare(made.plan)
    return made


def test_what_was_written_is_read(stopped: record.Record, tmp_path: Path) -> None:
    assert record.read(Settings(data_dir=tmp_path)) == stopped
    assert record.read(Settings(data_dir=tmp_path / "elsewhere")) is None
    assert {stat.S_IMODE(path.stat().st_mode) for path in stopped.folder.rglob("*") if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (stopped.folder, stopped.plan.files("es03"))} == {0o700}


def test_secrets_stay_when_a_node_is_added(stopped: record.Record) -> None:
    before = {path: path.read_bytes() for path in stopped.folder.rglob("*") if path.is_file()}
    more = Plan(stopped.folder, 4, "512m", 0)
    record.prepare(more)
    assert {path: path.read_bytes() for path in before} == before
    added = more.files("es04")
    assert (added / "ca.crt").read_text() == stopped.ca.read_text()
    assert len(certificates.fingerprint((added / "node.crt").read_text())) == 64


def test_a_stopped_cluster_is_told_with_both_ways_out(stopped: record.Record, tmp_path: Path, type_: Type) -> None:
    env = {"FACEDEX_DATA_DIR": str(tmp_path)}
    asked = type_("collections", "list", "--json", env=env)
    assert asked.code == 2
    assert asked.json["error"]["code"] == "cluster_stopped"
    assert "cluster up" in asked.err
    assert "--erase" in asked.err
    assert type_("status", "--json", env=env).json["health"] == "stopped"
    assert "cluster up" in type_("status", env=env).out
    status = type_("cluster", "status", "--json", env=env).json
    assert (status["health"], status["nodes_running"]) == ("stopped", 0)
    assert [node["running"] for node in status["nodes"]] == [False] * 3


def test_erasing_asks_and_leaves_nothing(stopped: record.Record, tmp_path: Path, type_: Type) -> None:
    env = {"FACEDEX_DATA_DIR": str(tmp_path)}
    assert type_("cluster", "down", "--json", env=env).json == {"stopped": False, "erased": False}
    asked = type_("cluster", "down", "--erase", env=env)
    assert asked.code == 2
    assert "--yes" in asked.err
    assert type_("cluster", "down", "--erase", "--yes", "--json", env=env).json == {"stopped": False, "erased": True}
    assert not stopped.folder.exists()
    assert type_("cluster", "status", "--json", env=env).json["health"] == "none"
    assert "cluster up" in type_("cluster", "down", env=env).out


@pytest.mark.parametrize(("words", "told"), [(["--engine", "podman"], "podman"), (["--memory", "lots"], "lots")])
def test_wrong_words_are_told(words: list[str], told: str, tmp_path: Path, type_: Type) -> None:
    done = type_("cluster", "up", *words, env={"FACEDEX_DATA_DIR": str(tmp_path)})
    assert done.code == 2
    assert told in done.err
    assert record.read(Settings(data_dir=tmp_path)) is None


def test_ports_stay_unless_they_are_taken(stopped: record.Record, monkeypatch: pytest.MonkeyPatch) -> None:
    first = processes._choose(stopped.plan, {}, stopped.plan.names)
    assert len({port for pair in first.values() for port in pair.values()}) == 6
    assert processes._choose(stopped.plan, first, stopped.plan.names) == first
    gone = first["es02"]["transport"]
    monkeypatch.setattr(processes, "_is_free", lambda port: port != gone)
    again = processes._choose(stopped.plan, first, ["es02"])
    assert again["es02"]["transport"] != gone
    assert {**again, "es02": {**again["es02"], "transport": gone}} == first
    assert processes._choose(stopped.plan, first, []) == first  # its own node has it
