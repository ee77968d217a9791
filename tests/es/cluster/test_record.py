"""A cluster that is not running, as the commands see it; and its secrets."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from core.errors import EngineError, StorageError
from core.settings import Settings
from es.cluster import commands, processes, record
from es.cluster.plan import Plan
from es.local import places
from es.local.places import Home
from es.security import certificates
from tests.cli.conftest import Type
from tests.cli.conftest import type_ as type_  # noqa: PLC0414 - a fixture


@pytest.fixture
def stopped(tmp_path: Path) -> record.Record:
    """A cluster that was up once, at ports where nobody is now."""
    made = record.Record(record.folder(Settings(data_dir=tmp_path)), "local", 3, "512m", ("https://127.0.0.1:1", "https://127.0.0.1:2"))
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
    more = Plan(stopped.folder, 4, "512m")
    record.prepare(more)
    assert {path: path.read_bytes() for path in before} == before
    added = more.files("es04")
    assert (added / "ca.crt").read_text() == stopped.ca.read_text()
    assert len(certificates.fingerprint((added / "node.crt").read_text())) == 64


def test_certificates_that_end_are_made_anew_by_the_same_authority(
    stopped: record.Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fields = ("ca.crt", "ca.key", "password", "files/es01/node.crt", "files/es01/node.key", "files/es01/users")
    before = {name: (stopped.folder / name).read_text() for name in fields}
    monkeypatch.setattr(certificates, "_ENDING", certificates._LIFE)
    record.prepare(stopped.plan)
    after = {name: (stopped.folder / name).read_text() for name in fields}
    assert {name for name in fields if after[name] != before[name]} == {"ca.crt", "files/es01/node.crt", "files/es01/node.key"}
    assert (stopped.plan.files("es03") / "ca.crt").read_text() == after["ca.crt"]
    for authority in (before["ca.crt"], after["ca.crt"]):  # nodes that were not started anew yet, and their clients
        for node in (before["files/es01/node.crt"], after["files/es01/node.crt"]):
            x509.load_pem_x509_certificate(node.encode()).verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))


def test_what_a_full_disk_cut_off_is_written_the_next_time(stopped: record.Record) -> None:
    place = stopped.plan.files("es02")
    (place / "users_roles").unlink()  # without a role, its administrator may do nothing
    record.prepare(stopped.plan)
    assert (place / "users_roles").read_text() == "superuser:facedex\n"


def test_a_record_that_cannot_be_written_is_told(stopped: record.Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    before = (stopped.folder / "cluster.json").read_text()
    monkeypatch.setattr(os, "fsync", full)  # all of it is on the disk, or nothing
    with pytest.raises(StorageError) as caught:
        record.write(replace(stopped, nodes=5))
    assert caught.value.code == "disk_full"
    assert (stopped.folder / "cluster.json").read_text() == before


def test_a_cluster_that_never_was_up_is_not_used(stopped: record.Record, tmp_path: Path, type_: Type) -> None:
    record.write(replace(stopped, urls=()))
    assert record.in_use(Settings(data_dir=tmp_path)) is None
    env = {"FACEDEX_DATA_DIR": str(tmp_path)}
    assert "the next command starts it" in type_("status", env=env).out
    assert "was not up yet" in type_("cluster", "status", env=env).err
    assert not places.node_home(Settings(data_dir=tmp_path)).path.exists()  # looking started nothing
    assert type_("cluster", "down", "--erase", "--yes", env=env).code == 0


def test_nothing_is_removed_while_another_command_starts_it(
    stopped: record.Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_GIVE_UP_SECONDS", 0)
    config = Settings(data_dir=tmp_path)
    monkeypatch.setattr(commands, "settings", lambda: config)
    with record.alone(config, seconds=0), pytest.raises(EngineError, match="Another command"):
        commands.down(erase=True, yes=True)
    assert record.read(config) == stopped
    commands.down(erase=True, yes=True)
    assert record.read(config) is None


def test_a_cluster_whose_data_is_gone_begins_anew(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name) for name in ("es01", "es02")]
    assert not processes._have_data(homes)
    homes[1].data.mkdir(parents=True)
    assert not processes._have_data(homes)
    (homes[1].data / "node.lock").touch()
    assert processes._have_data(homes)


def test_the_folder_of_snapshots_is_closed_and_can_be_used_again(stopped: record.Record, tmp_path: Path) -> None:
    tmp_path.parent.parent.chmod(0o711)
    tmp_path.parent.chmod(0o711)
    tmp_path.chmod(0o711)
    config = Settings(data_dir=tmp_path)
    user = places.server_user(config)
    place = processes._snapshots(config, user)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert user is None or place.stat().st_uid == user.uid
    assert processes._snapshots(config, user) == place


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
    monkeypatch.setattr(processes, "is_free", lambda port: port != gone)
    again = processes._choose(stopped.plan, first, ["es02"])
    assert again["es02"]["transport"] != gone
    assert {**again, "es02": {**again["es02"], "transport": gone}} == first
    assert processes._choose(stopped.plan, first, []) == first  # its own node has it
