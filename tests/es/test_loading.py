import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import EngineError
from core.settings import settings
from es import collections, loading
from es.client import connect
from es.documents import alias
from es.loading import BulkLoad, recover
from es.local.node import silent
from faces.recipe import DEFAULT
from tests.storm import between

NAMES = ("refresh_interval", "auto_expand_replicas", "number_of_replicas")


def settings_of(client: Elasticsearch, name: str) -> Mapping[str, Any]:
    (shape,) = client.indices.get_settings(index=alias(name)).values()
    return {each: shape["settings"]["index"].get(each) for each in NAMES}


def marks(client: Elasticsearch, name: str) -> list[str]:
    (shape,) = client.indices.get_alias(index=alias(name)).values()
    return sorted(set(shape["aliases"]) - {alias(name)})


@pytest.fixture(params=[None, 1])
def before(client: Elasticsearch, name: str, request: pytest.FixtureRequest) -> Mapping[str, Any]:
    collections.create(client, name, DEFAULT.as_dict(), replicas=request.param)
    if request.param:
        client.indices.put_settings(index=alias(name), settings={"refresh_interval": "7s"})
    return settings_of(client, name)


def test_the_mode_is_on_for_as_long_as_the_load(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    with BulkLoad(client, name, silent) as load:
        load.begin()
        during = settings_of(client, name)
        assert (during["refresh_interval"], during["number_of_replicas"]) == ("-1", "0")
        assert collections.find(client, name) is not None
    assert settings_of(client, name) == before
    assert marks(client, name) == []


@pytest.mark.parametrize("error", [EngineError("gone"), KeyboardInterrupt()])
def test_it_is_restored_after_an_error_or_ctrl_c(client: Elasticsearch, name: str, before: Mapping[str, Any], error: BaseException) -> None:
    with pytest.raises(type(error)), BulkLoad(client, name, silent) as load:
        load.begin()
        raise error
    assert settings_of(client, name) == before
    assert marks(client, name) == []


def test_replicas_can_be_kept(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    with BulkLoad(client, name, silent, merge=False) as load:
        load.begin(keep_replicas=True)
        during = settings_of(client, name)
        assert during == {**before, "refresh_interval": "-1"}


def test_after_sigkill_the_next_one_restores(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    code = (
        "import time; from core.settings import settings; from es.client import connect; from es.loading import BulkLoad\n"
        f"BulkLoad(connect(settings()), {name!r}, print).begin(); print('on', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    assert not recover(client, name, print), "it goes on"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert settings_of(client, name)["refresh_interval"] == "-1"
    assert recover(client, name, print)
    assert settings_of(client, name) == before
    assert marks(client, name) == []
    assert not recover(client, name, print)


def test_of_two_loads_the_last_to_end_restores(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    with BulkLoad(client, name, silent, merge=False) as one:
        one.begin()
        with BulkLoad(client, name, silent, merge=False) as two:
            two.begin()
        assert settings_of(client, name)["refresh_interval"] == "-1"
        assert len(marks(client, name)) == 1
    assert settings_of(client, name) == before


def test_a_mark_of_another_machine_is_good_until_its_time(
    client: Elasticsearch, name: str, before: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "elsewhere")
        BulkLoad(client, name, silent).begin()
    assert not recover(client, name, print)
    later = time.time() + loading._LEASE + 1
    monkeypatch.setattr("time.time", lambda: later)
    assert recover(client, name, print)
    assert settings_of(client, name) == before


def test_a_collection_deleted_meanwhile_is_no_trouble(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    with BulkLoad(client, name, silent) as load:
        load.begin()
        collections.delete(client, collections.get(client, name))


def test_loads_that_end_at_the_same_moment_restore(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    for _ in range(5):
        ends = threading.Barrier(3)

        def load(ends: threading.Barrier = ends) -> None:
            with BulkLoad(client, name, silent, merge=False) as one:
                one.begin()
                ends.wait(30)

        loads = [threading.Thread(target=load) for _ in range(3)]
        for each in loads:
            each.start()
        for each in loads:
            each.join()
        assert settings_of(client, name) == before
        assert marks(client, name) == []


def test_a_merge_or_a_mode_that_is_refused_fails_no_run(client: Elasticsearch, name: str, before: Mapping[str, Any]) -> None:
    said: list[str] = []
    refused = {"_forcemerge"}
    with (
        between(client, lambda path: 403 if any(each in path for each in refused) else None) as url,
        connect(settings().model_copy(update={"url": url})) as shaken,
    ):
        with BulkLoad(shaken, name, said.append) as load:
            load.try_begin(keep_replicas=True)
            assert settings_of(client, name)["refresh_interval"] == "-1"
        assert "was not merged" in said[-1]
        refused.add("_aliases")
        with BulkLoad(shaken, name, said.append) as load:
            load.try_begin(keep_replicas=True)
            load.try_begin(keep_replicas=True)
            load.renew()
    assert [each for each in said[2:] if "bulk-load mode, which was refused" in each] == said[2:]
    assert len(said) == 3
    assert settings_of(client, name) == before
