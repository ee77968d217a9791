"""A cluster in containers of a real Docker engine. The node of a single-node cluster is shared by most tests: each start takes its time."""

from __future__ import annotations

import io
import json
import socket
import ssl
import tarfile
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineError
from core.settings import settings
from es.cluster import containers, engine
from es.cluster.plan import ADMINISTRATOR, Plan
from es.cluster.shape import node_settings
from es.security import certificates, file_realm


def plan_of(folder: Path, nodes: int) -> Plan:
    """A plan with all that its nodes' configurations need."""
    plan = Plan(folder, nodes, heap="512m")
    signer = certificates.authority("test")
    password = file_realm.new_password()
    (folder / "password").write_text(password)
    for name in plan.names:
        files = plan.files(name)
        files.mkdir(parents=True)
        pair = certificates.node_certificate(signer, name, [name, "localhost", "127.0.0.1"])
        for file, text in (("ca.crt", signer.certificate), ("node.crt", pair.certificate), ("node.key", pair.key)):
            file_realm.private(files / file, text)
        file_realm.write(files, [file_realm.User(ADMINISTRATOR, password, ("superuser",))])
    return plan


def ask(plan: Plan, url: str, path: str) -> Any:
    """What a node answers to its administrator."""
    trusted = ssl.create_default_context(cafile=str(plan.files("es01") / "ca.crt"))
    login = b64encode(f"{ADMINISTRATOR}:{(plan.folder / 'password').read_text()}".encode()).decode()
    request = urllib.request.Request(url + path, headers={"Authorization": f"Basic {login}"})  # noqa: S310
    with urllib.request.urlopen(request, context=trusted, timeout=60) as answer:  # noqa: S310
        return json.load(answer)


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Three nodes that start at the same time on two busy cores take longer than a person would wait for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEDEX_NODE_START_SECONDS", "500")
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    if not containers.available():
        pytest.skip("no Docker engine answers")
    with engine.engine() as connected:
        if not connected.images.list(containers.IMAGE):
            pytest.skip(f"the Docker engine does not have {containers.IMAGE}")
        yield connected


def clear(client: Any, plan: Plan) -> None:
    """Nothing stays, not even the volume for snapshots, which an erasure leaves."""
    containers.down(plan, erase=True)
    for volume in client.volumes.list(filters={"name": containers.mark(plan)}):
        volume.remove()


@pytest.fixture(scope="module")
def plan(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    made = plan_of(tmp_path_factory.mktemp("cluster"), 1)
    try:
        containers.up(made, print)
        yield made
    finally:
        clear(client, made)


@pytest.mark.docker
def test_a_node_answers_to_its_administrator_on_loopback_only(client: Any, plan: Plan) -> None:
    (member,) = containers.members(plan)
    assert member.running
    assert member.url is not None
    assert ask(plan, member.url, "/_cluster/health")["number_of_nodes"] == 1
    inspected = client.api.inspect_container(member.id)
    published = [binding for bindings in inspected["NetworkSettings"]["Ports"].values() for binding in bindings or []]
    assert [binding["HostIp"] for binding in published] == ["127.0.0.1"]
    assert inspected["HostConfig"]["Memory"] == (2 * 512 + 512) << 20


@pytest.mark.docker
def test_nothing_secret_stands_in_its_description_and_nobody_else_reads_its_files(client: Any, plan: Plan) -> None:
    (member,) = containers.members(plan)
    container = client.containers.get(member.id)
    described = json.dumps(client.api.inspect_container(member.id))
    assert (plan.folder / "password").read_text() not in described
    assert "PRIVATE KEY" not in described
    for file in ("node.key", "users", "elasticsearch.yml"):
        stream, _ = container.get_archive(f"/usr/share/elasticsearch/config/{file}")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            (entry,) = archive.getmembers()
        assert (entry.mode & 0o777, entry.uid, entry.gid) == (0o600, 1000, 0)


@pytest.mark.docker
def test_going_up_again_changes_nothing_and_going_down_keeps_faces_and_address(client: Any, plan: Plan) -> None:
    before = containers.members(plan)
    assert containers.up(plan, pytest.fail) == before
    assert before[0].url is not None
    identity = ask(plan, before[0].url, "/_cluster/state/version")["cluster_uuid"]

    assert containers.down(plan, erase=False)
    assert not containers.down(plan, erase=False)
    assert [member.running for member in containers.members(plan)] == [False]
    (after,) = containers.up(plan, print)
    assert after.url == before[0].url
    assert after.id != before[0].id
    assert ask(plan, before[0].url, "/_cluster/state/version")["cluster_uuid"] == identity


@pytest.mark.docker
def test_three_nodes_form_one_cluster_and_erasing_leaves_nothing(client: Any, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 3)
    try:
        members = containers.up(plan, print)
        assert len({member.url for member in members}) == 3
        for member in members:
            assert member.url is not None
            assert ask(plan, member.url, "/_cluster/health?wait_for_nodes=3")["number_of_nodes"] == 3

        client.containers.get(members[1].id).kill()
        assert [member.running for member in containers.members(plan)] == [True, False, True]
        again = containers.up(plan, print)
        assert [member.id for member in again][::2] == [member.id for member in members][::2]
        assert again[1].url == members[1].url
        assert ask(plan, str(again[1].url), "/_cluster/health?wait_for_nodes=3")["number_of_nodes"] == 3
    finally:
        clear(client, plan)
    ours = {"filters": {"label": f"facedex.cluster={containers.mark(plan)}"}}
    assert not client.containers.list(all=True, **ours)
    assert not client.volumes.list(**ours)
    assert not client.networks.list(**ours)


@pytest.mark.docker
def test_a_cluster_whose_faces_are_gone_begins_anew(client: Any, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 1)
    try:
        faces = containers._volume(client, plan, "es01")
        containers._note_formed(client, plan)
        assert containers._is_formed(client, plan)
        faces.remove()  # an erasure was cut off
        assert not containers._is_formed(client, plan)
    finally:
        clear(client, plan)


@pytest.mark.docker
def test_a_node_that_does_not_start_tells_why(client: Any, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 1)
    (plan.files("es01") / "node.crt").write_text("no certificate")
    try:
        with pytest.raises(EngineError, match=r"The node es01 did not start: .*cert") as caught:
            containers.up(plan, print)
        assert caught.value.code == "engine_start"
        assert [member.running for member in containers.members(plan)] == [False]
    finally:
        clear(client, plan)


@pytest.mark.docker
def test_a_taken_port_is_told(client: Any, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (member,) = containers.members(plan)
    port = int(str(member.url).rpartition(":")[2])
    monkeypatch.setattr(containers, "free_port", lambda: port)
    second = plan_of(tmp_path, 1)
    try:
        with pytest.raises(EngineError) as caught:
            containers.up(second, print)
        assert caught.value.code == "port_taken"
    finally:
        clear(client, second)


@pytest.mark.docker
def test_an_image_that_cant_be_downloaded_is_told(client: Any) -> None:
    with engine.engine() as connected, pytest.raises(EngineError, match=r"127\.0\.0\.1:9/none:1 can't be downloaded") as caught:
        engine.ensure_image(connected, "127.0.0.1:9/none:1", print)
    assert caught.value.code == "image_pull"


def test_without_an_engine_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert not containers.available()
    with pytest.raises(EngineError, match="There is no Docker engine") as caught:
        containers.members(Plan(tmp_path, 1, "512m"))
    assert caught.value.code == "no_docker"


def test_a_socket_that_is_closed_to_this_user_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def closed(self: socket.socket, address: str) -> None:
        raise PermissionError(13, "Permission denied")  # root, as whom tests may run, is let in everywhere

    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(socket.socket, "connect", closed)
    assert not containers.available()
    with pytest.raises(EngineError, match="group docker") as caught:
        containers.members(Plan(tmp_path, 1, "512m"))
    assert caught.value.code == "docker_denied"


def test_a_node_of_a_cluster_that_was_there_never_begins_another(tmp_path: Path) -> None:
    plan = Plan(tmp_path, 3, "512m")
    assert node_settings(plan, "es02", formed=False)["cluster.initial_master_nodes"] == ["es01", "es02", "es03"]
    assert "cluster.initial_master_nodes" not in node_settings(plan, "es02", formed=True)
