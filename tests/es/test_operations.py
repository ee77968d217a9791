"""What is recorded of searches and runs, and that recording harms nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from getpass import getuser
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import EngineError, FacedexError, UsageError
from core.settings import settings
from es.access import named
from es.client import connect
from es.collections import all_of, check_name, create
from es.documents import OPERATIONS
from es.local.node import running
from es.operations import Searches, _user, latest, prune, recorded, write
from es.operations_kept import Kept
from faces.recipe import DEFAULT

INDEX = f"{OPERATIONS}-v1"
Recorded = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def records(client: Elasticsearch, name: str) -> Recorded:
    """What was recorded of the test's collection, newest first."""

    def read() -> list[dict[str, Any]]:
        client.indices.refresh(index=OPERATIONS, ignore_unavailable=True)
        return latest(client, 100, name)

    return read


@pytest.fixture
def blocked(client: Elasticsearch) -> Iterator[Callable[[str], None]]:
    """Puts a block on the index of operations; the test's end takes it away."""
    write(client, "test", "somewhere", datetime.now(UTC), {"outcome": "finished", "seconds": 0})

    def block(kind: str) -> None:
        client.indices.put_settings(index=INDEX, settings={f"index.blocks.{kind}": True})

    yield block
    client.indices.put_settings(index=INDEX, settings={"index.blocks.write": None, "index.blocks.read_only_allow_delete": None})


def one(searches: Searches, **more: Any) -> None:
    searches.add(**{"faces": 1, "results": 5, "verified": 1, "seconds": 0.01, **more})


def test_whoever_comes_first_makes_the_index_and_nothing_is_lost(client: Elasticsearch, name: str, records: Recorded) -> None:
    client.indices.delete(index=INDEX, ignore_unavailable=True)
    together = threading.Barrier(4)

    def act(number: int) -> None:
        together.wait()
        with recorded(client, f"action-{number}", name):
            pass

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(act, range(4)))
    assert {record["action"] for record in records()} == {f"action-{number}" for number in range(4)}
    assert list(client.indices.get_alias(name=OPERATIONS)) == [INDEX]


def test_many_targets_are_one_document_with_their_latencies(client: Elasticsearch, name: str, records: Recorded) -> None:
    searches = Searches(["person"], exact=True)
    with recorded(client, "search", name, searches.facts, purpose="a missing child"):
        for number in range(10_000):
            one(searches, seconds=number / 1_000_000)
        one(searches, faces=0, results=0, verified=0, error="no_face")
    (record,) = records()
    counts = {"targets": 10_001, "failed": 1, "faces": 10_000, "results": 50_000, "verified": 10_000, "exact": True, "filters": ["person"]}
    assert counts.items() <= record.items()
    assert record["latency"] == {"median": pytest.approx(5, abs=0.01), "p95": pytest.approx(9.5, abs=0.01)}
    assert (record["purpose"], record["outcome"], record["error"]) == ("a missing child", "finished", ["no_face"])
    assert {"@timestamp", "user", "host", "version", "seconds", "action", "collection"} <= record.keys()


@pytest.mark.parametrize(
    ("error", "outcome", "codes"),
    [(UsageError("No.", code="not_the_same_person"), "failed", ["not_the_same_person"]), (KeyboardInterrupt(), "interrupted", None)],
)
def test_what_failed_or_was_interrupted_is_recorded_too(
    client: Elasticsearch, name: str, records: Recorded, error: BaseException, outcome: str, codes: list[str] | None
) -> None:
    with pytest.raises(type(error)), recorded(client, "search", name):
        raise error
    (record,) = records()
    assert (record["outcome"], record.get("error")) == (outcome, codes)


def test_nothing_is_tried_where_elasticsearch_was_away(client: Elasticsearch, name: str, records: Recorded) -> None:
    with pytest.raises(EngineError), recorded(client, "search", name):
        raise EngineError("Gone.", code="unreachable")
    assert records() == []


def test_a_field_that_is_not_foreseen_is_refused_with_a_sentence(
    client: Elasticsearch, name: str, records: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    with recorded(client, "search", name, lambda: {"embedding": [0.5, 0.25]}):
        pass
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "not recorded" in told
    assert "0.25" not in told
    assert records() == []


def test_who_may_not_write_is_not_told_so(
    client: Elasticsearch, name: str, blocked: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    blocked("write")
    with recorded(client, "search", name):
        pass
    assert capsys.readouterr().err == ""


def test_a_name_that_leads_nowhere_is_told(client: Elasticsearch, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(client, "test", "somewhere", datetime.now(UTC), {"outcome": "finished", "seconds": 0})
    client.indices.delete_alias(index=INDEX, name=OPERATIONS)
    try:
        with recorded(client, "search", name):
            pass
    finally:
        client.indices.put_alias(index=INDEX, name=OPERATIONS, is_write_index=True)
    assert "facedex--operations is no alias of facedex--operations-v1" in capsys.readouterr().err


def test_the_user_is_the_one_of_the_connection(name: str) -> None:
    for access, user in (({"username": "ada", "password": "x"}, "ada"), ({}, getuser())):
        with connect(named(settings().model_copy(update={"url": node_url()}), access)) as connected:  # type: ignore[arg-type]
            assert _user(connected) == user


def node_url() -> str:
    node = running(settings())
    assert node is not None
    return node.url


def test_a_full_disk_harms_no_search(
    client: Elasticsearch, name: str, blocked: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    blocked("read_only_allow_delete")
    with recorded(client, "search", name):
        pass
    assert "disk is full" in capsys.readouterr().err


def test_it_can_be_switched_off(client: Elasticsearch, name: str, records: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEDEX_RECORD_OPERATIONS", "false")
    settings.cache_clear()
    try:
        with recorded(client, "search", name):
            pass
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert records() == []


def test_the_index_is_no_collection(client: Elasticsearch, name: str) -> None:
    create(client, name, DEFAULT.as_dict())
    with recorded(client, "test", name):
        pass
    names = [collection.name for collection in all_of(client)]
    assert name in names
    assert not [found for found in names if "operations" in found]
    with pytest.raises(FacedexError):
        check_name("-operations")


def test_an_index_that_says_it_is_a_collection_and_is_none(client: Elasticsearch, name: str) -> None:
    index = f"facedex-{name}-v1"
    client.indices.create(index=index, mappings={"_meta": {"facedex": {"recipe": {}}}}, aliases={f"facedex-{name}": {}})
    try:
        assert name not in [collection.name for collection in all_of(client)]
    finally:
        client.indices.delete(index=index)


def test_what_is_old_is_deleted_and_nothing_else(client: Elasticsearch, name: str, records: Recorded) -> None:
    now = datetime.now(UTC)
    for days in (400, 366, 10):
        write(client, f"{days}", name, now - timedelta(days=days), {"outcome": "finished", "seconds": 1})
    assert [record["action"] for record in records()] == ["10", "366", "400"]
    assert prune(client, now - timedelta(days=365)) >= 2
    assert [record["action"] for record in records()] == ["10"]


def test_a_service_writes_once_for_many_searches(client: Elasticsearch, name: str, records: Recorded) -> None:
    kept = Kept(client, name)
    kept.flush()  # nothing yet
    kept.of(["labels.camera"], exact=False)

    def search(_: int) -> None:
        kept.add(faces=1, results=5, verified=1, seconds=0.01)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(search, range(1_000)))
    assert records() == []
    kept.flush()
    kept.flush()
    (record,) = records()
    assert {"targets": 1_000, "results": 5_000, "filters": ["labels.camera"], "outcome": "finished"}.items() <= record.items()


def test_a_service_that_falls_silent_is_recorded_all_the_same(client: Elasticsearch, name: str, records: Recorded) -> None:
    kept = Kept(client, name, every=0.01)
    kept.add(faces=1, results=5, verified=1, seconds=0.01)
    until = time.monotonic() + 30
    while not records() and time.monotonic() < until:
        time.sleep(0.02)
    assert [record["targets"] for record in records()] == [1]


def test_a_service_without_threads_left_writes_at_the_end(
    client: Elasticsearch, name: str, records: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Timer) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    kept = Kept(client, name)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Timer, "start", start)
        kept.add(faces=1, results=5, verified=1, seconds=0.01)
    kept.flush()
    assert [record["targets"] for record in records()] == [1]
