"""`facedex doctor` as a person types it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from es import collections
from faces.recipe import DEFAULT
from tests.cli.conftest import Type


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def test_a_sound_collection(client: Elasticsearch, name: str, type_: Type) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    done = type_("doctor", "-c", name, "--json")
    assert (done.code, done.json["worst"]) == (0, "notice")
    checks = {each["check"] for each in done.json["findings"]}
    assert checks >= {"version", "licence", "disk", "vectors", "heap", "segments", "mapping", "shards", "security", "weights", "java"}
    assert [each["check"] for each in done.json["findings"] if each["level"] != "ok"] == ["snapshots"]


def test_findings_say_what_to_do_and_some_are_put_right(client: Elasticsearch, name: str, type_: Type) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    client.indices.put_mapping(index=made.index, dynamic="true")
    done = type_("doctor", "-c", name)
    assert done.code == 1
    assert "dynamic is true, not strict" in done.out
    assert "do:  PUT" in done.out
    assert done.out.index("strict") < done.out.index("Elasticsearch 9")  # what is to be done comes first
    put_right = type_("doctor", "-c", name, "--fix", "--json")
    assert (put_right.code, put_right.json["worst"]) == (0, "notice")
    assert "Puts right" in put_right.err
    assert client.indices.get_mapping(index=made.index)[made.index]["mappings"]["dynamic"] == "strict"


def test_without_an_engine_the_machine_is_judged_all_the_same(closed_port: int, type_: Type) -> None:
    done = type_("doctor", "--json", env={"ELASTICSEARCH_URL": f"http://127.0.0.1:{closed_port}"})
    assert done.code == 2
    assert done.json["error"]["code"] == "unreachable"
    assert {each["check"] for each in done.json["findings"]} >= {"python", "weights", "room"}


def test_a_collection_that_is_not_there(client: Elasticsearch, type_: Type) -> None:
    done = type_("doctor", "-c", "no-such", "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "no_collection")


def test_damaged_weights_are_an_error(client: Elasticsearch, type_: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from faces import dlib_model, doctor

    (tmp_path / "weights").write_bytes(b"other")
    monkeypatch.setattr(dlib_model, "weight_file", lambda _: tmp_path / "weights")
    assert [each.level for each in doctor.weights()] == ["error", "error"]


def test_optimize(client: Elasticsearch, name: str, type_: Type) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    done = type_("collections", "optimize", name, "--json")
    assert done.code == 0
    assert done.json["collection"] == name
    assert done.json["after"].keys() == {"segments", "deleted", "bytes"}
    assert "segments before" in type_("collections", "optimize", name).out
