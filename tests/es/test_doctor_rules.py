"""The doctor's rules that need no engine: sizes, watermarks, formulas, versions, licences, addresses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import EngineError
from core.findings import Finding, worst
from core.settings import Settings
from es.doctor import drift, engine, examine, machine, memory, security
from es.doctor.cluster import Cluster
from es.doctor.sizes import parse_size, required_free, vector_bytes
from es.index_types import INDEX_TYPES

GB = 2**30


@pytest.mark.parametrize(("text", "size"), [("200gb", 200 * GB), ("1.5MB", 1.5 * 2**20), ("-1", -1), ("0", 0), ("7b", 7)])
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "gb", "1 zb", "5k", "85%"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("watermark", "headroom", "free"),
    [
        ("85%", "-1", 150),
        ("0.85", "-1", 150),
        (".9", "-1", 100),
        ("85%", "20b", 20),
        ("500b", "20b", 500),
        ("100%", "-1", 0),
        ("1", "-1", 0),
    ],
)
def test_watermarks(watermark: str, headroom: str, free: int) -> None:
    assert required_free(watermark, 1000, headroom) == free


@given(st.integers(0, 100), st.integers(0, 2**52), st.integers(0, 2**52))
def test_a_share_and_a_per_cent_are_the_same_and_never_more_than_the_disk(percent: int, total: int, headroom: int) -> None:
    free = required_free(f"{percent}%", total)
    assert 0 <= free <= total
    assert abs(free - required_free(str(percent / 100), total)) <= max(1, total * 1e-12)
    assert required_free(f"{percent}%", total, f"{headroom}b") == min(free, headroom)


@pytest.mark.parametrize(
    ("index_type", "dims", "megabytes"),
    [
        *zip(("hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw"), [128] * 4, (576, 196, 132, 94), strict=True),
        *zip(("hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw"), [512] * 4, (2112, 580, 324, 142), strict=True),
        ("flat", 128, 512),
        ("int8_flat", 128, 132),
    ],
)
def test_elastics_formula_for_a_million_vectors(index_type: str, dims: int, megabytes: int) -> None:
    assert vector_bytes(index_type, dims) == megabytes


def test_every_index_type_has_a_formula() -> None:
    assert all(vector_bytes(each, 128) > 0 for each in INDEX_TYPES)


def node(name: str, host: str, memory_bytes: int, heap: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "host": host, "os": {"mem": {"total_in_bytes": memory_bytes}} | more, "jvm": {"mem": {"heap_max_in_bytes": heap}}}


def test_nodes_on_one_host_share_its_memory_and_a_container_has_its_limit() -> None:
    nodes = {
        "a": node("a", "one", 8 * GB, 2 * GB),
        "b": node("b", "one", 8 * GB, 2 * GB),
        "c": node("c", "two", 8 * GB, 2 * GB, cgroup={"memory": {"limit_in_bytes": str(3 * GB)}}),
        "d": node("d", "three", 8 * GB, 1 * GB, cgroup={"memory": {"limit_in_bytes": "max"}}),
    }
    assert memory.spare(nodes) == {"one": 4 * GB, "two": GB, "three": 7 * GB}


def level(finding: Finding | None) -> str:
    return "ok" if finding is None else finding.level


def test_vectors_beside_memory() -> None:
    levels = [level(memory.vectors_concern("n", need * GB, 10 * GB)) for need in (8, 9, 11)]
    assert levels == ["ok", "notice", "warning"]


@pytest.mark.parametrize(
    ("heap", "total", "used", "said"),
    [
        (4 * GB, 8 * GB, 50, []),
        (5 * GB, 8 * GB, 50, ["more than half"]),
        (32 * GB, 128 * GB, 50, ["compressed"]),
        (GB // 4, 8 * GB, 50, ["small"]),
        (4 * GB, 8 * GB, 95, ["95 %"]),
    ],
)
def test_heaps(heap: int, total: int, used: int, said: list[str]) -> None:
    found = list(memory.heap_concerns("n", heap, total, used))
    assert len(found) == len(said)
    assert all(words in each.what for words, each in zip(said, found, strict=True))


def test_versions() -> None:
    assert not list(engine.versions_concern(["9.5.4"], "9.5.1"))
    old, mixed = engine.versions_concern(["9.5.1", "9.5.4"], "9.5.1")
    assert "older than" in old.what
    assert "different" in mixed.what
    (major,) = engine.versions_concern(["10.0.0"], "9.5.1")
    assert (major.level, major.remedy.split(",")[0]) == ("error", "pip install 'elasticsearch>=10")


def test_licences() -> None:
    def levels(*arguments: Any) -> list[str]:
        return [each.level for each in engine.licence_concern(*arguments)]

    assert levels("basic", "active", None, {"int8_hnsw"}) == ["ok"]
    assert levels("basic", "active", None, {"bbq_disk"}) == ["ok", "error"]
    assert levels("enterprise", "active", None, {"bbq_disk"}) == ["ok"]
    assert levels("trial", "active", 2_000_000_000_000, set()) == ["notice"]
    assert levels("platinum", "expired", 1_000_000_000_000, set()) == ["error"]


OPEN = {"http": {"bound_address": ["127.0.0.1:9200", "10.0.0.5:9200"]}, "name": "n"}
TLS = {"enabled": "true", "http": {"ssl": {"enabled": "true"}}}


@pytest.mark.parametrize(
    ("entry", "levels"),
    [
        (OPEN | {"settings": {"xpack": {"security": {"enabled": "false"}}}}, ["error"]),
        (OPEN | {"settings": {}}, ["warning"]),
        (OPEN | {"settings": {"xpack": {"security": TLS}}}, []),
        (OPEN | {"settings": {"xpack": {"security": TLS | {"authc": {"anonymous": {"roles": "viewer"}}}}}}, ["error"]),
        ({"name": "n", "http": {"bound_address": ["[::1]:9200"]}, "settings": {"xpack": {"security": {"enabled": "false"}}}}, []),
        ({"name": "n", "settings": {"http": {"cors": {"enabled": "true", "allow-origin": "*"}}}}, ["warning"]),
    ],
)
def test_who_gets_in(entry: dict[str, Any], levels: list[str]) -> None:
    assert [each.level for each in security.node_concerns(entry)] == levels


def test_mappings_beside_each_other() -> None:
    keyword, number = {"type": "keyword"}, {"type": "integer", "index": True}
    expected = {"a": keyword, "b": {"properties": {"c": number, "d": keyword}}}
    assert drift.absent(expected, {"b": {"properties": {"c": number}}}) == {"a": keyword, "b": {"properties": {"d": keyword}}}
    assert list(drift.leaves(expected)) == ["a", "b.c", "b.d"]
    found = {"a": {"type": "keyword", "extra": 1}, "b": {"properties": {"c": {"type": "long"}, "d": keyword}}}
    assert list(drift.differing(expected, found)) == [("b.c.type", "integer", "long")]


def test_a_check_that_can_not_look_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Cluster) -> Iterator[Finding]:
        raise EngineError("No.", code="forbidden")
        yield

    def odd(_: Cluster) -> Iterator[Finding]:
        raise EngineError("What?")
        yield

    def well(_: Cluster) -> Iterator[Finding]:
        yield Finding("well", "ok", "Yes.")

    monkeypatch.setattr(examine, "CHECKS", (forbidden, odd, well))
    found = examine.of_cluster(Cluster(None, Settings()))  # type: ignore[arg-type]
    assert [(each.check, each.level) for each in found] == [("forbidden", "notice"), ("odd", "warning"), ("well", "ok")]
    assert worst(found) == "warning"
    assert worst([]) == "ok"


def levels_of(check: Callable[[Settings], Iterator[Finding]], **given: Any) -> list[str]:
    return [each.level for each in check(Settings(**given))]


def test_java_is_missed(tmp_path: Path) -> None:
    assert levels_of(machine.java) == ["ok"]
    assert levels_of(machine.java, java_home=tmp_path) == ["error"]
    assert levels_of(machine.java, ELASTICSEARCH_URL="http://127.0.0.1:1") == []


def test_others_may_not_read_the_data(open_dir: Path) -> None:
    seen = open_dir / "seen"
    seen.mkdir(mode=0o700)
    assert levels_of(machine.private, data_dir=open_dir) == ["ok"]
    seen.chmod(0o755)
    assert levels_of(machine.private, data_dir=open_dir) == ["warning"]
    open_dir.chmod(0o700)
    assert levels_of(machine.private, data_dir=open_dir) == ["ok"]


def test_a_folder_that_is_not_there_is_judged_by_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels_of(machine.cache, cache_dir=tmp_path / "a" / "b") == ["ok"]
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    assert levels_of(machine.cache, cache_dir=tmp_path / "a" / "b") == ["warning"]
    assert levels_of(machine.room, data_dir=tmp_path / "a" / "b") == ["ok"]


def test_a_disk_with_little_room(small_disk: Path) -> None:
    assert levels_of(machine.room, data_dir=small_disk / "data") == ["warning"]
