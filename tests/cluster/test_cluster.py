"""What `facedex cluster up` made: several nodes, encrypted, with a password that stands nowhere but in its file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import psutil
import pytest
from elasticsearch import Elasticsearch

from core.errors import EngineError
from core.settings import Settings, settings
from es.client import connect, speaking
from es.cluster import processes
from es.cluster.record import Record
from es.collections import create, delete, get
from es.documents import alias
from es.security import certificates
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.cli.conftest import Type
from tests.faces_made import work
from tests.same_answers import answers, assert_same


def at(cluster: Record, **named: object) -> Settings:
    return settings().model_copy(update={"url": ",".join(cluster.urls), **named})


def ask(config: Settings) -> int:
    with connect(config) as client, speaking():
        return int(client.cluster.health()["number_of_nodes"])


def test_the_nodes_are_one_cluster(cluster: Record, nodes: Elasticsearch) -> None:
    health = nodes.cluster.health()
    assert (health["number_of_nodes"], health["status"]) == (3, "green")
    assert len(nodes.transport.node_pool) == 3
    assert [member.name for member in processes.members(cluster.plan) if member.running] == ["es01", "es02", "es03"]


def test_it_is_up_already(cluster: Record, type_: Type) -> None:
    again = type_("cluster", "up", "--json")
    assert again.code == 0
    assert (again.json["urls"], again.json["health"]) == (list(cluster.urls), "green")
    fewer = type_("cluster", "up", "--nodes", 2)
    assert fewer.code == 2
    assert "can't lose any" in fewer.err
    assert "runs as local" in type_("cluster", "up", "--engine", "docker").err


def test_a_node_is_restarted_once_the_others_have_all_there_is(cluster: Record, nodes: Elasticsearch, type_: Type) -> None:
    before = {member.name: member.id for member in processes.members(cluster.plan)}
    done = type_("cluster", "restart", "es02", "--json")
    assert (done.code, done.json) == (0, {"restarted": ["es02"], "health": "green"})
    after = {member.name: member.id for member in processes.members(cluster.plan)}
    assert {name for name in before if before[name] != after[name]} == {"es02"}
    assert nodes.cluster.health()["number_of_nodes"] == 3
    assert "es01, es02, es03" in type_("cluster", "restart", "es04").err


def test_three_shards_with_a_copy_each_answer_as_one(nodes: Elasticsearch) -> None:
    told = []
    for shards, replicas in ((1, 0), (3, 1)):
        name = f"shards-{shards}"
        create(nodes, name, DEFAULT.as_dict(), shards=shards, replicas=replicas)
        try:
            writer = Writer(nodes, name, model="Dlib", run="test", detection="test")
            list(writer.write(work(f"{number}.jpg", number, person=f"person {number % 7}") for number in range(400)))
            nodes.indices.refresh(index=alias(name))
            assert nodes.cluster.health(index=alias(name), wait_for_status="green")["active_shards"] == shards * (1 + replicas)
            told.append(answers(nodes, name, range(1000, 1020)))
        finally:
            delete(nodes, get(nodes, name))
    assert_same(told[0], told[1])


def test_status_of_the_cluster(cluster: Record, type_: Type) -> None:
    status = type_("cluster", "status", "--json").json
    assert (status["health"], status["unassigned_shards"], status["nodes_running"]) == ("green", 0, 3)
    usual = type_("status", "--json").json
    assert usual["nodes"][0].keys() <= status["nodes"][0].keys()
    assert [node["name"] for node in usual["nodes"]] == ["es01", "es02", "es03"]
    assert all(node["running"] and node["url"] in cluster.urls for node in status["nodes"])
    assert "es03" in type_("cluster", "status").out
    assert type_("up", "--json").json["url"] == ", ".join(cluster.urls)
    alone = type_("down", "--json")
    assert alone.json == {"stopped": False}
    assert "cluster down" in alone.err


def test_nobody_gets_in_without_tls_or_password(cluster: Record) -> None:
    url = cluster.urls[0].replace("https://", "http://")
    with pytest.raises(EngineError) as plain:
        ask(settings().model_copy(update={"url": url}))
    assert plain.value.code == "unreachable"
    with pytest.raises(EngineError) as nobody:
        ask(at(cluster, ca_certs=cluster.ca))
    assert nobody.value.code == "unauthorized"


def test_another_authority_is_not_trusted(cluster: Record, tmp_path: Path) -> None:
    other = certificates.authority("somebody")
    (tmp_path / "other.crt").write_text(other.certificate)
    with pytest.raises(EngineError, match="CA_CERTS") as by_file:
        ask(at(cluster, ca_certs=tmp_path / "other.crt"))
    assert by_file.value.code == "untrusted"
    with pytest.raises(EngineError, match="CA_FINGERPRINT") as by_fingerprint:
        ask(at(cluster, ca_fingerprint=certificates.fingerprint(other.certificate)))
    assert by_fingerprint.value.code == "untrusted"


def test_the_authority_by_its_fingerprint(cluster: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_USERNAME", "facedex")
    monkeypatch.setenv("ELASTICSEARCH_PASSWORD", cluster.password)
    monkeypatch.setenv("ELASTICSEARCH_URL", ",".join(cluster.urls))
    monkeypatch.setenv("ELASTICSEARCH_CA_FINGERPRINT", certificates.fingerprint(cluster.ca.read_text()).upper())
    monkeypatch.setenv("FACEDEX_CACHE_DIR", str(tmp_path))
    assert ask(Settings()) == 3
    assert ask(Settings()) == 3  # by what was kept


def test_a_dead_address_among_others_is_skipped(cluster: Record) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"https://127.0.0.1:{probe.getsockname()[1]}"
    named = Settings(  # type: ignore[call-arg]
        ELASTICSEARCH_URL=f"{dead}, {cluster.urls[1]}",
        ELASTICSEARCH_CA_CERTS=cluster.ca,
        ELASTICSEARCH_USERNAME="facedex",
        ELASTICSEARCH_PASSWORD=cluster.password,
    )
    assert [ask(named) for _ in range(4)] == [3] * 4


def test_secrets_are_closed_to_others(cluster: Record, folder: Path) -> None:
    places = [cluster.folder, *cluster.folder.rglob("*")]
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_dir()} == {0o700}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_file()} == {0o600}
    config = processes.home_of(cluster.plan, "es01").config
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert {stat.S_IMODE((config / name).stat().st_mode) for name in ("node.key", "users")} == {0o600}
    if os.geteuid() == 0:
        assert config.stat().st_uid != 0


def test_the_password_is_in_no_command_line_and_no_log(cluster: Record, folder: Path) -> None:
    secret = cluster.password
    assert len(secret) >= 32
    seen = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert sum("org.elasticsearch" in line and str(folder) in line for line in seen) >= 3
    assert not [line for line in seen if secret in line]
    for path in (folder / "nodes").rglob("*"):
        if path.is_file() and path.suffix in {".log", ".json", ".out", ".bin", ".yml", ".options"}:
            assert secret.encode() not in path.read_bytes(), path
